import type { Dialect, Reader } from '../engine.ts'
import { OBJECTS } from '../objects.ts'
import type { ColumnShape, TableShape } from '../schema.ts'
import type { CarrySource } from './source.ts'

/** Something of theirs that has no place in ours. */
export interface Unplaced {
  /** In theirs. */
  readonly table: string
  /** null: the whole table. */
  readonly column: string | null
  /** Rows, or values that are unlike the default; where it is known, of these what users wrote, and not the migration. */
  readonly count: number
  /** Rows that the migration had put there, and that users deleted. Left out: others. */
  readonly deleted?: true
}

/** For people: "3 rows of gifts". */
export function nameUnplaced({ table, column, count, deleted }: Unplaced): string {
  const one = count === 1
  if (column !== null) return `${count} ${one ? 'value' : 'values'} of ${table}.${column}`
  return `${count} ${deleted ? 'deleted ' : ''}${one ? 'row' : 'rows'} of ${table}`
}

/** For people: why it was not carried, behind "it has". */
export function whyUnplaced({ table }: Unplaced): string {
  return table === OBJECTS
    ? 'more than one writer: the migration too, or somebody since the restore'
    : 'no place in the schema of the release'
}

/** True where the column holds what a roll-forward alone would not bring back. */
export function holdsSomething({ dialect }: CarrySource, column: string, shape: ColumnShape | undefined): string {
  const name = dialect.quote(column)
  const fixed = dialect.fixedDefault(shape?.default ?? null, shape?.type ?? '')
  return fixed === null ? `${name} IS NOT NULL` : dialect.differs(name, fixed)
}

/** Columns of theirs that hold something of their own. */
export function plainColumns(shape: TableShape): string[] {
  return Object.keys(shape.columns).filter(c => shape.columns[c]?.generated === false)
}

/** Column -> its default as a row holds it: another release may have another one, and no type may be left to say this one in. */
export async function defaultsIn(
  db: Reader,
  dialect: Dialect,
  table: string,
  shape: TableShape,
  columns: readonly string[],
): Promise<Record<string, string | null>> {
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
}
