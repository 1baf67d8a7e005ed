import { iso } from '../core/clock.ts'
import { span } from '../core/impact-text.ts'

/** Moves the cursor, colours, reorders: nothing that a text of somebody else's may do to a terminal or a page. */
export const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Somebody else's text as one line of Markdown that shows as it was written: no table, link, HTML or heading of its own. */
export function md(text: string): string {
  return text
    .trim()
    .replaceAll(/\s*[\r\n]+\s*/g, ' / ')
    .replaceAll('\t', ' ')
    .replaceAll(CONTROL, '')
    .trim()
    .replaceAll(/\\(?=[!-/:-@[-`{-~])/g, '\\\\')
    .replaceAll(/[`*~|[]/g, '\\$&')
    .replaceAll(/(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g, '\\_')
    .replaceAll(/&(?=#?[A-Za-z0-9]+;)/g, '&amp;')
    .replaceAll('<', '&lt;')
    .replace(/^([#+-]|\d+[.)](?=\s)|>)/, found =>
      found === '>' ? '&gt;' : `${found.slice(0, -1)}\\${found.slice(-1)}`,
    )
}

/** The same within a sentence or a cell, where nothing begins a list or a heading. */
export function inline(text: string): string {
  return md(`.${text.trimStart()}`).slice(1)
}

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u

/** Columns that a text takes at a terminal. */
export function widthOf(text: string): number {
  return Array.from(text).reduce((sum, c) => sum + (WIDE.test(c) ? 2 : 1), 0)
}

/** Longer cells do not widen their column. */
const WIDEST = 48

/** A table whose columns line up in a terminal too. Cells are Markdown already; the last column is left as long as it is. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows]
  const widths = head.map((_, i) => Math.max(3, ...all.map(r => widthOf(r[i] ?? '')).filter(w => w <= WIDEST)))
  const line = (cells: readonly string[]) => {
    const padded = head.map((_, i) => {
      const cell = cells[i] ?? ''
      return i === head.length - 1 ? cell : cell + ' '.repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell)))
    })
    return `| ${padded.join(' | ')} |`
  }
  return [
    line(head),
    `| ${widths.map((w, i) => '-'.repeat(i === head.length - 1 ? 3 : w)).join(' | ')} |`,
    ...rows.map(line),
  ]
}

export function bullets(texts: readonly string[]): string[] {
  return texts.map(text => `- ${text}`)
}

/** "2026-01-02T03:04:05Z": whole seconds, in UTC. What is no time stays as it is. */
export function time(at: string | null, none = 'not yet'): string {
  if (at === null) return none
  const ms = Date.parse(at)
  return Number.isNaN(ms) ? md(at) : iso(ms).replace(/\.\d+Z$/, 'Z')
}

/** A duration that may not have been measured, or was by a clock that somebody set back. */
export function took(ms: number | null, none = 'not measured'): string {
  if (ms === null) return none
  return ms < 0 ? 'not known, for the clock was set back' : span(ms)
}

/** "+0:01:03", "-26:00:00": hours, minutes and seconds since the start. */
export function offset(ms: number): string {
  const seconds = Math.floor(Math.abs(ms) / 1000)
  const two = (n: number) => String(n).padStart(2, '0')
  const clock = `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return `${ms < 0 ? '-' : '+'}${clock}`
}
