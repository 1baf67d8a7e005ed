import { BackoutError } from '../../core/errors.ts'
import { nameOf } from '../renames.ts'
import { type Kept, type NotBack, oldName, shortfall } from './came-back.ts'
import type { Site } from './site.ts'

/** Says what is not back, how much of it, where it still is, and how it is brought back. */
export function notBackError(site: Site, migration: string, kept: Kept, missing: readonly NotBack[]): BackoutError {
  const what = missing.map(({ rename: { was, now } }) => `${nameOf(was)} does not hold what ${nameOf(now)} held`)
  const mends = missing.flatMap(n => mend(site, n, kept))
  const [first] = mends
  const how =
    first === undefined
      ? 'bring it back from there'
      : `bring it back in ${first.where}: ${mends.flatMap(m => m.sql).join('; ')}`
  const names = missing.map(n => nameOf(n.rename.now)).join(', ')
  const lies = first === undefined ? kept.backup.dir : first.copy
  return new BackoutError({
    code: 'column_not_back',
    what: `After undoing ${migration}, ${what.join(', and ')}`,
    cause: `${missing.map(shortfall).join('\n')}\nthe content is in the backup ${kept.backup.id} (${lies}: ${names})`,
    next: `${how}; then resume the run. Or take the rung \`restore\``,
    exit: 'failed',
  })
}

/** Statements for a column whose place is there; what else is missing is beyond one line. */
function mend({ engine }: Site, { rename, gone, nowhere }: NotBack, { backup, facts }: Kept) {
  const { was, now } = rename
  if (nowhere || gone !== 0 || was.column === null || now.column === null) return []
  const shape = facts.schema.tables[now.table]
  const number = shape === undefined ? null : (engine.dialect.rowNumber?.(now.table, shape) ?? null)
  const key = shape !== undefined && shape.key.length > 0 ? shape.key : number === null ? [] : [number]
  const found = engine.mending?.(backup, {
    now: { table: was.table, column: was.column, key: key.map(c => oldName(facts, now.table, c)) },
    kept: { table: now.table, column: now.column, key },
  })
  return found === undefined ? [] : [found]
}
