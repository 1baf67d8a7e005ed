import { eachBeside, rowOf, type Side, selectOf } from './beside.ts'
import type { ArchivedRow } from './lines.ts'
import type { MappedTable } from './mapping.ts'
import type { CarrySource } from './source.ts'
import { leftBy, sameKey, type Then, thenOf } from './then.ts'
import { defaultsIn, holdsSomething, plainColumns } from './unplaced.ts'

/** A row of theirs, the columns of it that users wrote, and what the migration had left in it; null: nothing, or nobody can tell. */
type Each = (row: ArchivedRow, wrote: readonly string[], then: ArchivedRow['values'] | null) => void | Promise<void>

export interface Own {
  /** How many rows hold just what the migration had left. */
  readonly left: number
  readonly then: Then | null
}

/**
 * Rows with cells that users wrote, in columns that the schema of the release has no place for: what is unlike the default, or, where it
 * is known, unlike what the migration had left there, also where it is the default again.
 */
export async function eachOwn(source: CarrySource, mapped: MappedTable, signal: AbortSignal, each: Each): Promise<Own> {
  const { images, schemas, dialect } = source
  const shape = schemas.theirs.tables[mapped.theirs]
  if (shape === undefined) return { left: 0, then: null }
  const where = mapped.unplaced.map(c => `(${holdsSomething(source, c, shape.columns[c])})`).join(' OR ')
  // Without a key the whole row says where it belongs.
  const columns = shape.key.length > 0 ? mapped.unplaced : plainColumns(shape)
  const theirs: Side = { image: images.theirs, table: mapped.theirs, shape, columns, where }
  const usual = await images.theirs.reading(signal, db => defaultsIn(db, dialect, theirs.table, shape, columns))
  const then = await thenOf(source, mapped, signal)
  const wroteIn = ({ values }: ArchivedRow, there: ArchivedRow['values'] | null) =>
    mapped.unplaced.filter(c => {
      const known = there !== null && then?.columns.includes(c) === true
      return (values[c] ?? null) !== (known ? leftBy(then, c, there[c]) : (usual[c] ?? null))
    })
  const thereThen = (there: ArchivedRow['values'] | null) =>
    then === null || there === null ? null : Object.fromEntries(then.columns.map(c => [c, leftBy(then, c, there[c])]))
  let left = 0
  const look = async (row: ArchivedRow, there: ArchivedRow['values'] | null) => {
    const wrote = wroteIn(row, there)
    if (wrote.length === 0) left++
    else await each(row, wrote, thereThen(there))
  }
  if (then === null || then.many === 0) {
    await images.theirs.reading(signal, db =>
      db.each(selectOf(dialect, theirs, []), [], found => look(rowOf(found, theirs), null)),
    )
    return { left, then }
  }
  await eachBeside(dialect, theirs, then, signal, look)
  await eachSetBack(source, { ...theirs, where: `NOT (${where})` }, then, signal, async (row, there) => {
    const wrote = wroteIn(row, there)
    if (wrote.length > 0) await each(row, wrote, thereThen(there))
  })
  return { left, then }
}

/** Rows of theirs that hold nothing any more, where the migration had left something. */
async function eachSetBack(
  { dialect }: CarrySource,
  empty: Side,
  then: Then,
  signal: AbortSignal,
  each: (row: ArchivedRow, there: ArchivedRow['values']) => Promise<void>,
): Promise<void> {
  const many = await empty.image.reading(signal, db =>
    db.query(`SELECT count(*) AS n FROM ${dialect.table(empty.table)} WHERE ${empty.where}`),
  )
  if (Number(many[0]?.['n']) <= then.many) {
    return eachBeside(dialect, empty, then, signal, async (row, there) => {
      if (there !== null) await each(row, there)
    })
  }
  return eachBeside(dialect, then, empty, signal, async ({ key, values: there }, values) => {
    if (values !== null) await each({ key, values }, there)
  })
}

/** A whole table that the migration made and put rows into: each of theirs that users made or changed, and each that they deleted. */
export async function eachOwnRow(
  source: CarrySource,
  table: string,
  signal: AbortSignal,
  each: (row: ArchivedRow, deleted: boolean) => void | Promise<void>,
): Promise<boolean> {
  const { images, schemas, dialect } = source
  const [shape, was] = [schemas.theirs.tables[table], schemas.migrated?.tables[table]]
  if (images.migrated === null || shape === undefined || was === undefined) return false
  if (shape.key.length === 0 || !sameKey(shape, was)) return false
  const columns = plainColumns(shape).filter(c => was.columns[c]?.type === shape.columns[c]?.type)
  const theirs: Side = { image: images.theirs, table, shape, columns, where: null }
  const then: Side = { image: images.migrated, table, shape: was, columns, where: null }
  await eachBeside(dialect, theirs, then, signal, async (row, there) => {
    if (there === null || columns.some(c => row.values[c] !== there[c])) await each(row, false)
  })
  await eachBeside(dialect, then, theirs, signal, async (row, there) => {
    if (there === null) await each(row, true)
  })
  return true
}
