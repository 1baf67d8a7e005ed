import type { Mapping } from './mapping.ts'
import { eachOwn, eachOwnRow } from './own.ts'
import type { CarrySource } from './source.ts'
import type { Unplaced } from './unplaced.ts'

/** Images do not change while they are open. */
const COUNTED = new WeakMap<object, Map<string, Promise<Unplaced[]>>>()

/** Counts what the schema of the release has no place for. */
export async function unplacedOf(source: CarrySource, mapping: Mapping, signal: AbortSignal): Promise<Unplaced[]> {
  const counted = COUNTED.get(source.images) ?? new Map<string, Promise<Unplaced[]>>()
  COUNTED.set(source.images, counted)
  const once = (name: string, count: () => Promise<Unplaced[]>): Promise<Unplaced[]> => {
    const found = counted.get(name) ?? count()
    counted.set(name, found)
    return found
  }
  const out: Unplaced[] = []
  for (const table of mapping.unplaced) out.push(...(await once(table, () => rowsOf(source, table, signal))))
  for (const mapped of mapping.tables.filter(t => t.unplaced.length > 0)) {
    const name = JSON.stringify([mapped.theirs, mapped.ours, mapped.migrated, ...mapped.unplaced])
    out.push(...(await once(name, () => cellsOf(source, mapped, signal))))
  }
  return out
}

async function rowsOf(source: CarrySource, table: string, signal: AbortSignal): Promise<Unplaced[]> {
  let [own, deleted] = [0, 0]
  const known = await eachOwnRow(source, table, signal, (_, gone) => {
    if (gone) deleted++
    else own++
  })
  const { images, dialect } = source
  if (!known) {
    const [row] = await images.theirs.reading(signal, db =>
      db.query(`SELECT count(*) AS n FROM ${dialect.table(table)}`),
    )
    own = Number(row?.['n'])
  }
  const gone = deleted === 0 ? [] : [{ table, column: null, count: deleted, deleted: true as const }]
  return [{ table, column: null, count: own }, ...gone]
}

async function cellsOf(
  source: CarrySource,
  mapped: Mapping['tables'][number],
  signal: AbortSignal,
): Promise<Unplaced[]> {
  const counts = new Map(mapped.unplaced.map(c => [c, 0]))
  await eachOwn(source, mapped, signal, (_, wrote) => {
    for (const c of wrote) counts.set(c, (counts.get(c) ?? 0) + 1)
  })
  return mapped.unplaced.map(column => ({ table: mapped.theirs, column, count: counts.get(column) ?? 0 }))
}
