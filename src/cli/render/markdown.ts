import { paint } from '../out.ts'
import { wide, wrap } from '../text.ts'

/** Markdown of our own for a terminal of so many columns: texts broken at words, tables fitted, escapes taken back. */
export function markdownLines(markdown: string, width: number): string[] {
  const out: string[] = []
  const lines = markdown.trimEnd().split('\n')
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? ''
    const rows: string[][] = []
    for (; lines[i]?.startsWith('|'); i++) rows.push(cellsOf(lines[i] ?? ''))
    if (rows.length > 0) {
      out.push(...fitted(rows, width))
      i--
    } else if (line.startsWith('#'))
      out.push(...wrap(plain(line.replace(/^#+ /, '')), width).map(l => paint('bold', l)))
    else if (line.startsWith('    ')) out.push(line)
    else out.push(...wrap(plain(line), width, '', line.startsWith('- ') ? '  ' : ''))
  }
  return out
}

function cellsOf(line: string): string[] {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1)
  return cells.map(cell => plain(cell.trim()))
}

/** What the text says once Markdown was read; bold as it is here. */
function plain(text: string): string {
  return text
    .replaceAll(/(?<!\\)\*\*(.+?)(?<!\\)\*\*/g, (_, bold: string) => paint('bold', bold))
    .replaceAll(/\\([!-/:-@[-`{-~])/g, '$1')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}

/** A word of this width, a time or a name, is kept whole in its column; longer ones may be chopped. */
const WHOLE = 24
const GAP = 2

function fitted(rows: readonly string[][], width: number): string[] {
  const [head = [], , ...body] = rows
  // A column without content says nothing.
  const kept = head.flatMap((_, i) => (body.some(row => row[i] !== '') ? [i] : []))
  const columns = (row: readonly string[]) => kept.map(i => row[i] ?? '')
  const all = [columns(head), ...body.map(columns)]
  const widths = kept.map((_, i) => Math.max(...all.map(row => wide(row[i] ?? ''))))
  const least = kept.map((_, i) =>
    Math.min(WHOLE, Math.max(...all.flatMap(row => (row[i] ?? '').split(' ').map(wide)))),
  )
  const room = width - GAP * (kept.length - 1)
  while (sum(widths) > room) {
    const spare = widths.map((w, i) => (w > (least[i] ?? 0) ? w : 0))
    const widest = spare.indexOf(Math.max(...spare))
    if (spare[widest] === 0) return listed(columns(head), body.map(columns), width)
    widths[widest] = (widths[widest] ?? 0) - 1
  }
  const [first = [], ...rest] = all.map(row => rowLines(row, widths))
  return [...first.map(line => paint('bold', line)), ...rest.flat()]
}

function rowLines(row: readonly string[], widths: readonly number[]): string[] {
  const cells = row.map((cell, i) => wrap(cell, widths[i] ?? 0).flatMap(line => chopped(line, widths[i] ?? 0)))
  const height = Math.max(...cells.map(c => c.length))
  return Array.from({ length: height }, (_, y) => {
    const parts = cells.map((c, i) => (c[y] ?? '') + ' '.repeat(Math.max(0, (widths[i] ?? 0) - wide(c[y] ?? ''))))
    return parts.join(' '.repeat(GAP)).trimEnd()
  })
}

/** A word that is wider than its column goes on in the next line. */
function chopped(text: string, width: number): string[] {
  const out: string[] = []
  let rest = text
  for (; wide(rest) > width; rest = rest.slice(width)) out.push(rest.slice(0, width))
  return [...out, rest]
}

/** Where there is no room for the columns: each row as a list of its own. */
function listed(head: readonly string[], body: readonly (readonly string[])[], width: number): string[] {
  return body.flatMap((row, n) => [
    ...(n === 0 ? [] : ['']),
    ...row.flatMap((cell, i) => (cell === '' ? [] : wrap(`${head[i] ?? ''}: ${cell}`, width, '', '  '))),
  ])
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0)
}
