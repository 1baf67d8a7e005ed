import type { Dialect, Image, ImageName } from '../engine.ts'
import type { MappedColumn, MappedTable } from './mapping.ts'
import { nameIn, typeIn } from './piece.ts'
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
    const asOurs = columns.every(c => !isRecast(dialect, typeIn(c, side), c.type))
    if (sure && strict && asOurs) continue
    const said = columns.map((c, i) => sayAsOurs(dialect, dialect.quote(names[i] ?? ''), typeIn(c, side), c.type))
    const list = said.map(({ value }) => value)
    const misfits = said.flatMap(({ fits }) => (fits === null ? [] : [`NOT ${fits}`]))
    const rows = `SELECT 1 AS x FROM ${dialect.table(name)}`
    const empty = `${rows} WHERE ${[...names.map(n => `${dialect.quote(n)} IS NULL`), ...misfits].join(' OR ')} LIMIT 1`
    const twice = `${rows} GROUP BY ${list.join(', ')} HAVING count(*) > 1 LIMIT 1`
    const plain = misfits.length === 0
    const asked = [...(strict && plain ? [] : [empty]), ...(sure && plain ? [] : [twice])]
    const wrong = await image.reading(signal, async db => {
      for (const sql of asked) if ((await db.query(sql)).length > 0) return true
      return false
    })
    if (wrong) return false
  }
  return true
}

/** Keys that are said in another way than they are stored may fall together, or not be sayable at all. */
function sayAsOurs(dialect: Dialect, raw: string, from: string, to: string): { value: string; fits: string | null } {
  if (!isRecast(dialect, from, to)) return { value: raw, fits: null }
  return dialect.convert(raw, from, to) ?? { value: raw, fits: '1 = 0' }
}

function isRecast(dialect: Dialect, from: string, to: string): boolean {
  return from !== to && dialect.convert('v', from, to)?.value !== 'v'
}
