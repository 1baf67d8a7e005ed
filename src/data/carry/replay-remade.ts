import type { TableShape } from '../schema.ts'
import { howMany, tells } from './cells.ts'
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
  const plain = all.filter(c => !c.time)
  const changed = all.map(c => `(${c.either} AND NOT (${c.same}))`).join(' OR ')
  const stays = howMany(all.map(c => `${c.telling} AND ${c.what} = ${TELLS.apart} AND (${c.same})`))
  const goes = howMany(plain.map(c => `${c.telling} AND ${c.what} = ${TELLS.apart} AND NOT (${c.same})`))
  const given = howMany(all.map(c => `${c.telling} AND ${c.what} <= ${TELLS.some} AND (${c.same})`))
  const other = howMany(plain.map(c => `${c.either} AND ${c.what} <= ${TELLS.some} AND NOT (${c.same})`))
  return `((${changed}) AND ${stays} <= ${goes} AND NOT (${other} = 0 AND ${given} > 0))`
}

/** Says of a text of a column what it tells. */
export type Telling = (text: string | null | undefined) => number

/** A table, and how its rows are known. */
interface Of {
  readonly table: string
  readonly shape: TableShape
  readonly key: Readonly<Record<string, string>>
  readonly columns: Readonly<Record<string, string>>
}

/** For each column what its texts tell: the default nothing, and what some of a thousand rows share but some rows from others. */
export async function tellingIn(ground: Ground, of: Of): Promise<readonly Telling[]> {
  const { dialect, merger } = ground
  const columns = Object.keys(of.columns).map(name => {
    const { type = '', default: usual = null } = of.shape.columns[name] ?? {}
    return { text: dialect.text(dialect.quote(name), type), type, fixed: dialect.fixedDefault(usual, type) }
  })
  const rows = await ends(
    ground,
    of,
    columns.map(({ text }, i) => `${text} AS s${i}`),
  )
  const own = columns.map(({ fixed, type }, i) => `${fixed === null ? 'NULL' : dialect.text(fixed, type)} AS s${i}`)
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
  { dialect, merger }: Ground,
  { table, shape, key }: Of,
  list: readonly string[],
): Promise<Record<string, unknown>[]> {
  const names = Object.keys(key)
  const keys = names.map((k, i) => `${dialect.text(dialect.quote(k), shape.columns[k]?.type ?? '')} AS k${i}`)
  const found = new Map<string, Record<string, unknown>>()
  for (const way of ['ASC', 'DESC']) {
    const order = names.map(k => `${dialect.quote(k)} ${way}`)
    const rows = await merger.query(
      `SELECT ${[...keys, ...list].join(', ')} FROM ${merger.table('ours', table)} ORDER BY ${order.join(', ')} LIMIT ${SAMPLE}`,
    )
    for (const row of rows) found.set(JSON.stringify(names.map((_, i) => row[`k${i}`])), row)
    if (rows.length < SAMPLE) break
  }
  return [...found.values()]
}
