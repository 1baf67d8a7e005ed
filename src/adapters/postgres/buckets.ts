import { quote } from './names.ts'
import type { Session } from './session.ts'
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
const BUCKETS = 32_768
/** More ranges than these are not looked up one by one. */
const MOST_RANGES = 1_000
const FEW = 0.1

/** How rows are put into buckets, as SQL over the row `x`. */
export interface Bucketing {
  readonly of: (side: Side) => string
  /** Keys of a bucket from, to (exclusive), where buckets are ranges of a key. */
  readonly range: ((bucket: bigint) => readonly [from: bigint, to: bigint]) | null
}

/** Sums of one side: bucket -> rows and the sum of their hashes. */
export type Sums = ReadonlyMap<string, { readonly rows: number; readonly sum: string }>

const at = (column: Column) => `x.${quote(column.name)}`

/**
 * The hash of a whole row, as SQL over the row `x`. Each column has a seed of its own, so that values that changed columns
 * show; a row without a key is hashed as one text.
 */
export function rowHash({ key, columns }: Pick<Side, 'key' | 'columns'>): string {
  if (key.length === 0) return `hashtextextended(ROW(${columns.map(at).join(', ')})::text COLLATE "C", 0)`
  const seed = seedIn(key)
  const parts = columns.map((c, i) => `coalesce(${hashed(c, `(${seed}) # ${i + 1}`, at(c))}, ${-i - 1})`)
  return parts.length === 0 ? seed : parts.map(p => `(${p})`).join(' # ')
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
    of: ({ key }) => `${key.map(at).join()}::int8 >> ${shift}`,
    range: bucket => [bucket << shift, (bucket + 1n) << shift],
  }
}

/**
 * The planner takes every key for a bucket of its own, and would sort the whole table on the server's disk: the sums of all
 * buckets fit into a few megabytes.
 */
const IN_MEMORY = `SELECT set_config('enable_sort', 'off', true), set_config('work_mem',
  greatest(16384, pg_size_bytes(current_setting('work_mem')) / 1024)::text, true)`

export async function sumsOf(side: Side, { of }: Bucketing): Promise<Sums> {
  await side.session.query(IN_MEMORY)
  const grouped = `SELECT ${of(side)} AS bucket, count(*) AS n, sum(${rowHash(side)}) AS sum FROM ${side.table} AS x GROUP BY 1`
  const sql = `SELECT bucket::text, n, sum::text FROM (${grouped}) AS s`
  const { rows } = await side.session.arrays(sql)
  await side.session.query(`SELECT set_config('enable_sort', 'on', true)`)
  return new Map(rows.map(([bucket, n, sum]) => [String(bucket), { rows: Number(n), sum: String(sum) }]))
}

/** Buckets that are not the same on both sides. */
export function dirtyOf(a: Sums, b: Sums): string[] {
  const names = new Set([...a.keys(), ...b.keys()])
  return [...names].filter(name => {
    const [x, y] = [a.get(name), b.get(name)]
    return x?.rows !== y?.rows || x?.sum !== y?.sum
  })
}

/** How many rows there are, and the sum of all of their hashes. */
export function totalOf(sums: Sums): { rows: number; sum: bigint } {
  let [rows, sum] = [0, 0n]
  for (const bucket of sums.values()) {
    rows += bucket.rows
    sum += BigInt(bucket.sum)
  }
  return { rows, sum }
}

/** The rows of those buckets, as a FROM clause with the row as `x`. `part`: which share of the rows they have. */
export function rowsIn(side: Side, { of, range }: Bucketing, dirty: readonly string[], part: number): string {
  const ranges = range === null || part > FEW ? null : joinedRanges(dirty, range)
  if (ranges !== null && ranges.length <= MOST_RANGES) {
    const key = side.key.map(c => quote(c.name)).join()
    const [from, to] = [0, 1].map(i => `ARRAY[${ranges.map(r => r[i]?.toString()).join(', ')}]::numeric[]`)
    return `unnest(${from}, ${to}) AS r(low, high) CROSS JOIN LATERAL (SELECT * FROM ${side.table}
      WHERE ${key} >= ${clamped('low')} AND ${key}::numeric < r.high AND ${key} <= ${clamped('high')}) AS x`
  }
  return `${side.table} AS x JOIN unnest(ARRAY[${dirty.join(', ')}]::int8[]) AS d(bucket) ON d.bucket = ${of(side)}`
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
