import { stripVTControlCharacters } from 'node:util'
import { CONTROL, widthOf } from '../report/text.ts'

export { bytes } from '../core/impact-text.ts'

/** What `paint` begins and ends a colour with. */
const COLOURS = ['1', '2', '22', '31', '32', '33', '39'].join('|')
const COLOUR_OR_CONTROL = new RegExp(`\u001b\\[(?:${COLOURS})m|${CONTROL.source}`, 'g')

/**
 * Nothing that a probe, a command or a bad release printed moves the cursor, sets titles or reorders what a terminal shows.
 * Lines and tabs stay, and with `coloured` the few colours of Backout's own.
 */
export function harmless(text: string, coloured = false): string {
  return text.replaceAll(coloured ? COLOUR_OR_CONTROL : CONTROL, hit => (hit.length > 1 ? hit : ''))
}

/**
 * The text broken at spaces into lines of at most `width`; longer words stand alone. Blanks that a line begins with stay
 * in front of its parts too, behind `indent`; `hang` goes in front of all but the first.
 */
export function wrap(text: string, width: number, indent = '', hang = ''): string[] {
  return text.split('\n').flatMap(line => {
    const own = /^ */.exec(line)?.[0] ?? ''
    return broken(line.slice(own.length), { width, first: indent + own, rest: indent + own + hang })
  })
}

function broken(text: string, { width, first, rest }: { width: number; first: string; rest: string }): string[] {
  const out: string[] = []
  let [line, bare] = [first, true]
  for (const word of text.split(' ')) {
    if (!bare && wide(line) + 1 + wide(word) > width) {
      out.push(line)
      line = rest + word
    } else line = bare ? line + word : `${line} ${word}`
    bare = false
  }
  return [...out, line]
}

/** Columns that a text takes; colours take none. */
export function wide(text: string): number {
  return widthOf(stripVTControlCharacters(text))
}

/** Cut to `width` with an ellipsis: only for what is drawn again and again. */
export function cut(text: string, width: number): string {
  const one = text.replaceAll(/\s*\n\s*/g, ' ')
  return one.length <= width ? one : `${one.slice(0, Math.max(0, width - 1))}…`
}

/** The least that a last column is given beside the others; with less it goes below them. */
const LEAST = 20

/** Columns as wide as their widest cell; the last one is broken into lines, nothing is ever cut off. */
export function table(rows: readonly (readonly string[])[], width: number, indent = ''): string[] {
  const columns = Math.max(0, ...rows.map(r => r.length))
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map(r => (r[i] ?? '').length)))
  const before = widths.slice(0, -1).reduce((sum, w) => sum + w + 2, indent.length)
  const needed = Math.min(LEAST, widths.at(-1) ?? 0)
  if (before + needed > width) return rows.flatMap(row => stacked(row, width, indent))
  return rows.flatMap(row => {
    const cells = row.slice(0, columns - 1).map((cell, i) => cell.padEnd((widths[i] ?? 0) + 2))
    const lead = (indent + cells.join('')).padEnd(row.length < columns ? 0 : before)
    const [first = '', ...more] = wrap(row[columns - 1] ?? '', width - before)
    return [`${lead}${first}`.trimEnd(), ...more.map(line => ' '.repeat(before) + line)]
  })
}

/** A row that is too wide: its first cell, and the others below it. */
function stacked([head = '', ...rest]: readonly string[], width: number, indent: string): string[] {
  const below = rest.filter(cell => cell !== '').join('  ')
  return [...wrap(head, width, indent), ...(below === '' ? [] : wrap(below, width, `${indent}    `))]
}
