import { hashOf } from '../../core/json.ts'
import type { Decision } from './options.ts'
import { type Ground, literal, type Piece, type Tail } from './piece.ts'
import { readBegun } from './state.ts'
import { INSERT, REFUSED, TAKE } from './words.ts'

/** The table in ours that says what was carried: whoever resumes does nothing twice. */
export const LEDGER = 'backout_carried'

/** As much of a hash tells one plan from another; every row has it. */
const HASH = 16

/** Rows of which nothing is left that waits for a word; of others it is still to be told what waits. */
export const CARRIED_WHOLE = `(w.cell = 0 OR w.take <> ${TAKE.none})`

export async function makeLedger(ground: Ground): Promise<void> {
  const { merger, dialect } = ground
  const columns = [
    `${dialect.quote('key')} ${dialect.keyType} NOT NULL PRIMARY KEY`,
    `run VARCHAR(200) NOT NULL`,
    `table_name VARCHAR(200) NOT NULL`,
    // What was done to the row; of one that the database refused its kind of conflict, below 0.
    `action INTEGER NOT NULL`,
    // The beginning of that of the plan that it was carried by.
    `hash VARCHAR(64) NOT NULL`,
    // Of a line that speaks of all rows of theirs whose keys are in this range. `low` alone: how many equal rows there were then.
    ...NUMBERS,
  ]
  const ledger = merger.table('ours', LEDGER)
  await merger.run(`CREATE TABLE IF NOT EXISTS ${ledger} (${columns.join(', ')})`)
  if (await knowsRanges(ground)) return
  for (const column of NUMBERS) await merger.run(`ALTER TABLE ${ledger} ADD COLUMN ${column}`)
}

const NUMBERS = ['low BIGINT', 'high BIGINT']

/** It is not of a version that did not. */
function knowsRanges({ merger }: Ground): Promise<boolean> {
  return merger.query(`SELECT low, high FROM ${merger.table('ours', LEDGER)} WHERE 1 = 0`).then(
    () => true,
    () => false,
  )
}

/** Writes down rows of a work table. Belongs into the transaction that carries them. */
export async function writeLedger(ground: Ground, piece: Piece, hash: string, where: string): Promise<void> {
  const { merger, dialect, run } = ground
  const named = [piece.ledgerKey(), literal(run), literal(piece.table.ours), 'w.act', literal(hash.slice(0, HASH))]
  const [values, low] = piece.keyed ? [named, ''] : [[...named, 'w.target'], ', low']
  await merger.run(`INSERT INTO ${merger.table('ours', LEDGER)} (${dialect.quote('key')}, run, table_name, action, hash${low})
    SELECT ${values.join(', ')} FROM ${piece.work} AS w WHERE ${where}`)
}

/** Writes down rows of theirs by the range of their keys. Belongs into the transaction that carries them. */
export function rangeSql(
  { merger, dialect, run }: Ground,
  piece: Piece,
  hash: string,
  low: bigint,
  high: bigint,
): string {
  const { ours } = piece.table
  const key = dialect.key([`${run} range`, ours, String(low), String(high)].map(literal))
  const values = [key, literal(run), literal(ours), INSERT, literal(hash.slice(0, HASH)), low, high]
  return `INSERT INTO ${merger.table('ours', LEDGER)} (${dialect.quote('key')}, run, table_name, action, hash, low, high)
    VALUES (${values.join(', ')})`
}

/** What earlier processes put into one table of ours. */
export interface Carried {
  /** Up to which key they did so by ranges; null: not at all. */
  readonly to: bigint | null
  /** Rows have lines of their own. */
  readonly single: boolean
}

