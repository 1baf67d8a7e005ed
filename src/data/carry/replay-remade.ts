import type { TableShape } from '../schema.ts'
import { tells } from './cells.ts'
import type { Ground } from './piece.ts'

/** So many rows are looked at for what many of them have. */
const SAMPLE = 1_000
/** A row's own time of change differs after every change; when it was made does not. */
const TIME = /timestamp|datetime/i

/** How a row was, cell by cell, beside the row `o` that has its key now. */
interface Was {
  readonly column: string
  readonly type: string
  /** SQL: the text that it had. */
  readonly text: string
  /** SQL: 1 where many rows have that text, or all from the start, so that it tells none from another. */
  readonly usual: string
}

/**
 * SQL: the row may have been made anew under the key of another. Something that tells is not as it was, and of what tells one
 * row from others no more is as it was than is not.
 */
export function remade({ dialect }: Ground, cells: readonly Was[]): string {
  const all = cells.map(({ column, type, text, usual }) => {
    const same = `NOT ${dialect.differs(dialect.text(`o.${dialect.quote(column)}`, type), text)}`
    return { telling: tells(text), own: `${usual} = 0`, same, time: TIME.test(type) }
  })
  const sum = (conditions: readonly string[]) =>
    conditions.length === 0 ? '0' : conditions.map(c => `CASE WHEN ${c} THEN 1 ELSE 0 END`).join(' + ')
  const changed = all.map(({ telling, same }) => `(${telling} AND NOT (${same}))`)
  const stays = sum(all.map(({ telling, own, same }) => `${telling} AND ${own} AND (${same})`))
  const goes = sum(all.filter(c => !c.time).map(({ telling, own, same }) => `${telling} AND ${own} AND NOT (${same})`))
  return changed.length === 0 ? '(1 = 0)' : `((${changed.join(' OR ')}) AND ${stays} <= ${goes})`
}

/** Texts of each column that tell no row from another: those of its default, and those that some of a thousand rows share. */
export async function usualIn(
  { dialect, merger }: Ground,
  table: string,
  shape: TableShape,
  columns: readonly string[],
): Promise<readonly ReadonlySet<string>[]> {
  const text = (column: string, sql: string) => dialect.text(sql, shape.columns[column]?.type ?? '')
  const list = columns.map((c, i) => `${text(c, dialect.quote(c))} AS s${i}`)
  const rows = await merger.query(`SELECT ${list.join(', ')} FROM ${merger.table('ours', table)} LIMIT ${SAMPLE}`)
  const fixed = columns.map(c => dialect.fixedDefault(shape.columns[c]?.default ?? null, shape.columns[c]?.type ?? ''))
  const own = columns.map((c, i) => `${fixed[i] == null ? 'NULL' : text(c, fixed[i])} AS s${i}`)
  const [defaults = {}] = await merger.query(`SELECT ${own.join(', ')}`)
  return columns.map((_, i) => {
    const seen = new Set<unknown>()
    const usual = new Set<unknown>([defaults[`s${i}`]])
    for (const row of rows) {
      const value = row[`s${i}`]
      if (seen.has(value)) usual.add(value)
      seen.add(value)
    }
    return new Set([...usual].filter(value => typeof value === 'string'))
  })
}
