import type { Job } from '../engine.ts'
import { alike, besideSaid, classify, recheck } from './classify.ts'
import { Moved } from './errors.ts'
import { type Found, foundIn } from './found.ts'
import { Piece } from './piece.ts'
import type { Laid } from './plan.ts'
import { comparedCounted } from './proof-counted.ts'
import { orphansSql } from './rounds.ts'
import { changedSince } from './since.ts'
import { strayCells } from './stray.ts'
import { tailKeys, tailNow, tailOrphansSql } from './tail.ts'
import type { Held } from './unproven.ts'
import { INSERT, TAKE } from './words.ts'

/** What was found when everything was compared again. */
export interface CarryProof {
  readonly ok: boolean
  /** Rows that ours has now as they are to be. */
  readonly carried: number
  /** Rows that are listed: conflicts, and rows with cells that are. */
  readonly listed: number
  readonly quarantined: number
  /** Rows that an earlier process carried and that ours changed since. */
  readonly changedSince: number
  /** For people; empty where it is proven. */
  readonly problems: readonly string[]
}

/** How many rows that theirs did not touch are not as at the release, by table of ours. Measured before and after. */
export type Untouched = Readonly<Record<string, number>>

export async function measureUntouched(laid: Laid, pieces = laid.pieces): Promise<Untouched> {
  const out: Record<string, number> = {}
  for (const piece of pieces) {
    const touched = `SELECT ${piece.workKey.join(', ')} FROM ${piece.work}`
    const types = piece.table.columns.map(c => c.type)
    const upTo = piece.tail?.above ?? null
    out[piece.table.ours] = await laid.ground.merger.untouched(piece.staged, types, touched, upTo)
  }
  return out
}

/** All that was carried is as it is to be, and rows that were none of it were written by others meanwhile. */
export class WrittenBeside extends Moved {}

/**
 * Compares everything again, from the images, and holds it against what was said to be done: each row that users committed
 * is in ours, or listed, or in quarantine; and what they did not touch is as it was. Throws `WrittenBeside` where only the
 * last is not so, and it cannot have been by what was carried: each statement wrote as many rows as it was to.
 */
export async function prove(laid: Laid, held: Held, job: Job): Promise<CarryProof> {
  const { ground } = laid
  // Which rows users changed is for the images to say: as long as nobody wrote there, the same ones.
  const unmoved = (await ground.merger.unmoved?.()) ?? false
  const problems: string[] = []
  const beside: string[] = []
  const sums = { carried: 0, listed: 0, quarantined: 0, changedSince: 0 }
  const open: Piece[] = []
  for (const piece of laid.pieces) {
    job.progress({ text: `proving ${piece.table.ours}` })
    const idle = piece.empty && piece.tail === null
    const taken = piece.keyed && unmoved && !idle ? await addedUp(laid, piece) : null
    if (taken === null) open.push(piece)
    const found = await compared(laid, piece, { unmoved, taken, held })
    sums.carried += found.carried
    sums.listed += found.listed
    sums.quarantined += found.quarantined
    sums.changedSince += found.changedSince
    const { ours } = piece.table
    if (found.strange > 0)
      beside.push(`${ours}: ${found.strange} rows came ${piece.keyed ? '' : 'or went '}that nobody carried`)
    if (found.lacking > 0) problems.push(`${ours}: ${found.lacking} rows are neither carried nor listed`)
    if (found.unlike > 0) problems.push(`${ours}: ${found.unlike} rows were carried and are not what they are to be`)
    if (held.again && found.changedSince > 0)
      problems.push(`${ours}: ${found.changedSince} rows that an earlier try carried are not what they are to be`)
    for (const reference of laid.bonds[ours]?.references ?? []) {
      const listed = piece.empty
        ? 0
        : await number(laid, `SELECT count(DISTINCT w.n) AS n ${orphansSql(ground, piece, reference)}`)
      const behind =
        piece.tail === null ? 0 : await number(laid, `SELECT count(*) AS n ${tailOrphansSql(ground, piece, reference)}`)
      const orphans = listed + behind
      if (orphans > 0) problems.push(`${ours}: ${orphans} carried rows refer to nothing by ${reference.name}`)
    }
  }
  const untouched = await measureUntouched(laid, open)
  beside.push(...more(untouched, held.before, 'rows that were not to be touched are not as they were'))
  const stray = await strayCells(laid)
  problems.push(...more(stray, held.stray, 'rows have cells that were not to be written and are not as they were'))
  const others = problems.length === 0 && beside.length > 0 && !held.spreads && !(await ground.merger.fires?.())
  if (others) throw new WrittenBeside(beside.join('\n'))
  problems.push(...beside)
  return { ok: problems.length === 0, ...sums, problems }
}

function more(after: Untouched, before: Untouched, what: string): string[] {
  return Object.entries(after).flatMap(([table, count]) => {
    const known = before[table] ?? 0
    return count > known ? [`${table}: ${count - known} ${what}`] : []
  })
}

const NOTHING: Found = {
  rows: 0,
  carried: 0,
  listed: 0,
  quarantined: 0,
  changedSince: 0,
  lacking: 0,
  unlike: 0,
  strange: 0,
}

/** Rows that this process put in as theirs has them, in all columns. */
function takenSql(piece: Piece): string {
  const whole = `w.mask = '${'w'.repeat(piece.table.columns.length)}' AND w.cell = 0 AND w.take = ${TAKE.none}`
  return `w.applied = 1 AND w.done = 1 AND w.act = ${INSERT} AND w.op = 0 AND ${whole}`
}

