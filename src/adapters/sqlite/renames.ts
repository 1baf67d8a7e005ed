import type { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import type { Fingerprint } from '../../data/fingerprint.ts'
import { type Rename, type Renames, renameCandidates, settle, type Weighed } from '../../data/renames.ts'
import type { ColumnShape, SchemaShape, TableShape } from '../../data/schema.ts'
import { all, count, quoted } from './database.ts'
import { hasRowId, METHOD, orderOf, tableFingerprint } from './fingerprint.ts'
import { same } from './rows.ts'

/** What is known of the release's data. */
export interface Baseline {
  readonly schema: SchemaShape
  /** For where there is no copy to ask. */
  readonly data: Fingerprint
  /** The database as it was backed up, whole; null: it is gone or was altered. */
  readonly copy: string | null
}

type Evidence = Pick<Weighed, 'rows' | 'equal' | 'telling' | 'untold'>

/** Pairs of names that could stand for one thing, by their shape alone. */
export function candidates(base: SchemaShape, live: SchemaShape): Rename[] {
  return renameCandidates(base, live, sameAffinity)
}

/** The part of a fingerprint that renames are looked for in. */
export function dataFor(pairs: readonly Rename[], data: Fingerprint): Fingerprint {
  const names = new Set(pairs.map(pair => pair.was.table))
  return { method: data.method, tables: Object.fromEntries(Object.entries(data.tables).filter(([t]) => names.has(t))) }
}

/** Finds out by the rows what was renamed. `db` has the copy attached as `base`, where there is one. Reads only. */
export async function findRenames(
  db: DatabaseSync,
  base: Baseline,
  live: SchemaShape,
  signal: AbortSignal,
): Promise<Renames> {
  const weighed: Weighed[] = []
  for (const pair of candidates(base.schema, live)) {
    signal.throwIfAborted()
    const [then, now] = [base.schema.tables[pair.was.table], live.tables[pair.now.table]]
    if (then === undefined || now === undefined) continue
    const weigh = base.copy === null ? byDigest(db, base.data, pair, then, now, signal) : byRow(db, pair, then, now)
    const samePlace = base.copy !== null && pair.now.column !== null && standsWhereItStood(db, pair)
    weighed.push({ ...pair, ...(await weigh), samePlace })
    await setImmediate()
  }
  return settle(weighed)
}

const NOTHING: Evidence = { rows: 0, equal: 0, telling: 0, untold: null }

/** Every row that is in the copy and here: is under the new name what was under the old one? */
async function byRow(db: DatabaseSync, pair: Rename, then: TableShape, now: TableShape): Promise<Evidence> {
  const match = matching(pair, then, now)
  if (match === null) return { ...NOTHING, untold: 'the rows of then and now cannot be told apart' }
  const { column } = pair.now
  const pairs = column === null ? valuesOf(now).map(c => [c, c] as const) : [[column, pair.was.column ?? ''] as const]
  const equal = pairs.map(([l, b]) => same(l, b)).join(' AND ')
  const told = pairs.map(([l]) => `l.${quoted(l)} IS NOT NULL`).join(' OR ')
  const sql = `SELECT count(*) AS n, total(${equal}) AS equal, total((${equal}) AND (${told})) AS telling
    FROM main.${quoted(pair.now.table)} AS l JOIN base.${quoted(pair.was.table)} AS b ON ${match}`
  const [row] = all(db, sql)
  return { rows: Number(row?.['n']), equal: Number(row?.['equal']), telling: Number(row?.['telling']), untold: null }
}

/** By the primary key; by the row's number where the key itself got another name, or where there is none. */
function matching(pair: Rename, then: TableShape, now: TableShape): string | null {
  if (now.key.length > 0 && now.key.join('\0') === then.key.join('\0')) {
    return now.key.map(k => `l.${quoted(k)} = b.${quoted(k)}`).join(' AND ')
  }
  // The column that is the row's number would be compared with itself.
  if (!hasRowId(then) || !hasRowId(now) || isRowId(now, pair.now.column)) return null
  return `l.${orderOf(pair.now.table, now).join()} = b.${orderOf(pair.was.table, then).join()}`
}

function isRowId(shape: TableShape, column: string | null): boolean {
  return column !== null && shape.key.join('\0') === column && shape.columns[column]?.type === 'INTEGER'
}

/** No copy to ask: the first rows of now, as many as there were then, must have the digests of then. */
async function byDigest(
  db: DatabaseSync,
  data: Fingerprint,
  pair: Rename,
  then: TableShape,
  now: TableShape,
  signal: AbortSignal,
): Promise<Evidence> {
  const known = data.tables[pair.was.table]
  const gone = { ...NOTHING, untold: "the release's backup cannot be read, and rows came between or went since" }
  if (known === undefined || data.method !== METHOD || hasRowId(then) !== hasRowId(now)) return gone
  const key = then.key.filter(k => k !== pair.was.column)
  if (key.some(k => now.columns[k] === undefined)) return gone
  const { column } = pair.now
  const columns = column === null ? Object.keys(known.columns) : [...key, column]
  const first = await tableFingerprint(db, pair.now.table, now, signal, { columns, rows: known.rows })
  if (first.rows < known.rows || key.some(k => first.columns[k] !== known.columns[k])) return gone
  const equal = columns.every(c => first.columns[c] === known.columns[c === column ? (pair.was.column ?? c) : c])
  const telling = equal ? countTelling(db, pair, now, known.rows) : 0
  return { rows: known.rows, equal: equal ? known.rows : 0, telling, untold: null }
}

function countTelling(db: DatabaseSync, pair: Rename, now: TableShape, rows: number): number {
  const values = pair.now.column === null ? 1 : quoted(pair.now.column)
  const order = orderOf(pair.now.table, now).join(', ')
  const first = `SELECT ${values} AS v FROM ${quoted(pair.now.table)} ORDER BY ${order} LIMIT ${rows}`
  return count(db, `SELECT count(v) FROM (${first})`)
}

/** A column that was added stands at the end; one that was renamed has what followed it still behind it. */
function standsWhereItStood(db: DatabaseSync, { was, now }: Rename): boolean {
  const [then, here] = [columnsOf(db, 'base', was.table), columnsOf(db, 'main', now.table)]
  const at = then.indexOf(was.column ?? '')
  return at === here.indexOf(now.column ?? '') && then.some((name, i) => i > at && here[i] === name)
}

function columnsOf(db: DatabaseSync, schema: 'base' | 'main', table: string): string[] {
  const rows = all(db, 'SELECT name FROM pragma_table_xinfo(?, ?) ORDER BY cid', table, schema)
  return rows.map(row => String(row['name']))
}

function valuesOf(shape: TableShape): string[] {
  return Object.keys(shape.columns).filter(c => shape.columns[c]?.generated === false)
}

function sameAffinity(a: ColumnShape, b: ColumnShape): boolean {
  return affinityOf(a.type) === affinityOf(b.type)
}

/** As SQLite reads a declared type. */
function affinityOf(type: string): string {
  if (type.includes('INT')) return 'INTEGER'
  if (/CHAR|CLOB|TEXT/.test(type)) return 'TEXT'
  if (type === '' || type.includes('BLOB')) return 'BLOB'
  return /REAL|FLOA|DOUB/.test(type) ? 'REAL' : 'NUMERIC'
}
