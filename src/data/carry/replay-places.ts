import { sameJson } from '../../core/json.ts'
import type { TableShape } from '../schema.ts'
import { type ArchivedPart, archiveIn, type Manifest } from './archive.ts'
import { type ArchivedRow, archivedRow, readLines } from './lines.ts'
import type { Ground } from './piece.ts'
import type { ReplaySource } from './replay.ts'
import { Lines } from './replay-lines.ts'

/** How many lines are read, or put back, at once. */
export const AT_ONCE = 200

/** A part of the archive and where it is to go. */
export interface Place {
  readonly part: Pick<ArchivedPart, 'what' | 'table' | 'columns' | 'lines' | 'own'> & {
    /** Of what was listed as a conflict, and of what users deleted. */
    readonly kind?: string
  }
  /** null: it has no place. */
  readonly lines: Lines | null
  readonly why: string | null
  back: number
}

/** What had no place in the schema of the release. */
export async function placesOf(source: ReplaySource, ground: Ground, { parts }: Manifest): Promise<Place[]> {
  const out: Place[] = []
  for (const part of parts.filter(p => p.what === 'rows' || p.what === 'cells' || p.what === 'deleted')) {
    const shape = source.schema.tables[part.table ?? '']
    const why = whyNot(shape, part)
    const load = (of: ArchivedPart, in_: TableShape) => loaded(source, ground, of, in_, out.length)
    const lines = shape === undefined || why !== null ? null : await load(part, shape)
    await lines?.recall()
    const beside = (what: 'filled' | 'seeded') => parts.find(p => p.what === what && p.table === part.table)
    const [filled, seeded] = [beside('filled'), beside('seeded')]
    if (lines !== null && shape !== undefined && filled !== undefined && mayBeCompared(filled, part, shape))
      lines.filled = await load(filled, shape)
    // Rows are the same that are so in all columns.
    const known = part.what === 'rows' && seeded !== undefined && sameJson(seeded.columns, part.columns)
    const seeds = known && shape !== undefined && lines !== null ? await load(seeded, shape) : null
    if (lines !== null) lines.seeds = seeds
    out.push({ part: part.what === 'deleted' ? { ...part, kind: 'deleted' } : part, lines, why, back: 0 })
  }
  return out
}

/** How rows were that something belongs to or refers to, in columns that are as they were then. `same`: no word is needed of these. */
export async function whoseLines(
  source: ReplaySource,
  ground: Ground,
  { parts }: Manifest,
  same: (table: string) => boolean,
): Promise<Lines[]> {
  const out: Lines[] = []
  for (const part of parts.filter(p => p.what === 'whose' && !same(p.table ?? ''))) {
    const shape = source.schema.tables[part.table ?? '']
    const kept = (of: Readonly<Record<string, string>>) =>
      Object.fromEntries(Object.entries(of).filter(([c, type]) => shape?.columns[c]?.type === type))
    const columns = kept(part.columns)
    if (shape === undefined || !sameJson(kept(part.key), part.key) || Object.keys(columns).length === 0) continue
    out.push(await loaded(source, ground, { ...part, columns }, shape, out.length))
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

const WORK = {
  rows: 'backout_replay',
  deleted: 'backout_deleted',
  cells: 'backout_replay',
  filled: 'backout_filled',
  whose: 'backout_whose',
  seeded: 'backout_seeded',
}

/** Reads lines of an archive into a table of this session. `i`: tells it from the others. */
export async function loaded(
  { dir }: ReplaySource,
  ground: Ground,
  part: ArchivedPart,
  shape: TableShape,
  i: number | string,
): Promise<Lines> {
  const { path, key, columns } = part
  const { what } = part
  if (what === 'objects' || what === 'conflicts' || what === 'quarantine') throw new Error(`${what} have no table`)
  const kept = { what, path, key, columns, shape, table: part.table ?? '', defaults: part.defaults } as const
  const lines = await Lines.make(ground, kept, `${WORK[what]}_${i}`)
  let some: ArchivedRow[] = []
  await readLines(archiveIn(dir), part, async line => {
    if (some.push(archivedRow.parse(line)) < AT_ONCE) return
    await lines.add(some)
    some = []
  })
  await lines.add(some)
  return lines
}
