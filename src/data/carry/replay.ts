import type { Dialect, Job, Merger } from '../engine.ts'
import type { SchemaShape } from '../schema.ts'
import { readArchive } from './archive.ts'
import { noArchive, notCarried } from './errors.ts'
import { makeLedger } from './ledger.ts'
import { parentsFirst } from './order.ts'
import type { Ground } from './piece.ts'
import { markCut } from './replay-circle.ts'
import { type ListedLeft, type ListedPlace, listedPlaces, listedWords, wordOf } from './replay-conflicts.ts'
import { deleteAgain } from './replay-deleted.ts'
import { leaveLater } from './replay-later.ts'
import { LINE, Lines, TO_PUT } from './replay-lines.ts'
import { listedLines } from './replay-listed.ts'
import { outcome, type ReplayedPart } from './replay-outcome.ts'
import { AT_ONCE, type Place, placesOf, whoseLines } from './replay-places.ts'
import { saidIn } from './replay-words.ts'
import { markTaken, type Range, write } from './replay-write.ts'
import { Strangers } from './strangers.ts'

/** The database after a later roll-forward: it has the schema of right before the restore again, or one like it. */
export interface ReplaySource {
  readonly component: string
  readonly run: string
  readonly dialect: Dialect
  readonly dir: string
  readonly schema: SchemaShape
  merging(job: Job): Promise<Merger>
}

/** What came of all of it. */
export interface Replayed {
  readonly parts: readonly ReplayedPart[]
  /** What was listed as a conflict when data was carried, and of which nobody says by `words` that it comes. */
  readonly listed: readonly ListedLeft[]
  /** Rows that are in quarantine. */
  readonly quarantined: number
}

/**
 * Puts back what the schema of the release had no place for. Never overwrites: a row that is there, or a cell that holds something of
 * its own, stays, but where a person says otherwise in `words`; what belongs to a row that never came, or refers to one,
 * stays away. Idempotent. Throws `archive_missing`, `archive_altered`, `not_carried`, `words_unknown`.
 */
export async function replay(source: ReplaySource, job: Job, words: readonly string[] = []): Promise<Replayed> {
  const manifest = await readArchive(source.dir)
  if (manifest === null) throw noArchive(source.component, source.run)
  if (manifest.parts.every(p => p.what !== 'conflicts')) throw notCarried(source.component, source.run)
  const said = saidIn(words, manifest.parts, await listedWords(source, manifest))
  await using merger = await source.merging(job)
  const ground: Ground = { dialect: source.dialect, merger, run: source.run, migrated: false, ownWork: false }
  await makeLedger(ground)
  const bonds = await merger.bonds()
  const groups = parentsFirst(Object.keys(source.schema.tables), bonds)
  const conflicts = await listedPlaces(source, ground, manifest)
  const chosen = conflicts.filter(c => c.group.why === null && said.listed(wordOf(c.group)))
  const places = inOrder(chosen, await placesOf(source, ground, manifest), groups.flat())
  await leaveLater(source, ground, places)
  const strangers = new Strangers(ground, bonds)
  const opened = places.flatMap(({ lines }) => lines ?? [])
  for (const lines of opened) lines.over = column => said.over(lines.kept.table, column)
  const keysOf = (table: string) => opened.flatMap(l => (l.kept.table === table ? [l.keys] : []))
  const kept = [...opened.filter(l => l.kept.what === 'rows'), ...(await listedLines(source, ground, manifest))]
  for (const lines of await whoseLines(source, ground, manifest, said.same))
    await strangers.find(lines, keysOf(lines.kept.table))
  for (const lines of kept) await strangers.find(lines, lines.kept.what === 'rows' ? [] : keysOf(lines.kept.table))
  // Not before: a row that the fixed release numbers otherwise is a stranger to those that refer to it.
  for (const { lines } of places) if (lines?.seeds != null) await lines.markSeeded(lines.seeds)
  const [deleted, others] = [places.filter(isDeleted), places.filter(place => !isDeleted(place))]
  await deleteAgain(ground, deleted.toReversed(), strangers, job)
  for (const group of groups) {
    const own = others.filter(p => p.lines !== null && group.includes(p.lines.kept.table))
    if (own.length > 0) await putGroup(ground, { group, places: own, strangers }, job)
  }
  await merger.sequences()
  const out: ReplayedPart[] = []
  for (const place of places) out.push(await outcome(place))
  const listed: ListedLeft[] = []
  for (const place of conflicts.filter(c => !chosen.includes(c))) listed.push(await place.left(ground))
  const quarantined = manifest.parts.reduce((sum, p) => sum + (p.what === 'quarantine' ? (p.rows ?? p.lines) : 0), 0)
  return { parts: out, listed: listed.filter(l => l.rows > 0), quarantined }
}

