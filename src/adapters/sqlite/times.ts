import type { TableShape } from '../../data/schema.ts'
import { quoted } from './database.ts'

const WHEN = '(at|on|date|time|ts|timestamp)?'
const MADE = new RegExp(`^(date)?(creat(e|ed|ion)|insert(ed)?|added|written|entered|placed|recorded|logged)${WHEN}$`)
const CHANGED = new RegExp(`^(date|last)?(updated?|modified|modification|changed)${WHEN}$`)

/**
 * SQL for the time of the oldest row, as ISO text; NULL where no row has one. Read from a column that says by its name when
 * a row was made, or else when it was changed. null: the table has no such column.
 */
export function oldest(shape: TableShape): string | null {
  const columns = [MADE, CHANGED].flatMap(pattern => Object.keys(shape.columns).filter(c => pattern.test(bare(c))))
  const [first, ...more] = columns.map(c => `min(${asTime(quoted(c))})`)
  if (first === undefined) return null
  return more.length === 0 ? first : `coalesce(${[first, ...more].join(', ')})`
}

function bare(column: string): string {
  return column.toLowerCase().replaceAll(/[^a-z]/g, '')
}

/** ISO text, or seconds or milliseconds since 1970. Anything else is no time: numbers would be taken for Julian days. */
function asTime(c: string): string {
  const iso = (...words: string[]) => `strftime('%Y-%m-%dT%H:%M:%fZ', ${words.join(', ')})`
  return `CASE WHEN typeof(${c}) = 'text' AND ${c} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' THEN ${iso(c)}
    WHEN typeof(${c}) IN ('integer', 'real') AND ${c} BETWEEN 1e8 AND 1e11 THEN ${iso(c, `'unixepoch'`)}
    WHEN typeof(${c}) IN ('integer', 'real') AND ${c} BETWEEN 1e11 AND 1e14 THEN ${iso(`${c} / 1000.0`, `'unixepoch'`)} END`
}
