import type { TableShape } from '../schema.ts'
import { tells } from './cells.ts'
import type { Ground } from './piece.ts'

/** So many rows are looked at, from the first and from the last by their key, for what many of them have. */
const SAMPLE = 1_000
/** A row's own time of change differs after every change; when it was made does not. */
const TIME = /timestamp|datetime/i

/** What a text tells of the row that it stands in. */
export const TELLS = {
  /** One row from another. */
  apart: 0,
  /** Rows from some others: many have it. */
  some: 1,
  /** Nothing: a row has it from the start. */
  nothing: 2,
  /** It was not kept. */
  unknown: 3,
} as const

/** How a row was, cell by cell, beside the row `o` that has its key now. */
interface Was {
  readonly column: string
  readonly type: string
  /** SQL: the text that it had. */
  readonly text: string
  /** SQL: what that tells (see `TELLS`). */
  readonly what: string
}

/**
 * SQL: the row may have been made anew under the key of another. Something that tells, then or now, is not as it was; of what tells
 * one row from others no more is as it was than is not; and not all that it was not given from the start is as it was.
 */
export function remade({ dialect }: Ground, cells: readonly Was[]): string {
  const all = cells.map(({ column, type, text, what }) => {
    const now = dialect.text(`o.${dialect.quote(column)}`, type)
    const time = TIME.test(type)
    return {
      time,
      what,
      same: `NOT ${dialect.differs(now, text)}`,
      telling: tells(text),
      // What was empty and is filled by now speaks against a row that has nothing of its own.
      either: time ? tells(text) : `(${tells(text)} OR (${what} <> ${TELLS.unknown} AND ${tells(now)}))`,
    }
  })
  if (all.length === 0) return '(1 = 0)'
  const sum = (conditions: readonly string[]) =>
    ['0', ...conditions.map(c => `CASE WHEN ${c} THEN 1 ELSE 0 END`)].join(' + ')
  const plain = all.filter(c => !c.time)
  const changed = all.map(c => `(${c.either} AND NOT (${c.same}))`).join(' OR ')
  const stays = sum(all.map(c => `${c.telling} AND ${c.what} = ${TELLS.apart} AND (${c.same})`))
  const goes = sum(plain.map(c => `${c.telling} AND ${c.what} = ${TELLS.apart} AND NOT (${c.same})`))
  const given = sum(all.map(c => `${c.telling} AND ${c.what} <= ${TELLS.some} AND (${c.same})`))
  const other = sum(plain.map(c => `${c.either} AND ${c.what} <= ${TELLS.some} AND NOT (${c.same})`))
  return `((${changed}) AND (${stays}) <= (${goes}) AND NOT ((${other}) = 0 AND (${given}) > 0))`
}

/** Says of a text of a column what it tells. */
export type Telling = (text: string | null | undefined) => number

/** For each column what its texts tell: the default nothing, and what some of a thousand rows share but some rows from others. */
export async function tellingIn(
  { dialect, merger }: Ground,
  table: string,
  shape: TableShape,
  columns: readonly string[],
): Promise<readonly Telling[]> {
  const text = (column: string, sql: string) => dialect.text(sql, shape.columns[column]?.type ?? '')
  const rows = await ends(
    { dialect, merger },
    table,
    shape,
    columns.map((c, i) => `${text(c, dialect.quote(c))} AS s${i}`),
  )
  const fixed = columns.map(c => dialect.fixedDefault(shape.columns[c]?.default ?? null, shape.columns[c]?.type ?? ''))
  const own = columns.map((c, i) => `${fixed[i] == null ? 'NULL' : text(c, fixed[i])} AS s${i}`)
  const [defaults = {}] = await merger.query(`SELECT ${own.join(', ')}`)
  return columns.map((_, i) => {
    const [seen, shared] = [new Set<unknown>(), new Set<unknown>()]
    for (const row of rows) (seen.has(row[`s${i}`]) ? shared : seen).add(row[`s${i}`])
    return value => {
      if (value === undefined) return TELLS.unknown
      if (value !== null && value === defaults[`s${i}`]) return TELLS.nothing
      return shared.has(value) ? TELLS.some : TELLS.apart
    }
  })
}

/** The first rows by their key and the last ones: what came lately shares other values than what has long been there. */
async function ends(
  { dialect, merger }: Pick<Ground, 'dialect' | 'merger'>,
  table: string,
  shape: TableShape,
  list: readonly string[],
): Promise<Record<string, unknown>[]> {
  const keys = shape.key.map((k, i) => `${dialect.text(dialect.quote(k), shape.columns[k]?.type ?? '')} AS k${i}`)
  const found = new Map<string, Record<string, unknown>>()
  for (const way of ['ASC', 'DESC']) {
    const order = shape.key.map(k => `${dialect.quote(k)} ${way}`)
    const by = order.length === 0 ? '' : ` ORDER BY ${order.join(', ')}`
    const rows = await merger.query(
      `SELECT ${[...keys, ...list].join(', ')} FROM ${merger.table('ours', table)}${by} LIMIT ${SAMPLE}`,
    )
    for (const row of rows) found.set(JSON.stringify(shape.key.map((_, i) => row[`k${i}`])), row)
  }
  return [...found.values()]
}
