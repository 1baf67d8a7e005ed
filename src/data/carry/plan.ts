import { hashOf, sameJson } from '../../core/json.ts'
import type { Job } from '../engine.ts'
import { inTheirTables, type Rename } from '../renames.ts'
import { mayHaveCome, writtenIn } from '../touched.ts'
import { plain } from '../touched-targets.ts'
import { holdCounted } from './anew.ts'
import { foresee, markWhere, type Whole } from './checks.ts'
import { classify } from './classify.ts'
import { keyFor } from './keys.ts'
import { checkWords } from './known.ts'
import { type Carried, carriedIn, isForgotten, leaveCarried, recallRefused, refusedBefore } from './ledger.ts'
import { type MappedColumn, type MappedTable, type Mapping, mapSchemas } from './mapping.ts'
import { ambiguousNote, notesOf } from './notes.ts'
import { type ObjectsFound, objectsOf, unplacedObjects } from './objects.ts'
import type { CarryOptions } from './options.ts'
import { parentsFirst } from './order.ts'
import { type Ground, Piece } from './piece.ts'
import { HELD, hold, unspokenOf } from './quarantine.ts'
import { cascade, settle } from './settle.ts'
import { NOTHING_SINCE, sinceIn } from './since.ts'
import type { CarrySource } from './source.ts'
import { type Standing, standingOf } from './standing.ts'
import { blockedTails, tailOf } from './tail.ts'
import type { Unplaced } from './unplaced.ts'
import { unplacedOf } from './unplaced-counts.ts'
import { withUntold } from './untold.ts'
import { DELETE, INSERT, type Kind, kindOf, REFUSED, TAKE, UPDATE } from './words.ts'

export interface TablePlan {
  /** The table in the schema of the release, and what it was called right before the restore. */
  readonly table: string
  readonly theirs: string
  /** Empty: rows are counted, for nothing tells them apart. */
  readonly key: readonly string[]
  /** Rows that will be written. */
  readonly inserts: number
  readonly updates: number
  readonly deletes: number
  /** Rows that ours has already as they should be; carried by an earlier process among them. */
  readonly done: number
  /** Rows and rows with cells that are not carried, by kind. */
  readonly conflicts: Readonly<Partial<Record<Kind, number>>>
  /** Conflicts of which somebody said that ours counts. */
  readonly settled: number
  /** Rows in quarantine, and those of them that something speaks against. */
  readonly held: number
  readonly suspect: number
  /** Columns of the schema of the release that theirs has no more. */
  readonly gone: readonly string[]
  /** What its new rows may hold in another meaning, and whether they are carried with it. Left out: nothing. */
  readonly doubts?: readonly string[]
}

export interface CarryPlan {
  readonly version: 1
  readonly component: string
  readonly run: string
  readonly mode: CarryOptions['mode']
  readonly tables: readonly TablePlan[]
  /** What has no place in the schema of the release and goes to the archive. */
  readonly archived: readonly Unplaced[]
  /** Large objects that will be written. */
  readonly objects: number
  /** Tables of the schema of the release that theirs has no more: they stay as they were at the release. */
  readonly gone: readonly string[]
  readonly notes: readonly string[]
  /** Of what users changed, how it is mapped and what persons said; not of how far it is done. */
  readonly hash: string
}

/** A merge that is laid out and not begun. */
export interface Laid extends Whole {
  readonly source: CarrySource
  readonly options: CarryOptions
  readonly mapping: Mapping
  readonly objects: ObjectsFound
  /** How the rows of each piece stand. */
  readonly standing: readonly (readonly Standing[])[]
  readonly plan: CarryPlan
  /** Rows that the ledger says were carried. */
  readonly carried: number
  /** Of which the ledger has lines for ranges of keys. */
  readonly ranged: readonly Piece[]
  /** How many rows of a table earlier tries were refused. */
  readonly refused: ReadonlyMap<string, number>
}

/**
 * Compares everything and lays out what is to be done. Writes nothing into the database. `anew`: what the database refused
 * before is tried once more where nobody said a word on it, for its rules may be others now.
 */
export async function layOut(
  source: CarrySource,
  ground: Ground,
  options: CarryOptions,
  job: Job,
  { anew = false, tails = true }: Laying = {},
): Promise<Laid> {
  const oneByOne = new Set<string>()
  for (;;) {
    const laid = await layOnce(source, ground, options, job, { anew, oneByOne: tails ? oneByOne : null })
    const blocked = await blockedTails(laid)
    if (blocked.length === 0) return laid
    for (const table of blocked) oneByOne.add(table)
  }
}