/**
 * How many rows were put in as theirs has them, where ours as a whole adds up to these, to the rows of base that were not
 * touched, and to what it has of those that are compared one by one. null: it does not, or nobody can tell.
 */
async function addedUp({ ground }: Laid, piece: Piece): Promise<number | null> {
  if (piece.table.columns.some(c => c.type !== c.theirType)) return null
  const keys = (where: string) => `SELECT ${piece.workKey.join(', ')} FROM ${piece.work} AS w WHERE ${where}`
  const taken = takenSql(piece)
  const all = piece.tail === null ? keys(taken) : `${keys(taken)} UNION ALL ${tailKeys(piece)}`
  return (await ground.merger.addsUp?.(piece.staged, all, keys(`NOT (${taken})`))) ?? null
}

function compared(
  laid: Laid,
  piece: Piece,
  { unmoved, taken, held }: { unmoved: boolean; taken: number | null; held: Held },
): Promise<Found> {
  if (!piece.keyed) return comparedCounted(laid, piece, held)
  return unmoved ? comparedAgain(laid, piece, taken) : comparedWhole(laid, piece)
}

/** The rows that were changed, each compared again; one that is not found to have been changed is lacking. */
async function comparedAgain(laid: Laid, piece: Piece, taken: number | null): Promise<Found> {
  const tail = taken === null ? await tailFound(laid, piece) : NOTHING
  const proven = taken ?? (piece.empty ? 0 : await alikeOnes(laid, piece))
  const but = taken === null ? alike(laid.ground, piece) : takenSql(piece)
  const changed = piece.changed + (taken === null ? 0 : (piece.tail?.rows ?? 0))
  const found = proven === changed ? NOTHING : await compare(laid, recheck(laid.ground, piece, but))
  const lacking = found.lacking + Math.abs(changed - proven - found.rows)
  return both({ ...found, carried: found.carried + proven, lacking }, tail)
}

async function tailFound({ ground }: Laid, piece: Piece): Promise<Found> {
  if (piece.tail === null) return NOTHING
  const { alike: carried, strange } = await tailNow(ground, piece)
  return { ...NOTHING, carried, unlike: Math.max(0, piece.tail.carried - carried), strange }
}

function both(a: Found, b: Found): Found {
  const sum = (name: keyof Found) => a[name] + b[name]
  return {
    rows: sum('rows'),
    carried: sum('carried'),
    listed: sum('listed'),
    quarantined: sum('quarantined'),
    changedSince: sum('changedSince'),
    lacking: sum('lacking'),
    unlike: sum('unlike'),
    strange: sum('strange'),
  }
}

/** How many of the rows that were changed ours has just as theirs has them. */
function alikeOnes(laid: Laid, piece: Piece): Promise<number> {
  const ours = `${piece.image('ours')} AS o ON ${piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work'))}`
  const rows = `${piece.from()} JOIN ${ours} WHERE w.n <= ${piece.changed}`
  return number(laid, `SELECT count(*) AS n FROM ${rows} AND ${alike(laid.ground, piece)}`)
}

/** Everything compared again, so that rows show that were changed since. */
async function comparedWhole(laid: Laid, piece: Piece): Promise<Found> {
  const { ground, options } = laid
  const again = new Piece(ground, piece.table, piece.key)
  again.tail = piece.tail
  await classify(ground, again, await changedSince(ground, again), 'backout_proof', options.mode)
  const tail = await tailFound(laid, piece)
  const now = piece.tail === null ? 0 : await number(laid, `SELECT count(*) AS n FROM (${tailKeys(piece)}) AS t`)
  const lacking = Math.max(0, now - (piece.tail?.rows ?? 0))
  return both(await compare(laid, besideSaid(piece, again)), { ...tail, lacking })
}

/** Counts rows as they are found now, with what is said of them. */
async function compare({ ground, options }: Laid, rows: string): Promise<Found> {
  const sum = (condition: string, name: string) =>
    `coalesce(sum(CASE WHEN ${condition} THEN 1 ELSE 0 END), 0) AS ${name}`
  const said = 'said = 1 AND cell = 0'
  // A row of which some cells are conflicts: the others are to be written.
  const rest = "(said = 1 AND cell > 0 AND mask LIKE '%w%')"
  // Told, and not to be carried.
  const reported = options.mode === 'report' ? 1 : 0
  const list = [
    'count(*) AS found_now',
    sum('done = 1', 'carried_now'),
    sum('done = 0 AND held = 0 AND (kind > 0 OR cell > 0)', 'listed'),
    sum('done = 0 AND held > 0', 'quarantined'),
    sum(`done = 0 AND ${said} AND carried = 1`, 'changed_since'),
    sum(`done = 0 AND (known IS NULL OR (said = 0 AND held = 0 AND kind = 0 AND ${reported} = 0))`, 'lacking'),
    sum(`(done = 0 AND ${said} AND carried = 0 AND take < 3) OR ${rest}`, 'unlike_it'),
  ]
  const [row] = await ground.merger.query(`SELECT ${list.join(', ')} FROM (${rows}) AS found`)
  return foundIn(row)
}

async function number({ ground }: Laid, sql: string): Promise<number> {
  const [row] = await ground.merger.query(sql)
  return Number(row?.['n'])
}
