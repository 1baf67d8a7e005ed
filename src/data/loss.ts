import type { Loss } from '../core/contract.ts'
import type { SchemaDifference } from './schema.ts'

/** Something that exists now, did not at the baseline, and goes with everything in it when the schema goes back. */
export interface AtRisk {
  readonly table: string
  /** null: the whole table. */
  readonly column: string | null
}

/** What undoing these differences destroys. Changed types and constraints are no objects of their own: see `notRestored`. */
export function atRisk(differences: readonly SchemaDifference[]): AtRisk[] {
  return differences
    .filter(d => d.is === 'added' && (d.object === 'table' || d.object === 'column'))
    .map(({ table, member }) => ({ table, column: member }))
}

/** What the release took away: undoing its migrations brings the place back, not the content. */
export function notRestored(differences: readonly SchemaDifference[]): SchemaDifference[] {
  return differences.filter(d => d.is === 'gone' && (d.object === 'table' || d.object === 'column'))
}

/** The loss in the words of the plan; null where nothing is in it. */
export function lossOf(item: AtRisk, count: number, note: string): Loss | null {
  if (count === 0) return null
  const what = item.column === null ? item.table : `${item.table}.${item.column}`
  return { what, count, unit: item.column === null ? 'rows' : 'values', since: null, note }
}
