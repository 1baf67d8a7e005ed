import type { Loss } from '../core/contract.ts'
import { sameJson } from '../core/json.ts'
import { nameOf, type Rename } from './renames.ts'
import type { SchemaDifference } from './schema.ts'

/** Something that exists now, did not at the baseline, and goes with everything in it when the schema goes back. */
export interface AtRisk {
  readonly table: string
  /** null: the whole table. */
  readonly column: string | null
}

/**
 * What undoing these differences destroys; what was renamed comes back under its old name. Changed types and constraints
 * are no objects of their own: see `notRestored`.
 */
export function atRisk(differences: readonly SchemaDifference[], renames: readonly Rename[] = []): AtRisk[] {
  return differences
    .filter(d => d.is === 'added' && (d.object === 'table' || d.object === 'column'))
    .map(placeOf)
    .filter(place => !renames.some(r => sameJson(r.now, place)))
}

/** What the release took away: undoing its migrations brings the place back, not the content. */
export function notRestored(
  differences: readonly SchemaDifference[],
  renames: readonly Rename[] = [],
): SchemaDifference[] {
  return differences
    .filter(d => d.is === 'gone' && (d.object === 'table' || d.object === 'column'))
    .filter(d => !renames.some(r => sameJson(r.was, placeOf(d))))
}

function placeOf({ table, member }: SchemaDifference): AtRisk {
  return { table, column: member }
}

/** The loss in the words of the plan; null where nothing is in it. `since`: ISO time of the oldest of it. */
export function lossOf(item: AtRisk, count: number, note: string, since: string | null = null): Loss | null {
  if (count === 0) return null
  return { what: nameOf(item), count, unit: item.column === null ? 'rows' : 'values', since, note }
}
