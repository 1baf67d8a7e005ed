import type { Backup } from '../../core/contract.ts'
import { byText } from '../../core/order.ts'
import type { Dialect } from '../engine.ts'
import { compareSchemas } from '../schema.ts'
import { type Touched, touchedByBoth } from '../touched.ts'
import { type BackupFacts, factsIn, factsOf } from './facts.ts'
import type { Live } from './level.ts'
import { sameLevel } from './levels.ts'
import { touchedBetween } from './migrated.ts'
import type { Site } from './site.ts'

/** Migrations ran, and nobody told when they had ended: what they wrote themselves cannot be told from what users did. */
export interface Untold {
  /** What they may have written, by their statements; null: nobody can tell. */
  readonly touched: Touched | null
  /** Where nothing is ever carried forward, nothing was kept, whoever told. */
  readonly off?: boolean
}

/**
 * What ran since the backup that was restored; null: nothing. `now`: as the migrations left it. Where that backup was made right
 * before going back, what was not carried then is gone since, and nobody can tell it from what users took away. `told`: somebody
 * said that something ran.
 */
export async function untoldSince(
  site: Site,
  now: Live,
  { backup, facts: then }: Base,
  told: Backup | null,
): Promise<Untold | null> {
  if (isGoneBack(backup)) return { touched: null }
  if (!sameLevel(now.level, then.level)) return { touched: await touchedBetween(site, now, then) }
  // Without a bookkeeping only the schema can say that something ran.
  const changed =
    now.books.length === 0 &&
    compareSchemas(then.schema, now.schema).some(d => d.object === 'column' || d.object === 'table')
  return changed || told !== null ? { touched: null } : null
}

/**
 * Of these backups the one that was made right after migrating up to where the database is; null: nobody told. Where upgrades
 * came after it that migrated nothing, it is still the one: users wrote before those were told of.
 */
export function toldOf({ engine }: Site, now: Live, backups: readonly Backup[]): Backup | null {
  return toldAt(engine.dialect.kind, now.level, backups)
}

function toldAt(kind: Dialect['kind'], level: Live['level'], backups: readonly Backup[]): Backup | null {
  const sorted = inOrder(backups)
  const isHere = (b: Backup) => sameLevel(level, factsIn(b, kind)?.level)
  const at = sorted.findLastIndex(b => b.reason === 'migrated' && isHere(b))
  let told = sorted[at] ?? null
  // Without a bookkeeping every level is the same.
  if (level.tool === null) return told
  for (const backup of sorted.slice(0, Math.max(at, 0)).toReversed()) {
    const wrote = told === null ? undefined : factsIn(told, kind)?.touched
    if (wrote?.tables.length !== 0 || !isHere(backup) || isGoneBack(backup)) break
    if (backup.reason === 'migrated') told = backup
  }
  return told
}

/** The same where no migration ran after the last one that was told; null also where nobody can read what that was. */
export function toldLast(since: readonly Backup[]): Backup | null {
  const last = inOrder(since).findLast(b => b.reason === 'migrated')
  const facts = last === undefined ? null : factsOf(last)
  return facts === null ? null : toldAt(facts.kind, facts.level, since)
}

/**
 * Of the backups since a release those by which a way back to it tells what users wrote from what the migrations did: those of
 * right after migrating, and those that each of these begins with.
 */
export function tellingSince(since: readonly Backup[]): Backup[] {
  const told = since.filter(b => b.reason === 'migrated')
  const begun = new Set(told.map(b => sinceOf(factsOf(b))))
  return since.filter(b => b.reason === 'migrated' || begun.has(b.id))
}

/** The backup that the upgrade began with. */
function sinceOf(facts: BackupFacts | null): string | undefined {
  return facts?.ownWorkSince ?? facts?.touched?.since
}

interface Base {
  readonly backup: Backup
  readonly facts: BackupFacts
}

/**
 * What the migrations since the release may have written, by what was told of each upgrade since, or else by their files; null:
 * nobody can tell. `between`: the backups since, `told` among them.
 */
export async function touchedSince(
  site: Site,
  now: Live,
  base: Base,
  told: Backup,
  between: readonly Backup[],
): Promise<Touched | null> {
  const { kind } = site.engine.dialect
  if (factsIn(told, kind)?.ownWorkSince === base.backup.id || isGoneBack(base.backup)) return null
  return chained(kind, told, base, inOrder(between)) ?? touchedBetween(site, now, base.facts)
}

/** An upgrade begins where the one before it ended: what is told of all of them is told since the release. */
function chained(kind: Dialect['kind'], told: Backup, base: Base, between: readonly Backup[]): Touched | null {
  const facts = factsIn(told, kind)
  const wrote = facts?.touched
  if (facts === null || wrote === undefined) return null
  if (wrote.since === base.backup.id) return wrote
  const at = between.findIndex(b => b.id === wrote.since)
  const begun = at < 0 ? null : factsIn(between[at] as Backup, kind)
  if (begun === null || begun.level.tool === null) return null
  for (const earlier of between.slice(0, at).toReversed()) {
    if (isGoneBack(earlier) || !sameLevel(begun.level, factsIn(earlier, kind)?.level)) return null
    if (earlier.reason !== 'migrated') continue
    const before = chained(kind, earlier, base, between)
    return before === null ? null : touchedByBoth(before, wrote, [base.facts.schema, begun.schema, facts.schema])
  }
  return sameLevel(begun.level, base.facts.level) ? wrote : null
}

/**
 * Users wrote for the time of several upgrades, of which only the last was told, and nobody can tell what these wrote: there are
 * captures between, or were before they were pruned.
 */
export function isUntoldBefore({ engine }: Site, told: Backup, base: Backup, between: readonly Backup[]): boolean {
  const since = sinceOf(factsIn(told, engine.dialect.kind)) ?? base.id
  return since !== base.id || between.some(b => b.reason === 'capture' && b.createdAt < told.createdAt)
}

/** The database was about to be taken back: what came before it is of another story. */
function isGoneBack({ reason }: Backup): boolean {
  return reason === 'pre-rollback'
}

function inOrder(backups: readonly Backup[]): Backup[] {
  return backups.toSorted((a, b) => byText(a.createdAt, b.createdAt))
}
