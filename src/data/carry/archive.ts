import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { BackoutError } from '../../core/errors.ts'
import { canonical, hashOf } from '../../core/json.ts'
import { replaceFile } from '../../exec/atomic-file.ts'
import type { Job } from '../engine.ts'
import { OBJECTS } from '../objects.ts'
import { columnParts, tableParts } from './archive-parts.ts'
import { referredIn, whosePart } from './archive-whose.ts'
import { type ArchivedRow, lineFile, writeLines } from './lines.ts'
import type { Piece } from './piece.ts'
import type { Laid, TablePlan } from './plan.ts'
import { eachRow, type ListedRow } from './rows.ts'

const archivedPart = lineFile.extend({
  what: z.enum(['rows', 'seeded', 'deleted', 'cells', 'filled', 'whose', 'objects', 'conflicts', 'quarantine']),
  /** In theirs; null: of all tables. */
  table: z.string().nullable(),
  /** What tells the rows apart, and what is kept of them; names and types in theirs. */
  key: z.record(z.string(), z.string()),
  columns: z.record(z.string(), z.string()),
  /** Column -> the text of what it holds where nobody wrote to it: its default, or what the migration had put into every row. */
  defaults: z.record(z.string(), z.string().nullable()),
  /** Of cells: rows that hold just what the migration had left there, and are none of these. */
  own: z.number().optional(),
  /** Of conflicts and quarantine: rows, where lines stand for several equal ones. */
  rows: z.number().optional(),
})
export type ArchivedPart = z.infer<typeof archivedPart>

/** The names of a merged table, so that what is listed of it is found again after a roll-forward. */
const mappedNames = z.object({
  ours: z.string(),
  theirs: z.string(),
  /** What tells its rows apart, in theirs. */
  key: z.array(z.string()),
  /** Column of ours -> that of theirs, and the types of these. */
  columns: z.record(z.string(), z.string()),
  types: z.record(z.string(), z.string()),
})
export type MappedNames = z.infer<typeof mappedNames>

const manifestShape = z.object({
  version: z.literal(1),
  component: z.string(),
  run: z.string(),
  /** Of the plan that it belongs to. */
  plan: z.string(),
  tables: z.array(mappedNames),
  parts: z.array(archivedPart),
  sha256: z.string(),
})
export type Manifest = z.infer<typeof manifestShape>

const FOLDER = 'archive'
const MANIFEST = 'manifest.json'
/** Where what was listed as a conflict lies, in the folder of the archive. */
export const CONFLICTS = 'conflicts.ndjson.zst'

/** Writes down what has no place in the schema of the release, and what waits for a person's word. Not there until its manifest is. */
export async function writeArchive(laid: Laid, job: Job): Promise<Manifest> {
  const { source, mapping } = laid
  const dir = join(source.dir, FOLDER)
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const parts: ArchivedPart[] = []
  const from = { source, dir, signal: job.signal }
  for (const [i, table] of mapping.unplaced.entries()) {
    job.progress({ text: `archiving ${table}` })
    parts.push(...(await tableParts(from, i, table)))
  }
  for (const [i, mapped] of mapping.tables.entries()) {
    if (source.schemas.theirs.tables[mapped.theirs] === undefined || mapped.unplaced.length === 0) continue
    job.progress({ text: `archiving columns of ${mapped.theirs}` })
    parts.push(...(await columnParts(from, i, mapped)))
  }
  const refers = referredIn(source, mapping)
  for (const [i, mapped] of mapping.tables.entries()) {
    const cells = parts.find(p => p.what === 'cells' && p.table === mapped.theirs && p.lines > 0)
    const referred = refers.get(mapped.theirs)
    if (cells === undefined && referred === undefined) continue
    job.progress({ text: `archiving whose rows of ${mapped.theirs} they are` })
    parts.push(...(await whosePart(from, i, mapped, { referred, cells })))
  }
  parts.push(...(await objectsPart(laid, dir)))
  const held = laid.pieces.filter((_, i) => laid.plan.tables[i]?.held !== 0)
  parts.push(await rowsPart(laid, held, 'quarantine', 'w.done = 0 AND w.held > 0'))
  return writeManifest(laid, dir, parts)
}