/** By table; null: the ledger is of a version that did not know ranges. */
export async function carriedIn(ground: Ground): Promise<ReadonlyMap<string, Carried> | null> {
  const { merger, dialect, run } = ground
  if (!(await isThere(ground))) return new Map()
  const ledger = merger.table('ours', LEDGER)
  if (!(await knowsRanges(ground))) return null
  const rows =
    await merger.query(`SELECT table_name, ${dialect.text('max(high)', 'bigint')} AS high, count(*) - count(high) AS single
    FROM ${ledger} WHERE run = ${literal(run)} AND action = ${INSERT} GROUP BY table_name`)
  return new Map(
    rows.map(row => {
      const to = row['high'] == null ? null : BigInt(row['high'] as string)
      return [String(row['table_name']), { to, single: Number(row['single']) > 0 }]
    }),
  )
}

/** Whether any row of the tail has a line of its own: it was carried, whatever became of it since. */
export async function inLedger({ merger, dialect, run }: Ground, piece: Piece, tail: Tail): Promise<boolean> {
  const known = `SELECT ${dialect.quote('key')} FROM ${merger.table('ours', LEDGER)}
    WHERE run = ${literal(run)} AND table_name = ${literal(piece.table.ours)} AND action = ${INSERT} AND high IS NULL`
  const [key = ''] = piece.keyOf('t', 'theirs')
  const rows = `SELECT 1 AS x FROM ${piece.image('theirs')} AS t WHERE ${piece.behind('t', 'theirs', tail)}`
  return (await merger.query(`${rows} AND ${piece.ledgerKeyOf([key])} IN (${known}) LIMIT 1`)).length > 0
}

function inRange({ merger, run }: Ground, piece: Piece): string {
  return `${piece.work} AS w JOIN ${merger.table('ours', LEDGER)} AS l
    ON l.run = ${literal(run)} AND l.table_name = ${literal(piece.table.ours)} AND w.k0 >= l.low AND w.k0 <= l.high`
}

/** Lines for single rows in place of those for ranges: a row that has to go again leaves the ledger alone. */
export async function expandRanges(ground: Ground, piece: Piece): Promise<void> {
  const { merger, dialect, run } = ground
  const ledger = merger.table('ours', LEDGER)
  const values = [piece.ledgerKey(), literal(run), literal(piece.table.ours), INSERT, 'l.hash']
  await merger.transaction(async () => {
    await merger.run(`INSERT INTO ${ledger} (${dialect.quote('key')}, run, table_name, action, hash)
      SELECT ${values.join(', ')} FROM ${inRange(ground, piece)}`)
    await merger.run(
      `DELETE FROM ${ledger} WHERE run = ${literal(run)} AND table_name = ${literal(piece.table.ours)} AND high IS NOT NULL`,
    )
  })
}

/**
 * Takes out of the work what an earlier process carried, whatever became of it since. `before`: of `carriedIn`. Returns how
 * many lines that were.
 */
export async function leaveCarried(
  ground: Ground,
  piece: Piece,
  before: ReadonlyMap<string, Carried> | null,
): Promise<number> {
  const { merger, dialect, run } = ground
  if (!(await isThere(ground))) return 0
  const known = `SELECT ${dialect.quote('key')} FROM ${merger.table('ours', LEDGER)}
    WHERE run = ${literal(run)} AND table_name = ${literal(piece.table.ours)}`
  const carried = piece.keyed
    ? `SELECT w.n AS n FROM ${piece.work} AS w WHERE ${piece.ledgerKey()} IN (${known})`
    : countedBefore(ground, piece, before !== null)
  const sets = [
    ['carried', '1'],
    ['kind', '0'],
    ['cell', '0'],
    ['done', '1'],
  ] as const
  const counted = [
    ['target', 'x.many'],
    ['times', 'abs(o.delta)'],
  ] as const
  const all = piece.keyed ? sets : [...sets, ...counted]
  const alone = await merger.run(dialect.update(piece.work, all, `(${carried}) AS x`, 'o.n = x.n'))
  if (before?.get(piece.table.ours)?.to == null) return alone
  const among = `SELECT w.n AS n FROM ${inRange(ground, piece)}`
  return alone + (await merger.run(dialect.update(piece.work, sets, `(${among}) AS x`, 'o.n = x.n')))
}