interface Laying {
  readonly anew?: boolean
  /** New rows behind all others are carried by ranges of keys. */
  readonly tails?: boolean
}

/** `oneByOne`: tables whose rows are all looked at by themselves; null: all of them. */
async function layOnce(
  source: CarrySource,
  ground: Ground,
  options: CarryOptions,
  job: Job,
  { anew, oneByOne }: { anew: boolean; oneByOne: ReadonlySet<string> | null },
): Promise<Laid> {
  const bonds = await ground.merger.bonds()
  const mapping = mapSchemas(source.schemas, renamesOf(source, options), bonds, source.dialect)
  const order = parentsFirst(
    mapping.tables.map(t => t.ours),
    bonds,
  ).flat()
  const [refused, before] = [await refusedBefore(ground), await carriedIn(ground)]
  const pieces: Piece[] = []
  for (const name of order) {
    const mapped = onlyUsers(source, mapping.tables.find(t => t.ours === name) as MappedTable)
    const table = withUntold(source.untold, mapped)
    job.progress({ text: `comparing ${name}`, done: pieces.length, total: order.length })
    const key = await keyFor(source, table, job.signal)
    const piece = new Piece(ground, onlyUsersCells(source, table, key), key)
    piece.forgotten = !piece.keyed && (await isForgotten(ground, source.dir))
    piece.empty = !(await ground.merger.stage(piece.staged)) && piece.keyed
    const since = piece.empty
      ? NOTHING_SINCE
      : await sinceIn(ground, source, piece, job.signal, async () => {
          const whole = oneByOne === null || oneByOne.has(name) || refused.has(name) || before === null
          return whole ? null : tailOf(ground, piece, options, before.get(name) ?? null)
        })
    await classify(ground, piece, since, `backout_work_${pieces.length}`, options.mode)
    await holdCounted(ground, source, piece, job.signal)
    pieces.push(piece)
  }
  await checkWords(source, ground, pieces, options)
  const whole: Whole = { ground, pieces, bonds }
  const totals = pieces.map(piece => [piece.table.ours, piece.total + (piece.tail?.rows ?? 0)])
  const carried = await said(whole, source, options, { anew, refused, before })
  job.progress({ text: 'looking for what keys and references would refuse' })
  await foresee(whole)
  const objects = await objectsOf(ground, options)
  const archived = [...(await unplacedOf(source, mapping, job.signal)), ...unplacedObjects(objects)]
  const standing = await Promise.all(pieces.map(piece => standingOf(ground, piece)))
  const tables = pieces.map((piece, i) => tablePlan(piece, standing[i] ?? []))
  const plan: Omit<CarryPlan, 'hash'> = {
    version: 1,
    component: source.component,
    run: source.run,
    mode: options.mode,
    tables,
    archived,
    objects: objects.carry.length,
    gone: mapping.gone,
    notes: [...notesOf(source, whole), ...ambiguousNote(source, tables), ...unspokenOf(options.suspicion, pieces)],
  }
  const keys = pieces.map(p => p.key)
  const hash = hashOf({ mapping, keys, totals, archived, options, component: source.component, run: source.run })
  const ranged = pieces.filter(piece => before?.get(piece.table.ours)?.to != null)
  return { ...whole, carried, refused, ranged, source, options, mapping, objects, standing, plan: { ...plan, hash } }
}

/** Of what the migrations left alone there is nothing that right after migrating could tell: it is as users left it. */
function onlyUsers({ touched }: CarrySource, table: MappedTable): MappedTable {
  const wrote = touched === null ? null : writtenIn([table.theirs, table.ours], touched)
  if (wrote === null || table.columns.some(c => isAmong(c, wrote))) return table
  return { ...table, migrated: null, columns: table.columns.map(c => ({ ...c, migrated: null })) }
}

