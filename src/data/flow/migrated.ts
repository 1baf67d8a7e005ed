import type { Backup, BackupStore, MigratedAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { sameJson, toJson } from '../../core/json.ts'
import { byText } from '../../core/order.ts'
import type { Dialect } from '../engine.ts'
import { type Touched, touchedBy } from '../touched.ts'
import { type MigratedFacts, makeBackup } from './backup.ts'
import { type BackupFacts, factsIn } from './facts.ts'
import type { Live } from './level.ts'
import { gapsBetween, moved, sameLevel } from './levels.ts'
import type { Site } from './site.ts'
import { readNow } from './under-way.ts'
import { tasksFor } from './undoing.ts'
import { waysBeside, waysUp } from './ways-back.ts'
import { wroteBy } from './wrote.ts'

/** Backs the database up as the migrations left it. Not where nothing is ever carried forward. */
export async function keepMigrated(site: Site, act: MigratedAct): Promise<Backup | null> {
  if (site.settings.carryForward === 'off') return null
  const live = await site.engine.reading(act.signal, db => readNow(site, db, act.signal))
  if (live.unfinished.length > 0) throw halfDone(site, live.unfinished)
  const known = await migratedBackup(site.engine.dialect.kind, act.backups, site.ctx.component, act.upgrade)
  // Told twice: what users wrote in between must not be taken for the migrations' own.
  const facts = known === null ? null : factsIn(known, site.engine.dialect.kind)
  if (known !== null && sameLevel(live.level, facts?.level)) {
    if (act.wrote !== undefined) refuseOtherWord(site, facts, live, act.wrote)
    return known
  }
  const about = {
    component: site.ctx.component,
    reason: 'migrated',
    release: act.release,
    idem: `migrated.${act.upgrade}.${site.ctx.component}`,
  } as const
  const begun = (await act.backups.list(site.ctx.component)).find(b => b.reason === 'capture')
  if (begun === undefined) return makeBackup(site, act, about, { upgrade: act.upgrade })
  const more = act.usersAway ? { ownWorkSince: begun.id } : await touchedSince(site, live, begun, act.wrote)
  return makeBackup(site, act, about, { upgrade: act.upgrade, ...more })
}

/** What the migrations since a backup may have written, by somebody's word, else by their files; nothing where nobody can tell. */
async function touchedSince(
  site: Site,
  live: Live,
  begun: Backup,
  wrote: readonly string[] | undefined,
): Promise<MigratedFacts> {
  const { kind } = site.engine.dialect
  const facts = factsIn(begun, kind)
  if (facts === null) return {}
  const schemas = [facts.schema, live.schema]
  if (wrote !== undefined) return { touched: { since: begun.id, ...wroteBy(wrote, schemas, site.engine.name) } }
  const touched = await touchedBetween(site, live, facts)
  return touched === null ? {} : { touched: { since: begun.id, ...touched } }
}

/** What the statements of the migrations between two levels may have written; null: nobody can tell. */
export async function touchedBetween(
  site: Site,
  live: Live,
  then: Pick<BackupFacts, 'level' | 'schema'>,
): Promise<Touched | null> {
  const scripts = await scriptsSince(site, live, then)
  return scripts === null ? null : touchedBy(scripts, site.engine.dialect.kind, [then.schema, live.schema])
}

/** The SQL of what was applied since; null: nobody can tell. */
async function scriptsSince(site: Site, live: Live, { level }: Pick<BackupFacts, 'level'>): Promise<string[] | null> {
  // Without a bookkeeping nothing says that nothing ran.
  if (live.level.tool === null) return null
  const { gaps, untold } = gapsBetween(level, live.level)
  const [task, ...more] = tasksFor(site.settings.migrations, live, moved(gaps))
  if (untold.length + more.length > 0) return null
  const beside = await waysBeside(site, tasksFor(site.settings.migrations, live, gaps))
  if (task === undefined || beside === null) return beside
  // Of a tool that keeps its head only, those between are not known one by one.
  const known = task.gap.missing.length === 0 && !task.gap.headOnly
  const ups = known ? await waysUp(site, task) : null
  return ups === null ? null : [...ups, ...beside]
}

/** The word belongs to the moment; what was kept then knows it, and is not made again when users have written. */
function refuseOtherWord(site: Site, facts: BackupFacts | null, live: Live, wrote: readonly string[]): void {
  const { tables, columns } = wroteBy(wrote, [live.schema], site.engine.name)
  const { touched } = facts ?? {}
  if (touched !== undefined && sameJson(toJson([tables, columns]), toJson([touched.tables, touched.columns]))) return
  throw new BackoutError({
    code: 'migrated_already',
    what: `The migrations of ${site.engine.name} were noted at ${facts?.at} already, without these words on what they wrote`,
    next: 'settle what is ambiguous when data is carried forward: `backout data plan --settle ambiguous=theirs`',
    exit: 'usage',
  })
}

function halfDone({ engine }: Site, unfinished: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'migration_half_done',
    what: `The migrations of ${engine.name} have not ended, so nothing was kept of what they did`,
    cause: unfinished.join('; '),
    next: 'say `backout upgrade migrated` once they have',
    exit: 'moved',
  })
}

/** The backup that was made right after the migrations of this upgrade; null: nobody told of them. */
export async function migratedBackup(
  kind: Dialect['kind'],
  backups: BackupStore,
  component: string,
  upgrade: string,
): Promise<Backup | null> {
  const all = await backups.list(component)
  const own = all.filter(b => b.reason === 'migrated' && factsIn(b, kind)?.upgrade === upgrade)
  return own.toSorted((a, b) => byText(a.createdAt, b.createdAt)).at(-1) ?? null
}