/** Lines of equal rows that were carried, and how many rows there were then. `told`: the ledger says that. */
function countedBefore({ merger, dialect, run }: Ground, piece: Piece, told: boolean): string {
  return `SELECT w.n AS n, ${told ? 'coalesce(l.low, w.here)' : 'w.here'} AS many FROM ${piece.work} AS w
    JOIN ${merger.table('ours', LEDGER)} AS l ON l.${dialect.quote('key')} = ${piece.ledgerKey()}
    WHERE l.run = ${literal(run)} AND l.table_name = ${literal(piece.table.ours)}`
}

/** Something may have been carried, and there is no ledger that could tell. */
export async function isForgotten(ground: Ground, dir: string): Promise<boolean> {
  return !(await isThere(ground)) && (await readBegun(dir)) !== null
}

/** What the words of persons that hold are known by in the ledger. */
const wordsOf = (decisions: readonly Decision[]) => literal(hashOf(decisions).slice(0, HASH))

/** Of tables in which an earlier try was refused rows: how many. They stand under a key of their own, for they may come yet. */
export async function refusedBefore(ground: Ground): Promise<ReadonlyMap<string, number>> {
  const { merger, run } = ground
  if (!(await isThere(ground))) return new Map()
  const sql = `SELECT table_name, count(*) AS n FROM ${merger.table('ours', LEDGER)} WHERE run = ${literal(run)} AND action < 0 GROUP BY table_name`
  const rows = await merger.query(sql)
  return new Map(rows.map(row => [String(row['table_name']), Number(row['n'])]))
}

/** Rows that wait to be carried and that an earlier try was refused are conflicts from the start: so a person can speak of them. */
export async function recallRefused(ground: Ground, piece: Piece, decisions: readonly Decision[]): Promise<void> {
  const { merger, dialect, run } = ground
  const again = `CASE WHEN l.hash = ${wordsOf(decisions)} THEN ${REFUSED.again} ELSE ${REFUSED.before} END`
  const select = `SELECT w.n AS n, -l.action AS kind, ${again} AS refused FROM ${piece.work} AS w
    JOIN ${merger.table('ours', LEDGER)} AS l ON l.${dialect.quote('key')} = ${piece.ledgerKey('w', REFUSED_RUN)}
    WHERE l.run = ${literal(run)} AND l.action < 0 AND w.done = 0 AND w.kind = 0`
  const sets = [
    ['kind', 'x.kind'],
    ['refused', 'x.refused'],
  ] as const
  await merger.run(dialect.update(piece.work, sets, `(${select}) AS x`, 'o.n = x.n'))
}

/** Writes down which rows of a piece the database refused, in place of what was known of that. */
export async function noteRefused(ground: Ground, piece: Piece, decisions: readonly Decision[]): Promise<void> {
  const { merger, dialect, run } = ground
  const ledger = merger.table('ours', LEDGER)
  const values = [
    piece.ledgerKey('w', REFUSED_RUN),
    literal(run),
    literal(piece.table.ours),
    '-w.kind',
    wordsOf(decisions),
  ]
  await merger.transaction(async () => {
    await merger.run(
      `DELETE FROM ${ledger} WHERE run = ${literal(run)} AND table_name = ${literal(piece.table.ours)} AND action < 0`,
    )
    await merger.run(`INSERT INTO ${ledger} (${dialect.quote('key')}, run, table_name, action, hash)
      SELECT ${values.join(', ')} FROM ${piece.work} AS w WHERE w.refused > 0 AND w.kind > 0 AND w.done = 0`)
  })
}

const REFUSED_RUN = ' refused'

/** A database that nothing was carried into has no ledger: reading it fails, and that is the answer. */
async function isThere({ merger }: Ground): Promise<boolean> {
  try {
    await merger.query(`SELECT 1 AS x FROM ${merger.table('ours', LEDGER)} WHERE 1 = 0`)
    return true
  } catch {
    return false
  }
}
