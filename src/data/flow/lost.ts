import type { Loss } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Dialect, Reader } from '../engine.ts'
import { type AtRisk, atRisk, lossOf } from '../loss.ts'
import type { Rename } from '../renames.ts'
import { compareSchemas, type SchemaShape } from '../schema.ts'
import { misfitLoss, misfitsOf } from './misfits.ts'
import type { DeclaredLoss } from './settings.ts'
import type { Site } from './site.ts'
import { oldest } from './times.ts'
import { shownValue } from './values.ts'

export const KEPT = 'kept in the pre-rollback backup; not brought back by itself'

/** From what to what a schema goes back. */
export interface Way {
  readonly base: SchemaShape
  readonly live: SchemaShape
  readonly declared: readonly DeclaredLoss[]
  readonly renames: readonly Rename[]
  /** When the base was read: what only the live schema has was written since. */
  readonly at?: string
}

/** What destroying everything that the baseline does not know, by whatever name, would lose, counted now. */
export async function lostByGoingDown(site: Site, db: Reader, way: Way): Promise<Loss[]> {
  const { dialect } = site.engine
  const named = new Set(way.declared.map(d => d.what))
  const out: Loss[] = []
  for (const item of atRisk(compareSchemas(way.base, way.live), way.renames)) {
    const { rows, since } = await countOf(db, dialect, way.live, item)
    const loss = lossOf(item, rows, KEPT, way.at === undefined ? since : notBefore(since, way.at))
    if (loss !== null && !named.has(loss.what)) out.push(loss)
  }
  for (const d of way.declared) {
    const loss = await declaredLoss(db, d)
    if (loss !== null) out.push(loss)
  }
  return out
}

/** A row that is older may hold what was written into it later. */
export function notBefore(since: string | null, at: string): string {
  return since === null || since < at ? at : since
}

/** The same, and what does not fit any more where the schema is narrower again. */
export async function lostByUndoing(site: Site, db: Reader, way: Way): Promise<Loss[]> {
  const misfits = await misfitsOf(site, db, way)
  return [...(await lostByGoingDown(site, db, way)), ...misfitLoss(misfits)]
}

async function countOf(
  db: Reader,
  dialect: Dialect,
  live: SchemaShape,
  item: AtRisk,
): Promise<{ rows: number; since: string | null }> {
  const shape = live.tables[item.table]
  const filter = filterOf(dialect, live, item)
  if (shape === undefined || filter === null) return { rows: 0, since: null }
  const time = oldest(dialect, shape) ?? 'NULL'
  const sql = `SELECT count(*) AS n, ${time} AS since FROM ${dialect.table(item.table)} WHERE ${filter}`
  const [row] = await db.query(sql)
  return { rows: Number(row?.['n'] ?? 0), since: shownValue(row?.['since']) }
}

/** Which rows hold something of it: all of a table, those unlike the default of a column, none of a computed one. */
export function filterOf(dialect: Dialect, live: SchemaShape, { table, column }: AtRisk): string | null {
  if (column === null) return '1 = 1'
  const shape = live.tables[table]?.columns[column]
  if (shape === undefined || shape.generated) return null
  const name = dialect.quote(column)
  const fixed = dialect.fixedDefault(shape.default, shape.type)
  return `${name} IS NOT NULL${fixed === null ? '' : ` AND ${dialect.differs(name, fixed)}`}`
}

async function declaredLoss(db: Reader, declared: DeclaredLoss): Promise<Loss | null> {
  const rows = countIn(await firstValue(db, declared.sql), declared)
  if (rows === 0) return null
  const since = declared.since === undefined ? null : await firstValue(db, declared.since)
  const note = `by undoing ${declared.migration}; ${KEPT}`
  return { what: declared.what, count: rows, unit: 'rows', since: shownValue(since), note }
}

/** No number is not "nothing": it would also keep what was counted under the same name from being told. */
function countIn(value: unknown, { what, migration }: DeclaredLoss): number {
  const told = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  const rows = typeof told === 'bigint' ? Number(told) : told
  if (typeof rows === 'number' && Number.isFinite(rows) && rows >= 0) return rows
  throw new BackoutError({
    code: 'loss_not_counted',
    what: `\`sql\` in \`loses\` for ${what} (${migration}) gives no number`,
    cause: value === undefined || value === null ? 'it gives no row, or NULL' : 'it gives something else than a number',
    next: 'write one that gives one row with one number, as with `SELECT count(*)` or `coalesce(sum(…), 0)`',
    exit: 'usage',
  })
}

async function firstValue(db: Reader, sql: string): Promise<unknown> {
  const [row] = await db.query(sql)
  return row === undefined ? null : Object.values(row)[0]
}
