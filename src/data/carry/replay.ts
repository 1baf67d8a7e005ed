import { sameJson } from '../../core/json.ts'
import type { Dialect, Job, Merger } from '../engine.ts'
import type { SchemaShape, TableShape } from '../schema.ts'
import { type ArchivedPart, type ArchivedRow, archivedRow, archiveIn, type Manifest, readArchive } from './archive.ts'
import { noArchive, notCarried } from './errors.ts'
import { makeLedger } from './ledger.ts'
import { readLines } from './lines.ts'
import { parentsFirst } from './order.ts'
import type { Ground } from './piece.ts'
import { markCut } from './replay-circle.ts'
import { LINE, Lines, TO_PUT } from './replay-lines.ts'
import { listedLines } from './replay-listed.ts'
import { overIn } from './replay-words.ts'
import { markTaken, type Range, write } from './replay-write.ts'
import { Strangers } from './strangers.ts'

/** The database after a later roll-forward: it has the new schema again. */
export interface ReplaySource {
  readonly component: string
  readonly run: string
  readonly dialect: Dialect
  readonly dir: string
  readonly schema: SchemaShape
  merging(job: Job): Promise<Merger>
}

/** What came of one part of the archive. */
export interface ReplayedPart {
  readonly table: string
  /** null: whole rows. */
  readonly columns: readonly string[] | null
  /** Lines whose content was put back now, and those that needed nothing. */
  readonly back: number
  readonly done: number
  /** Lines whose place holds something else, whose row is another one, or that the database refused. Nothing was changed there. */
  readonly conflicts: number
  /** Why the part could not be put back at all, or lines of it could not, where that is known. */
  readonly why: string | null
}

const LINES = 200

/**
 * Puts back what the old schema had no place for. Never overwrites: a row that is there, or a cell that holds something of
 * its own, stays, but where a person says otherwise in `words`; what belongs to a row that never came, or refers to one,
 * stays away. Idempotent. Throws `archive_missing`, `archive_altered`, `not_carried`, `words_unknown`.
 */
export async function replay(source: ReplaySource, job: Job, words: readonly string[] = []): Promise<ReplayedPart[]> {
  const manifest = await readArchive(source.dir)
  if (manifest === null) throw noArchive(source.component, source.run)
  if (manifest.parts.every(p => p.what !== 'conflicts')) throw notCarried(source.component, source.run)
  const over = overIn(words, manifest.parts)
  await using merger = await source.merging(job)
  const ground: Ground = { dialect: source.dialect, merger, run: source.run, migrated: false, ownWork: false }
  await makeLedger(ground)
  const bonds = await merger.bonds()
  const groups = parentsFirst(Object.keys(source.schema.tables), bonds)
  const places = await placesOf(source, ground, manifest, groups.flat())
  const strangers = new Strangers(ground, bonds)
  const opened = places.flatMap(({ lines }) => lines ?? [])
  for (const lines of opened) lines.over = column => over(lines.kept.table, column)
  const keysOf = (table: string) => opened.flatMap(l => (l.kept.table === table ? [l.keys] : []))
  const kept = [...opened.filter(l => l.kept.what === 'rows'), ...(await listedLines(source, ground, manifest))]
  for (const lines of kept) await strangers.find(lines, lines.kept.what === 'rows' ? [] : keysOf(lines.kept.table))
  for (const group of groups) {
    const own = places.filter(p => p.lines !== null && group.includes(p.lines.kept.table))
    if (own.length > 0) await putGroup(ground, { group, places: own, strangers }, job)
  }
  await merger.sequences()
  const out: ReplayedPart[] = []
  for (const place of places) out.push(await outcome(place))
  return out
}

/** A part of the archive and where it is to go. */
interface Place {
  readonly part: ArchivedPart
  /** null: it has no place. */
  readonly lines: Lines | null
  readonly why: string | null
  back: number
}

/** Parents first. */
async function placesOf(
  source: ReplaySource,
  ground: Ground,
  { parts }: Manifest,
  order: readonly string[],
): Promise<Place[]> {
  const at = ({ table }: ArchivedPart) => order.indexOf(table ?? '')
  const out: Place[] = []
  for (const part of parts.filter(p => p.what === 'rows' || p.what === 'cells').toSorted((a, b) => at(a) - at(b))) {
    const shape = source.schema.tables[part.table ?? '']
    const why = whyNot(shape, part)
    const lines = shape === undefined || why !== null ? null : await loaded(source, ground, part, shape, out.length)
    await lines?.recall()
    const filled = parts.find(p => p.what === 'filled' && p.table === part.table)
    if (lines !== null && shape !== undefined && filled !== undefined && mayBeCompared(filled, part, shape))
      lines.filled = await loaded(source, ground, filled, shape, out.length)
    out.push({ part, lines, why, back: 0 })
  }
  return out
}

/** The rows have the same key, and the columns are there. */
function mayBeCompared({ key, columns }: ArchivedPart, of: ArchivedPart, shape: TableShape): boolean {
  const known = Object.keys(columns).every(c => shape.columns[c] !== undefined)
  return known && sameJson(key, of.key)
}

function whyNot(shape: TableShape | undefined, part: ArchivedPart): string | null {
  if (shape === undefined) return 'the table is not there'
  const missing = [...Object.keys(part.key), ...Object.keys(part.columns)].filter(c => shape.columns[c] === undefined)
  if (missing.length > 0) return `the table has no ${missing.join(', ')}`
  if (part.what === 'cells' && Object.keys(part.key).length === 0) return 'its rows have no key to find them by'
  return null
}

async function loaded(
  { dir }: ReplaySource,
  ground: Ground,
  part: ArchivedPart,
  shape: TableShape,
  i: number,
): Promise<Lines> {
  const { path, key, columns } = part
  const what = part.what === 'rows' || part.what === 'filled' ? part.what : 'cells'
  const kept = { what, path, key, columns, shape, table: part.table ?? '', defaults: part.defaults } as const
  const lines = await Lines.make(ground, kept, what === 'filled' ? `backout_filled_${i}` : `backout_replay_${i}`)
  let some: ArchivedRow[] = []
  await readLines(archiveIn(dir), part, async line => {
    if (some.push(archivedRow.parse(line)) < LINES) return
    await lines.add(some)
    some = []
  })
  await lines.add(some)
  return lines
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
        await lines.mark(LINE.left, `SELECT w.n AS n FROM ${lines.work} AS w WHERE w.n IN (${numbers.join(', ')})`)
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
    if (orphans !== null) await lines.mark(LINE.left, orphans)
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
  return Array.from({ length: Math.ceil(many / LINES) }, (_, i) => ({ from: i * LINES, to: (i + 1) * LINES }))
}

async function outcome({ part, lines, why, back }: Place): Promise<ReplayedPart> {
  const columns = part.what === 'rows' ? null : Object.keys(part.columns)
  const table = part.table ?? ''
  if (lines === null) return { table, columns, back: 0, done: 0, conflicts: part.lines, why }
  const conflicts = await lines.count(`w.state IN (${LINE.left}, ${LINE.part})`)
  return { table, columns, back, conflicts, done: Math.max(0, lines.many - back - conflicts), why: await oddIn(lines) }
}

async function oddIn(lines: Lines): Promise<string | null> {
  const odd = await lines.count(`w.odd = 1 AND w.state IN (${LINE.left}, ${LINE.part})`)
  if (odd === 0) return null
  return `${odd} of them ${odd === 1 ? 'does' : 'do'} not fit the types that the table has now (${lines.retyped.join(', ')})`
}
