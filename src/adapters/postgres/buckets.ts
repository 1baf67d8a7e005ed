import type { Row } from '../../data/engine.ts'
import { quote } from './names.ts'
import { type Session, textOf } from './session.ts'
import { type Column, hashed, isWhole, seedOf } from './values.ts'

/** The rows of one table of one image, as they are compared. */
export interface Side {
  readonly session: Session
  /** SQL name. */
  readonly table: string
  /** The same where rows are read: without those of tables that inherit from it. */
  readonly from: string
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

/** Keys from one to another, both of them among these. */
type Range = readonly [from: bigint, to: bigint]

/** How rows are put into buckets, as SQL over the row `x`. */
export interface Bucketing {
  readonly of: (side: Side) => string
  /** Where buckets are ranges of a key. */
  readonly ranges: {
    readonly of: (bucket: bigint) => Range
    readonly at: (key: bigint) => bigint
    /** The first and the last key; null: it has no row. */
    readonly ends: ReadonlyMap<Side, Range | null>
  } | null
}

/** Rows and the sum of their hashes. */
export interface Total {
  readonly rows: number
  readonly sum: bigint
}

/** Sums of one side. */
export interface Sums extends Total {
  /** Of each bucket: "NUMBER ROWS SUM", with commas between. Nothing is made of them but of the few that differ. */
  readonly list: string
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
  return { of: side => `(${side.key.length === 0 ? rowHash(side) : seedIn(side.key)}) & ${BUCKETS - 1}`, ranges: null }
}

function family(column: Column): string {
  const { type, builtin } = column
  if (!builtin) return `own ${type}`
  return isWhole(column) ? 'whole' : type === 'varchar' ? 'text' : type
}

async function rangesOf(sides: readonly Side[]): Promise<Bucketing> {
  const ends = new Map(await Promise.all(sides.map(async side => [side, await endsOf(side)] as const)))
  const all = [...ends.values()].flatMap(range => range ?? [])
  const [low, high] = [all.reduce((a, b) => (b < a ? b : a), 0n), all.reduce((a, b) => (b > a ? b : a), 0n)]
  let shift = 0n
  while ((high >> shift) - (low >> shift) >= BigInt(BUCKETS)) shift++
  return {
    of: ({ key }) => `${key.map(at).join()} >> ${shift}`,
    ranges: { of: bucket => [bucket << shift, ((bucket + 1n) << shift) - 1n], at: key => key >> shift, ends },
  }
}

async function endsOf({ session, from, key }: Side): Promise<Range | null> {
  const k = key.map(at).join()
  const [row] = await session.query(`SELECT min(${k})::text AS low, max(${k})::text AS high FROM ${from} AS x`)
  const [low, high] = [textOf(row, 'low'), textOf(row, 'high')]
  return low === null || high === null ? null : [BigInt(low), BigInt(high)]
}

/** Keys of one side that are below or above all those of another. */
export function beyond(side: Side, other: Side, { ranges }: Bucketing): Range[] {
  const own = ranges?.ends.get(side)
  const its = ranges?.ends.get(other)
  if (own == null || its === undefined) return []
  if (its === null) return [own]
  const below: Range = [own[0], its[0] - 1n < own[1] ? its[0] - 1n : own[1]]
  const above: Range = [its[1] + 1n > own[0] ? its[1] + 1n : own[0], own[1]]
  return [below, above].filter(([from, to]) => from <= to)
}

/**
 * The planner takes every key for a bucket of its own, and would sort the whole table on the server's disk: the sums of all
 * buckets fit into a few megabytes.
 */
const IN_MEMORY = `SELECT set_config('enable_sort', 'off', true), set_config('work_mem',
  greatest(32768, pg_size_bytes(current_setting('work_mem')) / 1024)::text, true)`

const prepared = new WeakSet<Session>()

/** `but`: keys that are left out, which lie at the ends. What is set for it holds for the session's transaction: it reads rows, and nothing else. */
export async function sumsOf(side: Side, { of }: Bucketing, but: readonly Range[] = []): Promise<Sums> {
  if (!prepared.has(side.session)) await side.session.query(IN_MEMORY)
  prepared.add(side.session)
  const where = but.length === 0 ? '' : `WHERE NOT (${among(side, but)})`
  const grouped = `SELECT ${of(side)} AS bucket, count(*) AS n, sum(${rowHash(side)}) AS sum FROM ${side.from} AS x ${where} GROUP BY 1`
  // One text for all of them: so many rows of an answer would take longer to be read than the table.
  const list = `string_agg(bucket || ' ' || n || ' ' || sum, ',') AS list`
  const [row] = await side.session.query(`SELECT sum(n) AS n, sum(sum) AS sum, ${list} FROM (${grouped}) AS s`)
  return { ...totalOf(row), list: textOf(row, 'list') ?? '' }
}

/** Of a whole side, or of some of its rows; `rows`: a FROM clause with the row as `x`. */
export async function totalIn(side: Side, rows = `${side.from} AS x`): Promise<Total> {
  const sql = `SELECT count(*) AS n, sum(${rowHash(side)}) AS sum FROM ${rows}`
  const [row] = await side.session.query(sql)
  return totalOf(row)
}

function totalOf(row: Row | undefined): Total {
  return { rows: Number(textOf(row, 'n') ?? 0), sum: BigInt(textOf(row, 'sum') ?? 0) }
}

/** What is not the same on both sides. */
export interface Dirty {
  readonly buckets: readonly string[]
  /** Which share of the rows these have, on the side that has more. */
  readonly share: number
  /** Keys that one side only has. */
  readonly beyond: readonly Range[]
}

export function dirtyOf(a: Sums, b: Sums, beyond: readonly Range[]): Dirty {
  if (a.list === b.list) return { buckets: [], share: 0, beyond }
  const [linesA, linesB] = [a, b].map(side => side.list.split(',').filter(Boolean)) as [string[], string[]]
  const [inA, inB] = [new Set(linesA), new Set(linesB)]
  const only = [linesA.filter(line => !inB.has(line)), linesB.filter(line => !inA.has(line))].map(side =>
    side.map(line => line.split(' ') as [bucket: string, rows: string, sum: string]),
  )
  const shares = only.map((side, i) => {
    const all = [a, b][i]?.rows ?? 0
    return all === 0 ? 0 : side.reduce((sum, [, rows]) => sum + Number(rows), 0) / all
  })
  const buckets = [...new Set(only.flat().map(([bucket]) => bucket))]
  return { buckets, share: Math.max(...shares), beyond }
}

/** Those rows, as a FROM clause with the row as `x`. */
export function rowsIn(side: Side, by: Bucketing, { buckets, share, beyond }: Dirty): string {
  const ranges = by.ranges === null ? null : joinedRanges([...buckets.map(BigInt).map(by.ranges.of), ...beyond])
  if (ranges !== null && ranges.length <= FEW_RANGES) return `${side.from} AS x WHERE ${among(side, ranges)}`
  if (ranges !== null && share <= FEW && ranges.length <= MOST_RANGES) {
    const key = side.key.map(c => quote(c.name)).join()
    const [from, to] = [0, 1].map(i => `ARRAY[${ranges.map(r => clamped(r[i] as bigint)).join(', ')}]::int8[]`)
    return `unnest(${from}, ${to}) AS r(low, high) CROSS JOIN LATERAL (SELECT * FROM ${side.from}
      WHERE ${key} >= r.low AND ${key} <= r.high) AS x`
  }
  const list = [...buckets, ...beyond.flatMap(range => bucketsOf(by, range))]
  return `${side.from} AS x JOIN unnest(ARRAY[${list.join(', ')}]::int8[]) AS d(bucket) ON d.bucket = ${by.of(side)}`
}

/** A condition on the key of the row `x`. */
function among(side: Side, ranges: readonly Range[]): string {
  const key = side.key.map(at).join()
  return ranges.map(([from, to]) => `${key} BETWEEN ${clamped(from)} AND ${clamped(to)}`).join(' OR ') || 'false'
}

const [LEAST, MOST] = [-(2n ** 63n), 2n ** 63n - 1n]

/** The last bucket may end beyond what a key can be. */
function clamped(end: bigint): string {
  const within = end < LEAST ? LEAST : end > MOST ? MOST : end
  // The least number is none in SQL: it is read as the greatest and one more, with a sign before it.
  return `'${within}'::int8`
}

function bucketsOf({ ranges }: Bucketing, [from, to]: Range): bigint[] {
  const out: bigint[] = []
  if (ranges !== null) for (let b = ranges.at(from); b <= ranges.at(to); b++) out.push(b)
  return out
}

function joinedRanges(all: readonly Range[]): Range[] {
  const out: [bigint, bigint][] = []
  for (const [from, to] of all.toSorted((a, b) => (a[0] < b[0] ? -1 : 1))) {
    const last = out.at(-1)
    if (last === undefined || from > last[1] + 1n) out.push([from, to])
    else if (to > last[1]) last[1] = to
  }
  return out
}
