import type { Image, ImageName } from '../engine.ts'
import type { MappedColumn, MappedTable } from './mapping.ts'
import { nameIn } from './piece.ts'
import type { CarrySource } from './source.ts'

/**
 * The first of the table's keys that tells the rows apart in every image: no NULL, nothing twice. Empty: there is none,
 * and rows are counted.
 */
export async function keyFor(source: CarrySource, table: MappedTable, signal: AbortSignal): Promise<readonly string[]> {
  for (const key of table.keys) {
    const columns = key.map(name => table.columns.find(c => c.ours === name) as MappedColumn)
    if (await tells(source, table, columns, signal)) return key
  }
  return []
}

async function tells(
  source: CarrySource,
  table: MappedTable,
  columns: readonly MappedColumn[],
  signal: AbortSignal,
): Promise<boolean> {
  const { images, schemas, dialect } = source
  const sides: [ImageName, Image | null, string | null][] = [
    ['theirs', images.theirs, table.theirs],
    ['base', images.base, table.ours],
    ['migrated', images.migrated, table.migrated],
  ]
  for (const [side, image, name] of sides) {
    if (image === null || name === null || side === 'ours') continue
    const shape = schemas[side]?.tables[name]
    const names = columns.map(c => nameIn(c, side))
    const sure = shape !== undefined && shape.key.join('\0') === names.join('\0')
    const strict = names.every(n => shape?.columns[n]?.nullable === false)
    if (sure && strict) continue
    const list = names.map(n => dialect.quote(n))
    const empty = `SELECT 1 AS x FROM ${dialect.table(name)} WHERE ${list.map(c => `${c} IS NULL`).join(' OR ')} LIMIT 1`
    const twice = `SELECT 1 AS x FROM ${dialect.table(name)} GROUP BY ${list.join(', ')} HAVING count(*) > 1 LIMIT 1`
    const asked = [...(strict ? [] : [empty]), ...(sure ? [] : [twice])]
    const wrong = await image.reading(signal, async db => {
      for (const sql of asked) if ((await db.query(sql)).length > 0) return true
      return false
    })
    if (wrong) return false
  }
  return true
}
