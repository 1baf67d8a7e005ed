import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { foreignKeyIn } from '../references.ts'
import type { ArchivedPart } from './archive.ts'
import { type From, named } from './archive-parts.ts'
import { nameOf, rowOf, type Side, selectOf, underKeys } from './beside.ts'
import { type ArchivedRow, archivedRow, readLines, writeLines } from './lines.ts'
import type { MappedTable, Mapping } from './mapping.ts'
import type { CarrySource } from './source.ts'
import { plainColumns } from './unplaced.ts'

const AT_ONCE = 1_000

/**
 * How the rows were, where they have a place, that archived cells belong to or archived rows refer to: right before the restore,
 * and at the release, which they are again where something was not carried. Users may remove such a row before a roll-forward,
 * and make another one under its key: what was archived is not that one's.
 */
export async function whosePart(
  from: From,
  i: number,
  mapped: MappedTable,
  { referred, cells }: { referred: string | undefined; cells: ArchivedPart | undefined },
): Promise<ArchivedPart[]> {
  const { source, dir, signal } = from
  const { images, schemas, dialect } = source
  const shape = schemas.theirs.tables[mapped.theirs]
  if (shape === undefined || shape.key.length === 0) return []
  const placed = mapped.columns.map(c => c.theirs)
  const columns = plainColumns(shape).filter(c => placed.includes(c) && !shape.key.includes(c))
  const side: Side = { image: images.theirs, table: mapped.theirs, shape, columns, where: null }
  if (columns.length === 0) return []
  const sides = [{ side, theirs: (name: string) => name }, ...beforeOf(source, mapped, side)]
  const file = await writeLines(dir, `whose-${i}.ndjson.zst`, line =>
    inLots(
      async each => {
        if (cells !== undefined) await readLines(dir, cells, row => each(archivedRow.parse(row).key))
        if (referred === undefined) return
        const keys = { ...side, columns: [] }
        const sql = selectOf(dialect, keys, [`(${referred})`])
        await images.theirs.reading(signal, db => db.each(sql, [], row => each(rowOf(row, keys).key)))
      },
      async keys => {
        for (const one of sides) await write(source, one, keys, signal, line)
      },
    ),
  )
  if (file.lines > 0) return [{ ...file, what: 'whose', ...named(side), defaults: {} }]
  await rm(join(dir, file.path))
  return []
}

type Key = ArchivedRow['key']

async function inLots(
  fill: (each: (key: Key) => Promise<void>) => Promise<void>,
  flush: (keys: readonly Key[]) => Promise<void>,
): Promise<void> {
  let some: Key[] = []
  await fill(async key => {
    if (some.push(key) < AT_ONCE) return
    await flush(some)
    some = []
  })
  if (some.length > 0) await flush(some)
}

/** One image, and what theirs calls its columns. */
interface Then {
  readonly side: Side
  readonly theirs: (name: string) => string
}

/** The table at the release, in columns that have the same type still; none where rows are not known by the same key. */
function beforeOf({ images, schemas }: CarrySource, { ours, columns }: MappedTable, now: Side): Then[] {
  const shape = schemas.base.tables[ours]
  const same = columns.filter(c => c.type === c.theirType)
  const key = now.shape.key.flatMap(k => same.find(c => c.theirs === k)?.base ?? [])
  if (shape === undefined || key.length < now.shape.key.length) return []
  const names = new Map(same.map(c => [c.base, c.theirs]))
  const kept = same.filter(c => now.columns.includes(c.theirs)).map(c => c.base)
  const side = { image: images.base, table: ours, shape: { ...shape, key }, columns: kept, where: null }
  return [{ side, theirs: name => names.get(name) ?? name }]
}

/** What an image has under these keys, which are named as theirs names them. */
async function write(
  { dialect }: CarrySource,
  { side, theirs }: Then,
  keys: readonly Key[],
  signal: AbortSignal,
  line: (row: ArchivedRow) => Promise<void>,
): Promise<void> {
  const { key: own } = side.shape
  const rows = keys.map(key => ({ key: Object.fromEntries(own.map(k => [k, key[theirs(k)] ?? null])), values: {} }))
  const found = await side.image.reading(signal, db => underKeys(dialect, db, side, rows))
  for (const [i, key] of keys.entries()) {
    const values = found.get(nameOf(rows[i]?.key ?? {}, own))
    if (values === undefined) continue
    await line({ key, values: Object.fromEntries(Object.entries(values).map(([c, v]) => [theirs(c), v])) })
  }
}

/** By table, what is true for rows of it that something refers to which has no place in the schema of the release. */
export function referredIn(
  { schemas: { theirs }, dialect }: CarrySource,
  mapping: Mapping,
): ReadonlyMap<string, string> {
  const out = new Map<string, string>()
  const whole = mapping.unplaced.map(name => ({ name, comes: null }))
  const parts = mapping.tables.map(t => ({ name: t.theirs, comes: t.unplaced }))
  for (const { name, comes } of [...whole, ...parts.filter(p => p.comes.length > 0)]) {
    for (const text of theirs.tables[name]?.constraints ?? []) {
      const key = foreignKeyIn(text, theirs.tables[name], theirs)
      if (key === null || (comes !== null && !key.columns.some(c => comes.includes(c)))) continue
      const own = (column: string) => `${dialect.table(key.table)}.${dialect.quote(column)}`
      const same = key.columns.map((c, i) => `x.${dialect.quote(c)} = ${own(key.to[i] ?? '')}`)
      const refers = `EXISTS (SELECT 1 FROM ${dialect.table(name)} AS x WHERE ${same.join(' AND ')})`
      const before = out.get(key.table)
      out.set(key.table, before === undefined ? refers : `${before} OR ${refers}`)
    }
  }
  return out
}