/** The same by column, where rows can be told apart. */
function onlyUsersCells({ touched }: CarrySource, table: MappedTable, key: readonly string[]): MappedTable {
  const wrote = touched === null ? null : writtenIn([table.theirs, table.ours], touched)
  if (touched !== null && mayHaveCome([table.theirs, table.ours], touched)) return { ...table, rowsCame: true }
  if (wrote === null || table.migrated === null || key.length === 0) return table
  if (table.columns.some(c => key.includes(c.ours) && isAmong(c, wrote))) return { ...table, keyWritten: true }
  const columns = table.columns.map(c => (isAmong(c, wrote) || key.includes(c.ours) ? c : { ...c, migrated: null }))
  return { ...table, columns, rowsAreUsers: true }
}

function isAmong(column: MappedColumn, wrote: readonly string[]): boolean {
  return [column.ours, column.theirs].some(name => wrote.includes(plain(name)))
}

/** A person's word comes before what was found. */
function renamesOf({ renames }: CarrySource, said: CarryOptions): Rename[] {
  const free = renames.filter(r => !said.renames.some(s => sameJson(s.was, r.was) || sameJson(s.now, r.now)))
  const all = [...said.renames, ...free]
  return [...said.renames, ...inTheirTables(free, all)]
}

async function said(
  { ground, pieces, bonds }: Whole,
  source: CarrySource,
  options: CarryOptions,
  { anew, refused, before }: Pick<Laid, 'refused'> & { anew: boolean; before: ReadonlyMap<string, Carried> | null },
): Promise<number> {
  let carried = 0
  for (const piece of pieces.filter(p => !p.empty)) {
    carried += await leaveCarried(ground, piece, before)
    await settle(ground, piece, options.decisions)
    if (refused.has(piece.table.ours)) await refusedRows(ground, piece, options.decisions, anew)
    const shape = source.schemas.theirs.tables[piece.table.theirs]
    if (options.suspicion !== null && shape !== undefined) {
      await hold(ground, piece, shape, options.suspicion, options.releases)
    }
  }
  await cascade({ ground, pieces, bonds })
  return carried
}

/** Persons speak of what the database refused as of any conflict, whatever they said of the row before. */
async function refusedRows(
  ground: Ground,
  piece: Piece,
  decisions: CarryOptions['decisions'],
  anew: boolean,
): Promise<void> {
  await recallRefused(ground, piece, decisions)
  const unsaid = `w.refused > 0 AND w.take IN (${TAKE.none}, ${TAKE.theirs})`
  await settle(ground, piece, decisions, unsaid)
  if (anew) await markWhere(ground, piece, { kind: 0, refused: REFUSED.no }, `${unsaid} AND w.done = 0`)
}

/** Counts the rows that theirs changed, by what becomes of them. */
export function tablePlan(piece: Piece, standing: readonly Standing[]): TablePlan {
  const counts = { [INSERT]: 0, [UPDATE]: 0, [DELETE]: 0 } as Record<number, number>
  const conflicts: Partial<Record<Kind, number>> = {}
  const sums = { done: 0, settled: 0, held: 0, suspect: 0 }
  for (const { act, kind, cell, take, held, done, refused, many } of standing) {
    if (done === 1) {
      sums.done += many
      // Of a row that was carried in part some cells are still conflicts.
      if (cell !== 0 && take === TAKE.ours) sums.settled += many
      else if (cell !== 0 && take === TAKE.none) conflicts[kindOf(cell)] = (conflicts[kindOf(cell)] ?? 0) + many
    } else if (held !== HELD.no) {
      sums.held += many
      if (held === HELD.suspect) sums.suspect += many
    } else {
      const open = kind !== 0 ? kind : cell
      if (open !== 0 && take === TAKE.ours) sums.settled += many
      else if (open !== 0 && take === TAKE.set && refused !== REFUSED.again) counts[act] = (counts[act] ?? 0) + many
      else if (open !== 0) conflicts[kindOf(open)] = (conflicts[kindOf(open)] ?? 0) + many
      if (kind === 0) counts[act] = (counts[act] ?? 0) + many
    }
  }
  const { ours, theirs, gone } = piece.table
  const tail = piece.tail ?? { rows: 0, carried: 0 }
  sums.done += tail.carried
  const inserts = (counts[INSERT] ?? 0) + tail.rows - tail.carried
  const pending = { inserts, updates: counts[UPDATE] ?? 0, deletes: counts[DELETE] ?? 0 }
  const { guessed } = piece.anew
  const doubts = guessed.length === 0 ? {} : { doubts: guessed }
  return { table: ours, theirs, key: piece.key, ...pending, ...sums, conflicts, gone, ...doubts }
}
