import type { Dialect } from '../engine.ts'
import type { TableShape } from '../schema.ts'

const WHEN = '(at|on|date|time|ts|timestamp)?'
const MADE = new RegExp(`^(date)?(creat(e|ed|ion)|insert(ed)?|added|written|entered|placed|recorded|logged)${WHEN}$`)
const CHANGED = new RegExp(`^(date|last)?(updated?|modified|modification|changed)${WHEN}$`)

/**
 * SQL for the time of the oldest row, as ISO text; NULL where no row has one. Read from a column that says by its name when
 * a row was made, or else when it was changed. null: the table has no such column.
 */
export function oldest(dialect: Dialect, shape: TableShape): string | null {
  const columns = [MADE, CHANGED].flatMap(pattern => Object.keys(shape.columns).filter(c => pattern.test(bare(c))))
  const times = columns.map(c => dialect.iso(dialect.quote(c), shape.columns[c]?.type ?? ''))
  const [first, ...more] = times.filter(t => t !== null).map(t => `min(${t})`)
  if (first === undefined) return null
  return more.length === 0 ? first : `coalesce(${[first, ...more].join(', ')})`
}

function bare(column: string): string {
  return column.toLowerCase().replaceAll(/[^a-z]/g, '')
}
