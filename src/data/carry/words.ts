/** Kinds of conflicts: what cannot be carried without somebody's word. Never guessed. */
export const KINDS = [
  /** A row of this key is in ours already and is not the same. */
  'exists',
  /** The row that was changed is not in ours. */
  'row-missing',
  /** The cell, or the row that was deleted, was changed in ours too. */
  'changed',
  /** The migration wrote the cell anew, and a user changed it after that: it may mean something else in the schema of the release. */
  'rewritten',
  /** It changed between the backup and the end of migrating: the migration may have written it, or a user. */
  'ambiguous',
  'unique',
  'foreign-key',
  'check',
  'not-null',
  /** The value does not fit the type of the old column. */
  'type',
  /** The schema of the release needs a value that there was no column for right before the restore. */
  'column-gone',
  /** Deleting the row takes or changes rows of ours that theirs never deleted. */
  'cascade',
] as const
export type Kind = (typeof KINDS)[number]

/** How kinds stand in the tables of the merge; 0: no conflict. */
export function codeOf(kind: Kind): number {
  return KINDS.indexOf(kind) + 1
}

export function kindOf(code: number): Kind {
  const kind = KINDS[code - 1]
  if (kind === undefined) throw new Error(`no kind of conflict has the number ${code}`)
  return kind
}

/** What is done to a row of ours. */
export const INSERT = 1
export const UPDATE = 2
export const DELETE = 3

export const ACTIONS: Readonly<Record<number, 'insert' | 'update' | 'delete'>> = {
  [INSERT]: 'insert',
  [UPDATE]: 'update',
  [DELETE]: 'delete',
}

/**
 * `cell`: of a row that was changed on both sides, the cells that nobody else changed are carried. `row`: such a row is
 * left as it is. `report`: nothing is carried.
 */
export const MODES = ['cell', 'row', 'report'] as const
export type Mode = (typeof MODES)[number]

/**
 * The database said no to a row: now, or to an earlier process (`before`; `again`: by the very words that hold). `orphan`: it
 * came, and refers to nothing.
 */
export const REFUSED = { no: 0, now: 1, orphan: 2, before: 3, again: 4 } as const

/** Whose word counts where both sides say something; `cascade`: a deletion may take others with it; `set`: a
 * person gave values of their own. */
export const TAKE = { none: 0, ours: 1, theirs: 2, cascade: 3, set: 4 } as const

/** Rows, and rows with cells, that wait for a word, of all tables. */
export function conflictsIn(
  tables: readonly { readonly conflicts: Readonly<Partial<Record<Kind, number>>> }[],
): number {
  return tables.reduce((sum, t) => sum + Object.values(t.conflicts).reduce((a, b) => a + b, 0), 0)
}
