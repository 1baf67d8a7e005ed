import type { Dialect } from '../engine.ts'
import type { MappedColumn } from './mapping.ts'
import type { Ground, Piece } from './piece.ts'

/**
 * Columns of every work table: `n` numbers the rows in the order of the key; `act` what is to be done; `op` 1 where ours
 * has the row; `mask` one letter a column (see `letter`); `kind` the conflict that stops the whole row, `cell` one that
 * stops some of its cells; `take` whose word a person said counts; `held` in quarantine; `wait` a row of ours is in the way
 * that will move; `refused` the database said no; `done` nothing is left to do: `carried` by an earlier process, `applied` by this one, or ours had it.
 */
export const STATE = '0 AS held, 0 AS take, 0 AS wait, 0 AS refused, 0 AS carried, 0 AS applied'

/** Cells of one column as they are compared. */
export interface Cell {
  readonly column: MappedColumn
  readonly theirs: string
  readonly base: string
  readonly ours: string
  readonly migrated: string | null
  /** Theirs in the old type, and when it can be. */
  readonly value: string
  readonly fits: string | null
}

export function cellsOf(ground: Ground, piece: Piece): Cell[] {
  return piece.table.columns.map(column => {
    const theirs = piece.column('t', column.theirs)
    const known = ground.migrated && piece.table.migrated !== null && column.migrated !== null
    return {
      column,
      theirs,
      base: piece.column('b', column.base),
      ours: piece.column('o', column.ours),
      migrated: known ? piece.column('m', column.migrated ?? '') : null,
      ...piece.converted(column, theirs, column.theirType),
    }
  })
}

/** A value that says something: a zero stays one in any unit, and many a row has none, nothing, or no. */
export function isTelling(dialect: Dialect, value: string, type: string): string {
  return tells(dialect.text(value, type))
}

/** The same of the exact text of one. */
export function tells(text: string): string {
  return `coalesce(replace(replace(${text}, '0', ''), '.', ''), '') NOT IN ('', '''''', 'false')`
}

/** SQL: how many of the conditions are true. */
export function howMany(conditions: readonly string[]): string {
  return `(${['0', ...conditions.map(c => `CASE WHEN ${c} THEN 1 ELSE 0 END`)].join(' + ')})`
}

/** A value right before the restore is not what base has. */
export function unlikeBase(ground: Ground, piece: Piece, cell: Cell, raw: string, type: string): string {
  const { value, fits } = piece.converted(cell.column, raw, type)
  const differs = ground.dialect.differs(value, cell.base, cell.column.type === type ? type : undefined)
  if (fits === null) return differs
  const texts = ground.dialect.text(raw, type)
  const other = ground.dialect.differs(texts, ground.dialect.text(cell.base, cell.column.type))
  return `(CASE WHEN ${fits} THEN ${differs} ELSE ${other} END)`
}
