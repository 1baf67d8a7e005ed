import { createHash, type Hash } from 'node:crypto'
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import { BackoutError } from '../../core/errors.ts'
import type { TableFingerprint } from '../../data/fingerprint.ts'
import type { TableShape } from '../../data/schema.ts'
import { affinityOf } from './affinity.ts'
import { quoted, sqliteCode } from './database.ts'

const TOO_BIG = 18
const FIRST_CHUNK = 256
/** What the processor's cache holds: more at once is slower. */
const MOST_ROWS = 2048
const MOST_BYTES = 4 * 1024 * 1024

/** One table, or some columns of it, to be digested. */
export interface Part {
  readonly table: string
  readonly shape: TableShape
  readonly columns: readonly string[]
  /** The first so many rows only. */
  readonly rows?: number
}

/** A digest of each column's values in the order of the rows. Lets other work go on between chunks. */
export async function digestsOf(db: DatabaseSync, part: Part, signal: AbortSignal): Promise<TableFingerprint> {
  const { columns, rows: most = Infinity } = part
  const digests = columns.map(() => createHash('sha256'))
  let rows = 0
  let limit = FIRST_CHUNK
  let after: Key | null = null
  while (rows < most) {
    signal.throwIfAborted()
    const chunk: Chunk | 'too big' = readChunk(db, part, after, Math.min(limit, most - rows))
    if (chunk === 'too big') {
      limit = 1
      continue
    }
    if (chunk.rows > 0)
      digests.forEach((digest, i) => feed(digest, rows > 0, chunk.values[i] as Uint8Array<ArrayBuffer>))
    rows += chunk.rows
    after = chunk.last
    if (after === null) break
    if (chunk.bytes > MOST_BYTES) limit = Math.max(1, limit >> 1)
    else if (chunk.bytes < MOST_BYTES / 4) limit = Math.min(MOST_ROWS, limit * 2)
    await setImmediate()
  }
  return { rows, columns: Object.fromEntries(columns.map((c, i) => [c, digestOf(digests[i])])) }
}

function feed(digest: Hash, notFirst: boolean, bytes: Uint8Array<ArrayBuffer>): void {
  if (notFirst) digest.update(',')
  digest.update(bytes)
  // Gives the memory back now: left to the garbage collector it would add up to a hundred megabytes.
  bytes.buffer.transfer(0)
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

/**
 * A value as bytes that tell its type too; a text with its length, for quote() would look at each character, and end at a
 * NUL. The same bytes whatever the column's type, which only says what to ask first.
 */
function exact(name: string, type: string): string {
  const c = quoted(name)
  const text = `WHEN 'text' THEN octet_length(${c}) || 'T' || ${c}`
  const whole = `WHEN 'integer' THEN ${c}`
  const affinity = affinityOf(type)
  const first = affinity === 'INTEGER' || affinity === 'NUMERIC' ? `${whole} ${text}` : `${text} ${whole}`
  const value = `CASE typeof(${c}) ${first} WHEN 'null' THEN 'N' ELSE quote(${c}) END`
  return affinity === 'REAL' ? `CASE WHEN ${c} < '' THEN quote(${c}) ELSE ${value} END` : value
}

type Key = readonly SQLInputValue[]

interface Chunk {
  readonly rows: number
  readonly bytes: number
  readonly values: readonly unknown[]
  /** Of the last row; null: the table ends here. */
  readonly last: Key | null
}

function readChunk(
  db: DatabaseSync,
  { table, shape, columns }: Part,
  after: Key | null,
  limit: number,
): Chunk | 'too big' {
  const order = orderOf(table, shape)
  const last = keyBehind(db, table, order, after, limit)
  const values = columns.map(c => `CAST(group_concat(${exact(c, shape.columns[c]?.type ?? '')}) AS BLOB)`)
  const statement = db.prepare(
    `SELECT ${['count(*)', ...values].join(', ')} FROM ${rowsOf(table, shape, order, { after, last })}`,
  )
  statement.setReturnArrays(true)
  try {
    const [rows, ...read] = statement.get(...(after ?? []), ...(last ?? [])) as unknown as [number, ...unknown[]]
    const bytes = read.reduce((sum: number, v) => sum + ((v as Uint8Array | null) ?? '').length, 0)
    return { rows, bytes, values: read, last }
  } catch (error) {
    if (sqliteCode(error) === TOO_BIG && limit > 1) return 'too big'
    throw error
  }
}

interface Range {
  readonly after: Key | null
  readonly last: Key | null
}

/**
 * Rows in their order: a table with row ids is read by them, so that nothing need be sorted or copied. LIMIT -1 is no limit,
 * and keeps the order of what is within.
 */
function rowsOf(table: string, shape: TableShape, order: readonly string[], { after, last }: Range): string {
  const where = between(order, after, last)
  if (hasRowId(shape)) return `${quoted(table)} NOT INDEXED${where}`
  return `(SELECT * FROM ${quoted(table)}${where} ORDER BY ${order.join(', ')} LIMIT -1)`
}

function between(order: readonly string[], after: Key | null, last: Key | null): string {
  const key = `(${order.join(', ')})`
  const marks = `(${order.map(() => '?').join(', ')})`
  const ends = [...(after === null ? [] : [`${key} > ${marks}`]), ...(last === null ? [] : [`${key} <= ${marks}`])]
  return ends.length === 0 ? '' : ` WHERE ${ends.join(' AND ')}`
}

/** The key of the row that stands `count` rows behind; null: there are fewer. */
function keyBehind(
  db: DatabaseSync,
  table: string,
  order: readonly string[],
  after: Key | null,
  count: number,
): Key | null {
  const by = order.join(', ')
  const rows = `${quoted(table)}${between(order, after, null)} ORDER BY ${by} LIMIT 1 OFFSET ${count - 1}`
  const statement = db.prepare(`SELECT ${by} FROM ${rows}`)
  statement.setReadBigInts(true)
  statement.setReturnArrays(true)
  return (statement.get(...(after ?? [])) as unknown as Key | undefined) ?? null
}
