import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ArchivedPart } from './archive.ts'
import { rowOf, type Side, selectOf } from './beside.ts'
import { type LineFile, writeLines } from './lines.ts'
import type { MappedTable } from './mapping.ts'
import { eachOwn, eachOwnRow, type Own } from './own.ts'
import type { CarrySource } from './source.ts'
import type { Then } from './then.ts'
import { defaultsIn, plainColumns } from './unplaced.ts'

/** Where parts are written from, and the folder that they go to. */
export interface From {
  readonly source: CarrySource
  readonly dir: string
  readonly signal: AbortSignal
}

/** A whole table; beside it what the migration itself had put there, so that it is known for no user's, and what users deleted of that. */
export async function tableParts(from: From, i: number, table: string): Promise<ArchivedPart[]> {
  const { source, dir, signal } = from
  const { images, schemas } = source
  const shape = schemas.theirs.tables[table]
  if (shape === undefined) return []
  const rows = { image: images.theirs, table, shape, columns: plainColumns(shape), where: null }
  const parts = [await archive(from, `table-${i}.ndjson.zst`, 'rows', rows)]
  const was = schemas.migrated?.tables[table]
  if (images.migrated === null || was === undefined) return parts
  const then = { image: images.migrated, table, shape: was, columns: plainColumns(was), where: null }
  const seeded = await archive(from, `seeded-${i}.ndjson.zst`, 'seeded', then)
  if (seeded.lines === 0) return parts
  const columns = plainColumns(shape).filter(c => was.columns[c]?.type === shape.columns[c]?.type)
  const path = `deleted-${i}.ndjson.zst`
  const file = await writeLines(dir, path, async line => {
    await eachOwnRow(source, table, signal, async (row, deleted) => {
      if (deleted) await line(row)
    })
  })
  const deleted = { ...file, what: 'deleted' as const, ...named({ ...then, columns }), defaults: {} }
  return [...parts, seeded, ...(deleted.lines === 0 ? [] : [deleted])]
}

/** What users wrote into columns of a table; beside it what the migration had left in the same rows, so that a cell that holds just that again is known for one that nobody wrote to. */
export async function columnParts(from: From, i: number, mapped: MappedTable): Promise<ArchivedPart[]> {
  const { source, dir, signal } = from
  const { images, schemas, dialect } = source
  const shape = schemas.theirs.tables[mapped.theirs]
  if (shape === undefined) return []
  const columns = shape.key.length > 0 ? mapped.unplaced : plainColumns(shape)
  const written: { cells?: LineFile; own?: Own } = {}
  const before = await writeLines(dir, `filled-${i}.ndjson.zst`, async fill => {
    written.cells = await writeLines(dir, `columns-${i}.ndjson.zst`, async line => {
      written.own = await eachOwn(source, mapped, signal, async (row, _, then) => {
        await line(row)
        if (then !== null) await fill({ key: row.key, values: then })
      })
    })
  })
  const {
    cells,
    own: { left, then },
  } = written as Required<typeof written>
  const defaults = await images.theirs.reading(signal, db => defaultsIn(db, dialect, mapped.theirs, shape, columns))
  const about = named({ image: images.theirs, table: mapped.theirs, shape, columns, where: null })
  const part = { ...cells, what: 'cells' as const, ...about, defaults, ...(left === 0 ? {} : { own: left }) }
  if (then !== null && then.many > 0) return [part, await filledPart(from, before, then)]
  await rm(join(dir, before.path))
  return [part]
}

async function filledPart({ source, signal }: From, file: LineFile, then: Then): Promise<ArchivedPart> {
  const defaults = { ...(await sameInAll(source, then, signal)), ...then.put }
  return { ...file, what: 'filled', ...named(then), defaults }
}

/** Column -> the value that the migration had put into every row: so it does to rows that came since, where it runs again. */
function sameInAll(
  { dialect }: CarrySource,
  { image, table, shape, columns }: Side,
  signal: AbortSignal,
): Promise<Record<string, string | null>> {
  const sums = columns.map((c, i) => {
    const text = dialect.text(dialect.quote(c), shape.columns[c]?.type ?? '')
    return `count(${dialect.quote(c)}) AS n${i}, min(${text}) AS low${i}, max(${text}) AS high${i}`
  })
  const sql = `SELECT count(*) AS n, ${sums.join(', ')} FROM ${dialect.table(table)}`
  return image.reading(signal, async db => {
    const [row = {}] = await db.query(sql)
    const all = Number(row['n'])
    const same = (i: number) => all > 1 && Number(row[`n${i}`]) === all && row[`low${i}`] === row[`high${i}`]
    return Object.fromEntries(columns.map((c, i) => [c, same(i) ? (row[`low${i}`] as string) : null]))
  })
}

async function archive(
  { source, dir, signal }: From,
  path: string,
  what: ArchivedPart['what'],
  side: Side,
): Promise<ArchivedPart> {
  const file = await writeLines(dir, path, line =>
    side.image.reading(signal, db => db.each(selectOf(source.dialect, side, []), [], row => line(rowOf(row, side)))),
  )
  return { ...file, what, ...named(side), defaults: {} }
}

export function named({ table, shape, columns }: Side): Pick<ArchivedPart, 'table' | 'key' | 'columns'> {
  const typed = (names: readonly string[]) => Object.fromEntries(names.map(n => [n, shape.columns[n]?.type ?? '']))
  return { table, key: typed(shape.key), columns: typed(columns) }
}
