import type { Row } from '../../data/engine.ts'
import { quote } from './names.ts'
import { type Session, textOf } from './session.ts'
import { type Column, hashed, isWhole, seedOf } from './values.ts'

/** The rows of one table of one image, as they are compared. */
export interface Side {
  readonly session: Session
  /** SQL name. */
  readonly table: string
  readonly key: readonly Column[]
  /** In the same order on every side. */
  readonly columns: readonly Column[]
}

/** In how many parts a table is compared, at the most. */
const BUCKETS = 65_536
/** More ranges than these are not looked up one by one. */
const MOST_RANGES = 1_000
const FEW = 0.1
/** Of which each may have many rows. */
const FEW_RANGES = 20

/** How rows are put into buckets, as SQL over the row `x`. */
export interface Bucketing {
  readonly of: (side: Side) => string
  /** Keys of a bucket from, to (exclusive), where buckets are ranges of a key. */
  readonly range: ((bucket: bigint) => readonly [from: bigint, to: bigint]) | null
}

/** Rows and the sum of their hashes. */
export interface Total {
  readonly rows: number
  readonly sum: bigint
}

/** Sums of one side. */
export interface Sums extends Total {
  /** Of each bucket: "NUMBER ROWS SUM". Nothing is made of them but of the few that differ. */
  readonly lines: readonly string[]
}

const at = (column: Column) => `x.${quote(column.name)}`

/**
 * The hash of a whole row, as SQL over the row `x`. Each column has a seed of its own, so that values that changed columns
 * show, and the key is the seed of them all; a row without a key is hashed as one text.
 */
function rowHash({ key, columns }: Pick<Side, 'key' | 'columns'>): string {
  if (key.length === 0) return `hashtextextended(ROW(${columns.map(at).join(', ')})::text COLLATE "C", 0)`
  const parts = columns.map((c, i) => `(coalesce(${quickHash(c, i + 1)}, ${-i - 1}))`)
  return `hashint8extended(${parts.join(' # ')}, ${seedIn(key)})`
}

/** As exact as the hashes of a fingerprint, which are kept and can become no faster: these are compared at once. */
function quickHash(column: Column, seed: number): string {
  const value = at(column)
  const text = `hashtextextended(${value}::text COLLATE "C", ${seed})`
  if (column.builtin && column.type === 'numeric') {
    // NaN and the infinities have no scale, and one hash.
    return `hash_numeric_extended(${value}, ${seed}) # coalesce(scale(${value})::int8, ${text})`
  }
  if (column.builtin && (column.type === 'timestamptz' || column.type === 'timestamp')) {
    const since = `interval_hash_extended(${value} - ${column.type} '2000-01-01', ${seed})`
    return `CASE WHEN isfinite(${value}) THEN ${since} ELSE ${text} END`
  }
  return hashed(column, String(seed), value)
}

function seedIn(key: readonly Column[]): string {
  return seedOf(key, at)
}

/** Ranges of the key where it is one whole number on all sides: what was added lies together then. Else by hash. */
export async function bucketing(sides: readonly Side[]): Promise<Bucketing | null> {
  const keys = sides.map(side => side.key)
  if (keys.every(key => key.length === 1 && key.every(isWhole))) {
    return rangesOf(sides)
  }
  // Keys of other types have other hashes: then nothing can be told from them.
  if (new Set(keys.map(key => JSON.stringify(key.map(family)))).size > 1) return null
  return { of: side => `(${side.key.length === 0 ? rowHash(side) : seedIn(side.key)}) & ${BUCKETS - 1}`, range: null }
}

function family(column: Column): string {
  const { type, builtin } = column
  if (!builtin) return `own ${type}`
  return isWhole(column) ? 'whole' : type === 'varchar' ? 'text' : type
}

async function rangesOf(sides: readonly Side[]): Promise<Bucketing> {
  const ends: bigint[] = []
  for (const { session, table, key } of sides) {
    const k = key.map(at).join()
    const [row] = await session.query(`SELECT min(${k})::text AS low, max(${k})::text AS high FROM ${table} AS x`)
    for (const end of [row?.['low'], row?.['high']]) if (typeof end === 'string') ends.push(BigInt(end))
  }
  const [low, high] = [ends.reduce((a, b) => (b < a ? b : a), 0n), ends.reduce((a, b) => (b > a ? b : a), 0n)]
  let shift = 0n
  while ((high >> shift) - (low >> shift) >= BigInt(BUCKETS)) shift++
  return {
    of: ({ key }) => `${key.map(at).join()} >> ${shift}`,
    range: bucket => [bucket << shift, (bucket + 1n) << shift],
  }
}

