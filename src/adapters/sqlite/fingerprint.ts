import { createHash, type Hash } from 'node:crypto'
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import { BackoutError } from '../../core/errors.ts'
import type { FingerprintPart } from '../../data/engine.ts'
import type { Fingerprint, TableFingerprint } from '../../data/fingerprint.ts'
import type { SchemaShape, TableShape } from '../../data/schema.ts'
import { all, quoted, sqliteCode } from './database.ts'

export const METHOD = 'sqlite-2'
const TOO_BIG = 18
const FIRST_CHUNK = 256
const MOST_ROWS = 8192
const MOST_BYTES = 8 * 1024 * 1024

/** Reads every value of every table of the schema. Lets other work go on between chunks. */
export async function fingerprint(
  db: DatabaseSync,
  schema: SchemaShape,
  signal: AbortSignal,
  part?: FingerprintPart,
): Promise<Fingerprint> {
  const tables: Record<string, TableFingerprint> = {}
  for (const [name, shape] of Object.entries(schema.tables)) {
    if (part !== undefined && !part.tables.includes(name)) continue
    const columns = part?.columns?.[name]
    const rows = part?.rows
    const only = { ...(columns === undefined ? {} : { columns }), ...(rows === undefined ? {} : { rows }) }
    tables[name] = await tableFingerprint(db, name, shape, signal, only)
  }
  return { method: METHOD, tables }
}

/** `part`: of these columns only, of the first so many rows only. */
export async function tableFingerprint(
  db: DatabaseSync,
  table: string,
  shape: TableShape,
  signal: AbortSignal,
  part: { columns?: readonly string[]; rows?: number } = {},
): Promise<TableFingerprint> {
  const wanted = part.columns ?? Object.keys(shape.columns)
  const columns = wanted.filter(c => shape.columns[c]?.generated === false)
  const most = part.rows ?? Infinity
  const digests = columns.map(() => createHash('sha256'))
  const order = orderOf(table, shape)
  let rows = 0
  let limit = FIRST_CHUNK
  let after: SQLInputValue[] | null = null
  while (rows < most) {
    signal.throwIfAborted()
    const chunk = readChunk(db, table, columns, order, after, Math.min(limit, most - rows))
    if (chunk === 'too big') {
      limit = 1
      continue
    }
    if (chunk.rows === 0) break
    digests.forEach((digest, i) => feed(digest, rows > 0, chunk.values[i] as Uint8Array))
    rows += chunk.rows
    after = chunk.last
    if (chunk.bytes > MOST_BYTES) limit = Math.max(1, limit >> 1)
    else if (chunk.bytes < MOST_BYTES / 4) limit = Math.min(MOST_ROWS, limit * 2)
    await setImmediate()
  }
  return { rows, columns: Object.fromEntries(columns.map((c, i) => [c, digestOf(digests[i])])) }
}

function feed(digest: Hash, notFirst: boolean, bytes: Uint8Array): void {
  if (notFirst) digest.update(',')
  digest.update(bytes)
}

function digestOf(hash: Hash | undefined): string {
  return hash === undefined ? '' : hash.digest('hex').slice(0, 32)
}

/**
 * What orders the rows. The row id's order survives VACUUM, a dump and a rebuild of the table, though the ids do not:
 * so they order, and are not hashed.
 */
export function orderOf(table: string, shape: TableShape): string[] {
  if (!hasRowId(shape)) return shape.key.map(quoted)
  const taken = new Set(Object.keys(shape.columns).map(c => c.toLowerCase()))
  const free = ['rowid', '_rowid_', 'oid'].find(name => !taken.has(name))
  if (free !== undefined) return [free]
  throw new BackoutError({
    code: 'row_order_unknown',
    what: `The table ${table} has columns named rowid, _rowid_ and oid: its rows cannot be put in order`,
    next: 'rename one of them',
    exit: 'blocked',
  })
}

export function hasRowId(shape: TableShape): boolean {
  return !shape.constraints.includes('without rowid')
}

/** A value as bytes that tell its type too. A text with its length: quote() would look at each character, and end at a NUL. */
function exact(column: string): string {
  const c = quoted(column)
  return `CASE typeof(${c}) WHEN 'text' THEN octet_length(${c}) || 'T' || ${c} WHEN 'integer' THEN ${c} WHEN 'null' THEN 'N' ELSE quote(${c}) END`
}

interface Chunk {
  rows: number
  bytes: number
  values: unknown[]
  last: SQLInputValue[]
}

function readChunk(
  db: DatabaseSync,
  table: string,
  columns: string[],
  order: string[],
  after: SQLInputValue[] | null,
  limit: number,
): Chunk | 'too big' {
  const by = order.join(', ')
  const where = after === null ? '' : `WHERE (${by}) > (${order.map(() => '?').join(', ')})`
  const part = `SELECT ${order.map((o, i) => `${o} AS backout_k${i}`).join(', ')}, * FROM ${quoted(table)} ${where} ORDER BY ${by} LIMIT ${limit}`
  const values = columns.map(c => `CAST(group_concat(${exact(c)}) AS BLOB)`)
  const statement = db.prepare(`SELECT ${['count(*)', ...values].join(', ')} FROM (${part})`)
  statement.setReturnArrays(true)
  try {
    const [rows, ...read] = statement.get(...(after ?? [])) as unknown as [number, ...unknown[]]
    const bytes = read.reduce((sum: number, v) => sum + ((v as Uint8Array | null) ?? '').length, 0)
    return { rows, bytes, values: read, last: rows === 0 ? [] : lastKey(db, part, order.length, rows, after) }
  } catch (error) {
    if (sqliteCode(error) === TOO_BIG && limit > 1) return 'too big'
    throw error
  }
}

function lastKey(db: DatabaseSync, part: string, keys: number, rows: number, after: SQLInputValue[] | null) {
  const names = Array.from({ length: keys }, (_, i) => `backout_k${i}`)
  const statement = db.prepare(`SELECT ${names.join(', ')} FROM (${part}) LIMIT 1 OFFSET ${rows - 1}`)
  statement.setReadBigInts(true)
  const row = statement.get(...(after ?? [])) ?? {}
  return names.map(name => row[name] as SQLInputValue)
}

/** Rows of each table. Cheap beside a fingerprint. */
export function rowCounts(db: DatabaseSync, schema: SchemaShape): Record<string, number> {
  const names = Object.keys(schema.tables)
  return Object.fromEntries(
    names.map(name => [name, Number(all(db, `SELECT count(*) AS n FROM ${quoted(name)}`)[0]?.['n'])]),
  )
}
