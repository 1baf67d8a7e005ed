import type { Whole } from './checks.ts'
import type { TablePlan } from './plan.ts'
import type { CarrySource } from './source.ts'

/** For the plan, where nobody can tell whether it was the migrations or users. */
export function ambiguousNote({ untold }: CarrySource, tables: readonly TablePlan[]): string[] {
  const rows = tables.reduce((sum, t) => sum + (t.conflicts.ambiguous ?? 0), 0)
  if (rows === 0) return []
  if (untold !== null)
    return [
      `${rows} rows are not as they were at the release, by the migrations or by users, and nobody can tell which: they stay as they were at the release unless somebody says that it was users: --settle ambiguous=theirs, or TABLE:ambiguous=theirs`,
    ]
  return [
    `${rows} rows changed between the backup and the end of migrating, by the migration or by users, and nobody can tell which: if no user could write then, --settle ambiguous=ours`,
  ]
}

/** What persons have to know of a plan before they say yes. */
export function notesOf({ untold, schemas, doubts }: CarrySource, { pieces }: Whole): string[] {
  const notes: string[] = [...doubts]
  if (untold !== null) {
    const written = untold.touched === null ? 'what they may have written' : 'what their statements write'
    const why = untold.off
      ? 'carryForward is off, so that nothing was kept when the migrations had ended'
      : 'nobody told when the migrations had ended'
    notes.push(`${why}: ${written} in rows of the release is ambiguous`)
  }
  for (const { table, key, anew } of pieces) {
    notes.push(...anew.notes, ...anew.guessed)
    if (key.length === 0)
      notes.push(`${table.ours} has no key that tells its rows apart: rows are counted, not followed`)
    if (table.theirs !== table.ours) notes.push(`${table.ours} was called ${table.theirs} right before the restore`)
    for (const c of table.columns) {
      if (c.ours !== c.theirs) notes.push(`${table.ours}.${c.ours} was called ${c.theirs} right before the restore`)
    }
    for (const name of table.gone) {
      const stays = table.needed.includes(name)
        ? 'rows that came since the release cannot be carried'
        : 'rows that came since the release get its default'
      notes.push(`${table.ours}.${name} was not there any more right before the restore: ${stays}`)
    }
  }
  if (Object.keys(schemas.base.tables).length === 0) notes.push('there was no table at the release')
  return notes
}
