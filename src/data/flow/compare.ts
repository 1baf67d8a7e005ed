import type { Both, Dialect } from '../engine.ts'
import type { TableShape } from '../schema.ts'
import { contentBeside, joinedBeside } from './beside.ts'
import type { Sides } from './sides.ts'

/** One column under its name here and there. */
export interface Column {
  readonly now: string
  readonly base: string
  /** Values of now are compared as the type of then says them, where they fit it. Only where both are read side by side. */
  readonly inOldType?: boolean
}

/** A table here and there, and what is compared of it. */
export interface Pair {
  readonly now: { readonly table: string; readonly shape: TableShape }
  readonly base: { readonly table: string; readonly shape: TableShape }
  readonly columns: readonly Column[]
}

/** By what a row here is the same as one there: columns, or the system's own number of it. */
export type Match = { readonly key: readonly Column[] } | { readonly number: Column }

/** Rows of both sides, joined. */
export interface Joined {
  readonly now: number
  readonly base: number
  readonly joined: number
  /** Those whose columns hold the same. */
  readonly equal: number
  /** Those of the equal ones that hold a value at all. */
  readonly telling: number
}

/** By the primary key where it is the same one; else by the row's number; null: rows cannot be told apart. */
export function matchOf(
  dialect: Dialect,
  { now, base }: Pair,
  oldNames: (column: string) => string = same,
): Match | null {
  const key = base.shape.key.map(c => ({ base: c, now: oldNames(c) }))
  if (key.length > 0 && key.map(c => c.now).join('\0') === now.shape.key.join('\0')) return { key }
  return byNumber(dialect, now, base)
}

function same(column: string): string {
  return column
}

function byNumber(dialect: Dialect, now: Pair['now'], base: Pair['base']): Match | null {
  const [here, there] = [now, base].map(t => dialect.rowNumber?.(t.table, t.shape) ?? null)
  return here == null || there == null ? null : { number: { now: here, base: there } }
}

/** Every row of both sides. Throws where there is no base to read. */
export function joined(dialect: Dialect, sides: Sides, pair: Pair, match: Match): Promise<Joined> {
  return sides.both === null
    ? joinedBeside(dialect, readers(sides), pair, match)
    : joinedInOne(dialect, sides.both, pair, match)
}

/** How many rows are here only, and there only, where rows have nothing but their content. Equal rows count one by one. */
export function byContent(dialect: Dialect, sides: Sides, pair: Pair): Promise<{ added: number; deleted: number }> {
  return sides.both === null ? contentBeside(dialect, readers(sides), pair) : contentInOne(dialect, sides.both, pair)
}

export function readers({ now, base }: Sides) {
  if (base === null) throw new Error('there is nothing to compare with')
  return { now, base }
}

/** The columns and numbers by which rows match, as SQL. */
export function termsOf(dialect: Dialect, match: Match): Column[] {
  if ('number' in match) return [match.number]
  return match.key.map(c => ({ now: dialect.quote(c.now), base: dialect.quote(c.base) }))
}

async function joinedInOne(dialect: Dialect, db: Both, pair: Pair, match: Match): Promise<Joined> {
  const on = termsOf(dialect, match)
    .map(t => `l.${t.now} = b.${t.base}`)
    .join(' AND ')
  const cells = pair.columns.map(c => [`l.${dialect.quote(c.now)}`, `b.${dialect.quote(c.base)}`] as const)
  const equal = cells.map(([l, b]) => `NOT ${dialect.differs(l, b)}`).join(' AND ') || '1 = 1'
  const told = cells.map(([l]) => `${l} IS NOT NULL`).join(' OR ') || '1 = 0'
  const here = db.table('now', pair.now.table)
  const there = db.table('base', pair.base.table)
  const sum = (condition: string) => `sum(CASE WHEN ${condition} THEN 1 ELSE 0 END)`
  const [row] = await db.query(`SELECT (SELECT count(*) FROM ${here}) AS here, (SELECT count(*) FROM ${there}) AS there,
    count(*) AS joined, ${sum(equal)} AS equal, ${sum(`(${equal}) AND (${told})`)} AS telling
    FROM ${here} AS l JOIN ${there} AS b ON ${on}`)
  const n = (name: string) => Number(row?.[name] ?? 0)
  return { now: n('here'), base: n('there'), joined: n('joined'), equal: n('equal'), telling: n('telling') }
}

/** Equal rows are numbered, so that each counts. */
async function contentInOne(dialect: Dialect, db: Both, pair: Pair): Promise<{ added: number; deleted: number }> {
  const rows = (side: 'now' | 'base') => {
    const list = pair.columns.map(c => dialect.text(dialect.quote(c[side]), typeOf(pair[side].shape, c[side])))
    const columns = list.map((text, i) => `${text} AS c${i}`).join(', ')
    const names = list.map((_, i) => `c${i}`).join(', ')
    return `SELECT ${names}, row_number() OVER (PARTITION BY ${names}) AS nth FROM (SELECT ${columns} FROM ${db.table(side, pair[side].table)}) AS ${side}_rows`
  }
  const minus = (a: 'now' | 'base', b: 'now' | 'base') =>
    db.query(`SELECT count(*) AS n FROM (SELECT * FROM (${rows(a)}) AS x EXCEPT SELECT * FROM (${rows(b)}) AS y) AS z`)
  const [added] = await minus('now', 'base')
  const [deleted] = await minus('base', 'now')
  return { added: Number(added?.['n']), deleted: Number(deleted?.['n']) }
}

export function typeOf(shape: TableShape, column: string): string {
  return shape.columns[column]?.type ?? ''
}