/** The conflicts that are left, beside the archive. The manifest is written anew. `left`: what is left, by table. */
export async function writeConflicts(laid: Laid, manifest: Manifest, left: readonly TablePlan[]): Promise<Manifest> {
  // Of a row that was carried in part it is the plan that says so.
  const hasOpen = (table: TablePlan | undefined) =>
    table === undefined || table.settled > 0 || Object.keys(table.conflicts).length > 0
  const said = laid.options.decisions.length > 0
  const reports = laid.options.mode === 'report'
  const open = laid.pieces.filter((_, i) => said || hasOpen(laid.plan.tables[i]) || hasOpen(left[i]))
  const part = reports
    ? await rowsPart(laid, laid.pieces, 'conflicts', WAITING)
    : await rowsPart(laid, open, 'conflicts', OPEN)
  return writeManifest(laid, join(laid.source.dir, FOLDER), [
    ...manifest.parts.filter(p => p.what !== 'conflicts'),
    part,
  ])
}

/** Rows with something that was not carried and that is not in quarantine. */
export const OPEN = '(w.held = 0 AND (w.kind > 0 OR w.cell > 0))'

/** The same where nothing is carried. */
const WAITING = `(w.done = 0 AND w.held = 0 OR ${OPEN})`

async function rowsPart(
  laid: Laid,
  pieces: readonly Piece[],
  what: 'conflicts' | 'quarantine',
  where: string,
): Promise<ArchivedPart> {
  const path = what === 'conflicts' ? CONFLICTS : `${what}.ndjson.zst`
  let rows = 0
  const file = await writeLines(join(laid.source.dir, FOLDER), path, async line => {
    const each = (row: ListedRow) => {
      rows += row.times ?? 1
      return line(row)
    }
    for (const piece of pieces) await eachRow(laid.ground, piece, where, each)
  })
  const counted = rows === file.lines ? {} : { rows }
  return { ...file, what, table: null, key: {}, columns: {}, defaults: {}, ...counted }
}

/** Their numbers and content, piece by piece, so that a person can bring them back. */
async function objectsPart({ ground, objects: { listed } }: Laid, dir: string): Promise<ArchivedPart[]> {
  const { objects } = ground.merger
  if (objects === undefined || listed.length === 0) return []
  const file = await writeLines(dir, 'objects.ndjson.zst', async line => {
    for (const id of listed) {
      let piece = 0
      for await (const content of objects.content(id)) {
        await line({ key: { oid: String(id), piece: String(piece++) }, values: { content } } satisfies ArchivedRow)
      }
    }
  })
  const key = { oid: 'oid', piece: 'integer' }
  return [{ ...file, what: 'objects', table: OBJECTS, key, columns: { content: 'base64' }, defaults: {} }]
}

async function writeManifest(laid: Laid, dir: string, parts: ArchivedPart[]): Promise<Manifest> {
  const { component, run } = laid.source
  const tables = laid.pieces.map(namesOf)
  const content = { version: 1 as const, component, run, plan: laid.plan.hash, tables, parts }
  const manifest: Manifest = { ...content, sha256: hashOf(content) }
  await replaceFile(join(dir, MANIFEST), {
    file: { content: Buffer.from(`${canonical(manifest)}\n`), mode: 0o600 },
    idem: 'archive',
    before: () => {},
  })
  return manifest
}

function namesOf({ key, table: { ours, theirs, columns } }: Piece): MappedNames {
  const named = columns.map(c => [c.ours, c.theirs] as const)
  return {
    ours,
    theirs,
    key: columns.flatMap(c => (key.includes(c.ours) ? [c.theirs] : [])),
    columns: Object.fromEntries(named),
    types: Object.fromEntries(columns.map(c => [c.theirs, c.theirType])),
  }
}

export function archiveIn(dir: string): string {
  return join(dir, FOLDER)
}

/** The archive of a run; null: there is none. Throws `archive_altered`. */
export async function readArchive(dir: string): Promise<Manifest | null> {
  const path = join(dir, FOLDER, MANIFEST)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (text === null) return null
  const manifest = manifestShape.parse(JSON.parse(text))
  const { sha256, ...content } = manifest
  if (hashOf(content) === sha256) return manifest
  throw new BackoutError({
    code: 'archive_altered',
    what: `${path} is not what was written`,
    next: 'bring it back from a copy of the home',
    exit: 'tampered',
  })
}
