import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { BackoutError } from '../../core/errors.ts'
import { canonical, hashOf } from '../../core/json.ts'
import { replaceFile } from '../../exec/atomic-file.ts'
import type { Job } from '../engine.ts'
import { OBJECTS } from '../objects.ts'
import type { TableShape } from '../schema.ts'
import { lineFile, writeLines } from './lines.ts'
import { type MappedTable } from './mapping.ts'
import type { Piece } from './piece.ts'
import type { Laid, TablePlan } from './plan.ts'
import { eachRow, type ListedRow } from './rows.ts'
import type { CarrySource } from './source.ts'
import { holdsSomething, plainColumns } from './unplaced.ts'

const archivedPart = lineFile.extend({
  what: z.enum(['rows', 'seeded', 'cells', 'filled', 'objects', 'conflicts', 'quarantine']),
  /** In theirs; null: of all tables. */
  table: z.string().nullable(),
  /** What tells the rows apart, and what is kept of them; names and types in theirs. */
  key: z.record(z.string(), z.string()),
  columns: z.record(z.string(), z.string()),
  /** Column -> the text of what it holds where nobody wrote to it: its default, or what the migration had put into every row. */
  defaults: z.record(z.string(), z.string().nullable()),
})
export type ArchivedPart = z.infer<typeof archivedPart>

/** The names of a merged table, so that what is listed of it is found again in the new schema. */
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

/** One line of an archive: a row of theirs. Values are exact texts. */
export const archivedRow = z.object({
  key: z.record(z.string(), z.string().nullable()),
  values: z.record(z.string(), z.string().nullable()),
})
export type ArchivedRow = z.infer<typeof archivedRow>

