import type { Backup } from '../../core/contract.ts'
import { compareSchemas } from '../schema.ts'
import type { Touched } from '../touched.ts'
import { type BackupFacts, factsIn } from './facts.ts'
import type { Live } from './level.ts'
import { sameLevel } from './levels.ts'
import { touchedBetween } from './migrated.ts'
import type { Site } from './site.ts'

/** Migrations ran, and nobody told when they had ended: what they wrote themselves cannot be told from what users did. */
export interface Untold {
  /** What they may have written, by their statements; null: nobody can tell. */
  readonly touched: Touched | null
}

/** What ran since the backup of the release; null: nothing. `now`: as the migrations left it. */
export async function untoldSince(
  site: Site,
  now: Live,
  then: Pick<BackupFacts, 'level' | 'schema'>,
): Promise<Untold | null> {
  if (!sameLevel(now.level, then.level)) return { touched: await touchedBetween(site, now, then) }
  // Without a bookkeeping only the schema can say that something ran.
  const changed =
    now.books.length === 0 &&
    compareSchemas(then.schema, now.schema).some(d => d.object === 'column' || d.object === 'table')
  return changed ? { touched: null } : null
}

/** The latest of these backups that was made right after migrating up to where the database is; null: nobody told. */
export function toldOf(site: Site, now: Live, backups: readonly Backup[]): Backup | null {
  const told = backups.filter(b => {
    const facts = b.reason === 'migrated' ? factsIn(b, site.engine.dialect.kind) : null
    return facts !== null && sameLevel(now.level, facts.level)
  })
  return told.toSorted((a, b) => a.createdAt.localeCompare(b.createdAt)).at(-1) ?? null
}