const isDeleted = ({ part }: Place) => part.what === 'deleted'

/** Parents first; of one table whole rows before the cells that belong to them. */
function inOrder(chosen: readonly ListedPlace[], parts: readonly Place[], tables: readonly string[]): Place[] {
  const [rows, cells] = [chosen.filter(c => c.group.column === null), chosen.filter(c => c.group.column !== null)]
  const all = [...rows.map(c => c.place), ...parts, ...cells.map(c => c.place)]
  const at = ({ part }: Place) => tables.indexOf(part.table ?? '')
  return all.toSorted((a, b) => at(a) - at(b))
}

interface Group {
  /** Tables that refer to each other, or one. */
  readonly group: readonly string[]
  readonly places: readonly Place[]
  readonly strangers: Strangers
}

/** Lines were put in that refer to nothing, or to a stranger: all of it is taken back. */
class Orphans extends Error {
  readonly found: readonly (readonly [Lines, readonly number[]])[]

  constructor(found: Orphans['found']) {
    super('lines refer to nothing')
    this.found = found
  }
}

async function putGroup(ground: Ground, group: Group, job: Job): Promise<void> {
  const circle = group.places.some(({ lines }) => lines !== null && innerOf(group, lines).length > 0)
  const ranges = group.places.map(place => ({ place, ranges: rangesOf(place.lines?.many ?? 0) }))
  const putAll = async (each: (work: () => Promise<void>) => Promise<void>) => {
    for (const { place, ranges: all } of ranges) {
      place.back = 0
      for (const range of all) {
        job.progress({ text: `putting back ${place.part.table}`, done: range.from, total: place.part.lines })
        await each(() => putRange(ground, group, place, range))
      }
    }
  }
  if (!circle) return putAll(work => ground.merger.transaction(work))
  for (;;) {
    try {
      return await ground.merger.transaction(async () => {
        for (const { lines } of group.places)
          if (lines !== null) await markLeft(group, lines, { from: 0, to: lines.many })
        await markCut(ground, group)
        await putAll(work => work())
        await lookForOrphans(ground, group)
      })
    } catch (error) {
      if (!(error instanceof Orphans)) throw error
      for (const [lines, numbers] of error.found) {
        await lines.mark(LINE.cut, `SELECT w.n AS n FROM ${lines.work} AS w WHERE w.n IN (${numbers.join(', ')})`)
      }
    }
  }
}

/** References of the lines to rows that may come with them. */
function innerOf({ group, strangers }: Group, { kept }: Lines) {
  return strangers.referencesOf(kept.table).filter(r => group.includes(r.table))
}

async function putRange(ground: Ground, group: Group, place: Place, range: Range): Promise<void> {
  const { lines } = place
  if (lines === null) return
  await markLeft(group, lines, range)
  place.back += await write(ground, lines, range)
}

/** Marks what is taken, and what refers to something outside of the group that is not there. */
async function markLeft(group: Group, lines: Lines, range: Range): Promise<void> {
  const { strangers } = group
  await markTaken(strangers, lines, range)
  const inner = innerOf(group, lines)
  const among = `w.n >= ${range.from} AND w.n < ${range.to} AND w.state = ${LINE.waits}`
  for (const reference of strangers.referencesOf(lines.kept.table)) {
    const orphans = inner.includes(reference) ? null : strangers.orphans(lines, reference, among)
    if (orphans !== null) await lines.mark(LINE.cut, orphans)
  }
}

/** Throws `Orphans`. */
async function lookForOrphans({ merger }: Ground, group: Group): Promise<void> {
  const found: (readonly [Lines, readonly number[]])[] = []
  for (const { lines } of group.places) {
    if (lines === null) continue
    const numbers = new Set<number>()
    for (const reference of innerOf(group, lines)) {
      const orphans = group.strangers.orphans(lines, reference, TO_PUT)
      for (const { n } of orphans === null ? [] : await merger.query(orphans)) numbers.add(Number(n))
    }
    if (numbers.size > 0) found.push([lines, [...numbers]])
  }
  if (found.length > 0) throw new Orphans(found)
}

function rangesOf(many: number): Range[] {
  return Array.from({ length: Math.ceil(many / AT_ONCE) }, (_, i) => ({ from: i * AT_ONCE, to: (i + 1) * AT_ONCE }))
}