/**
 * The planner takes every key for a bucket of its own, and would sort the whole table on the server's disk: the sums of all
 * buckets fit into a few megabytes.
 */
const IN_MEMORY = `SELECT set_config('enable_sort', 'off', true), set_config('work_mem',
  greatest(32768, pg_size_bytes(current_setting('work_mem')) / 1024)::text, true)`

export async function sumsOf(side: Side, { of }: Bucketing): Promise<Sums> {
  await side.session.query(IN_MEMORY)
  const grouped = `SELECT ${of(side)} AS bucket, count(*) AS n, sum(${rowHash(side)}) AS sum FROM ${side.table} AS x GROUP BY 1`
  // One text for all of them: so many rows of an answer would take longer to be read than the table.
  const list = `string_agg(bucket || ' ' || n || ' ' || sum, ',') AS list`
  const [row] = await side.session.query(`SELECT sum(n) AS n, sum(sum) AS sum, ${list} FROM (${grouped}) AS s`)
  await side.session.query(`SELECT set_config('enable_sort', 'on', true)`)
  return { ...totalOf(row), lines: textOf(row, 'list')?.split(',') ?? [] }
}

/** Of a whole side, but for what the condition leaves out. */
export async function totalIn(side: Side, where = ''): Promise<Total> {
  const sql = `SELECT count(*) AS n, sum(${rowHash(side)}) AS sum FROM ${side.table} AS x ${where}`
  const [row] = await side.session.query(sql)
  return totalOf(row)
}

function totalOf(row: Row | undefined): Total {
  return { rows: Number(textOf(row, 'n') ?? 0), sum: BigInt(textOf(row, 'sum') ?? 0) }
}

/** Buckets that are not the same on both sides. */
export interface Dirty {
  readonly buckets: readonly string[]
  /** Which share of the rows they have, on the side that has more. */
  readonly share: number
}

export function dirtyOf(a: Sums, b: Sums): Dirty {
  const [inA, inB] = [new Set(a.lines), new Set(b.lines)]
  const only = [a.lines.filter(line => !inB.has(line)), b.lines.filter(line => !inA.has(line))].map(side =>
    side.map(line => line.split(' ') as [bucket: string, rows: string, sum: string]),
  )
  const shares = only.map((side, i) => {
    const all = [a, b][i]?.rows ?? 0
    return all === 0 ? 0 : side.reduce((sum, [, rows]) => sum + Number(rows), 0) / all
  })
  return { buckets: [...new Set(only.flat().map(([bucket]) => bucket))], share: Math.max(...shares) }
}

/** The rows of those buckets, as a FROM clause with the row as `x`. */
export function rowsIn(side: Side, { of, range }: Bucketing, { buckets, share }: Dirty): string {
  const ranges = range === null ? null : joinedRanges(buckets, range)
  if (ranges !== null && ranges.length <= (share > FEW ? FEW_RANGES : MOST_RANGES)) {
    const key = side.key.map(c => quote(c.name)).join()
    const [from, to] = [0, 1].map(i => `ARRAY[${ranges.map(r => r[i]?.toString()).join(', ')}]::numeric[]`)
    return `unnest(${from}, ${to}) AS r(low, high) CROSS JOIN LATERAL (SELECT * FROM ${side.table}
      WHERE ${key} >= ${clamped('low')} AND ${key}::numeric < r.high AND ${key} <= ${clamped('high')}) AS x`
  }
  return `${side.table} AS x JOIN unnest(ARRAY[${buckets.join(', ')}]::int8[]) AS d(bucket) ON d.bucket = ${of(side)}`
}

/** The last range may end beyond what a key can be. */
function clamped(end: string): string {
  return `greatest(least(r.${end}, 9223372036854775807), -9223372036854775808)::int8`
}

function joinedRanges(
  dirty: readonly string[],
  range: (bucket: bigint) => readonly [bigint, bigint],
): (readonly [bigint, bigint])[] {
  const out: [bigint, bigint][] = []
  for (const [from, to] of dirty
    .map(BigInt)
    .sort((a, b) => (a < b ? -1 : 1))
    .map(range)) {
    const last = out.at(-1)
    if (last !== undefined && last[1] === from) last[1] = to
    else out.push([from, to])
  }
  return out
}
