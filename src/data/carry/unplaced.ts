import type { Reader } from '../engine.ts'
import { OBJECTS } from '../objects.ts'
import type { ColumnShape, TableShape } from '../schema.ts'
import type { Mapping } from './mapping.ts'
import type { CarrySource } from './source.ts'

/** Something of theirs that has no place in ours. */
export interface Unplaced {
  /** In theirs. */
  readonly table: string
  /** null: the whole table. */
  readonly column: string | null
  /** Rows, or values that are unlike the default. */
  readonly count: number
}

/** For people: why it was not carried, behind "it has". */
export function whyUnplaced({ table }: Unplaced): string {
  return table === OBJECTS
    ? 'more than one writer: the migration too, or somebody since the restore'
    : 'no place in the schema of the release'
}

/** Counts what the schema of the release has no place for. */
export async function unplacedOf(source: CarrySource, mapping: Mapping, signal: AbortSignal): Promise<Unplaced[]> {
  const { images, schemas, dialect } = source
  return images.theirs.reading(signal, async db => {
    const out: Unplaced[] = []
    for (const table of mapping.unplaced) {
      out.push({ table, column: null, count: await count(db, `SELECT count(*) AS n FROM ${dialect.table(table)}`) })
    }
    for (const { theirs, unplaced } of mapping.tables) {
      for (const column of unplaced) {
        const shape = schemas.theirs.tables[theirs]?.columns[column]
        const where = holdsSomething(source, column, shape)
        const sql = `SELECT count(*) AS n FROM ${dialect.table(theirs)} WHERE ${where}`
        out.push({ table: theirs, column, count: await count(db, sql) })
      }
    }
    return out
  })
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

async function count(db: Reader, sql: string): Promise<number> {
  const [row] = await db.query(sql)
  return Number(row?.['n'])
}