/** Writes down what has no place in the old schema, and what waits for a person's word. Not there until its manifest is. */
export async function writeArchive(laid: Laid, job: Job): Promise<Manifest> {
  const { source, mapping } = laid
  const dir = join(source.dir, FOLDER)
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const parts: ArchivedPart[] = []
  for (const [i, table] of mapping.unplaced.entries()) {
    job.progress({ text: `archiving ${table}` })
    const shape = source.schemas.theirs.tables[table]
    if (shape === undefined) continue
    parts.push(await archive(source, `table-${i}.ndjson.zst`, table, shape, plainColumns(shape), null))
    parts.push(...(await archiveSeeded(source, `seeded-${i}.ndjson.zst`, table)))
  }
  for (const [i, mapped] of mapping.tables.entries()) {
    const shape = source.schemas.theirs.tables[mapped.theirs]
    if (shape === undefined || mapped.unplaced.length === 0) continue
    job.progress({ text: `archiving columns of ${mapped.theirs}` })
    parts.push(await archiveCells(source, `columns-${i}.ndjson.zst`, mapped, shape))
    parts.push(...(await archiveFilled(source, `filled-${i}.ndjson.zst`, mapped)))
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
  const file = await writeLines(join(laid.source.dir, FOLDER), path, async line => {
    for (const piece of pieces) await eachRow(laid.ground, piece, where, (row: ListedRow) => line(row))
  })
  return { ...file, what, table: null, key: {}, columns: {}, defaults: {} }
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

function archiveCells(
  source: CarrySource,
  path: string,
  mapped: MappedTable,
  shape: TableShape,
): Promise<ArchivedPart> {
  const where = mapped.unplaced.map(c => `(${holdsSomething(source, c, shape.columns[c])})`).join(' OR ')
  // Without a key the whole row says where it belongs.
  const columns = shape.key.length > 0 ? mapped.unplaced : plainColumns(shape)
  return archive(source, path, mapped.theirs, shape, columns, where)
}

/** Rows that the migration itself had put into a table that it made, so that they are known for no user's. */
async function archiveSeeded(source: CarrySource, path: string, table: string): Promise<ArchivedPart[]> {
  const { images, schemas } = source
  const shape = schemas.migrated?.tables[table]
  if (images.migrated === null || shape === undefined) return []
  const part = await archive(source, path, table, shape, plainColumns(shape), null, images.migrated)
  return part.lines === 0 ? [] : [{ ...part, what: 'seeded' }]
}

/** What the migration itself had put there, so that a cell that holds just that again is known for one that nobody wrote to. */
async function archiveFilled(source: CarrySource, path: string, mapped: MappedTable): Promise<ArchivedPart[]> {
  const { images, schemas } = source
  const shape = mapped.migrated === null ? undefined : schemas.migrated?.tables[mapped.migrated]
  if (images.migrated === null || mapped.migrated === null || shape === undefined || shape.key.length === 0) return []
  const columns = mapped.unplaced.filter(c => shape.columns[c]?.generated === false)
  if (columns.length === 0) return []
  const where = columns.map(c => `(${holdsSomething(source, c, shape.columns[c])})`).join(' OR ')
  const part = await archive(source, path, mapped.migrated, shape, columns, where, images.migrated)
  if (part.lines === 0) return []
  return [{ ...part, what: 'filled', defaults: await sameInAll(source, mapped.migrated, shape, columns) }]
}

/** Column -> the value that the migration had put into every row: so it does to rows that came since, where it runs again. */
function sameInAll(
  { images, dialect }: CarrySource,
  table: string,
  shape: TableShape,
  columns: readonly string[],
): Promise<Record<string, string | null>> {
  const sums = columns.map((c, i) => {
    const text = dialect.text(dialect.quote(c), shape.columns[c]?.type ?? '')
    return `count(${dialect.quote(c)}) AS n${i}, min(${text}) AS low${i}, max(${text}) AS high${i}`
  })
  const sql = `SELECT count(*) AS n, ${sums.join(', ')} FROM ${dialect.table(table)}`
  return (images.migrated ?? images.theirs).reading(new AbortController().signal, async db => {
    const [row = {}] = await db.query(sql)
    const all = Number(row['n'])
    const same = (i: number) => all > 1 && Number(row[`n${i}`]) === all && row[`low${i}`] === row[`high${i}`]
    return Object.fromEntries(columns.map((c, i) => [c, same(i) ? (row[`low${i}`] as string) : null]))
  })
}

async function archive(
  source: CarrySource,
  path: string,
  table: string,
  shape: TableShape,
  columns: readonly string[],
  where: string | null,
  image = source.images.theirs,
): Promise<ArchivedPart> {
  const { dialect } = source
  const typeOf = (name: string) => shape.columns[name]?.type ?? ''
  const typed = (names: readonly string[]) => Object.fromEntries(names.map(n => [n, typeOf(n)]))
  const text = (name: string, as: string) => `${dialect.text(dialect.quote(name), typeOf(name))} AS ${as}`
  const list = [...shape.key.map((k, i) => text(k, `k${i}`)), ...columns.map((c, i) => text(c, `v${i}`))]
  const sql = `SELECT ${list.join(', ')} FROM ${dialect.table(table)}${where === null ? '' : ` WHERE ${where}`}`
  const file = await writeLines(join(source.dir, FOLDER), path, line =>
    image.reading(new AbortController().signal, db =>
      db.each(sql, [], row => {
        const of = (names: readonly string[], as: string) =>
          Object.fromEntries(names.map((n, i) => [n, (row[`${as}${i}`] ?? null) as string | null]))
        return line({ key: of(shape.key, 'k'), values: of(columns, 'v') } satisfies ArchivedRow)
      }),
    ),
  )
  const kept = { ...file, table, key: typed(shape.key), columns: typed(columns) }
  if (where === null) return { ...kept, what: 'rows', defaults: {} }
  return { ...kept, what: 'cells', defaults: await defaultsOf(source, table, shape, columns, image) }
}

/** As a row holds it: another release may have another default, and no type may be left to say this one in. */
function defaultsOf(
  { dialect }: CarrySource,
  table: string,
  shape: TableShape,
  columns: readonly string[],
  image: CarrySource['images']['theirs'],
): Promise<ArchivedPart['defaults']> {
  return image.reading(new AbortController().signal, async db => {
    const out: Record<string, string | null> = {}
    for (const c of columns) {
      const [name, type] = [dialect.quote(c), shape.columns[c]?.type ?? '']
      const fixed = dialect.fixedDefault(shape.columns[c]?.default ?? null, type)
      if (fixed === null) continue
      const held = `SELECT ${dialect.text(name, type)} FROM ${dialect.table(table)} WHERE NOT ${dialect.differs(name, fixed)} LIMIT 1`
      const [row] = await db.query(`SELECT coalesce((${held}), ${dialect.text(fixed, type)}) AS held`)
      out[c] = (row?.['held'] ?? null) as string | null
    }
    return out
  })
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
