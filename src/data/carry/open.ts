import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { idemOf } from '../../core/executor/attempt.ts'
import type { Beside, Image, Images, Job, Merger } from '../engine.ts'
import { fingerprintHash } from '../fingerprint.ts'
import { type BackupFacts, factsIn } from '../flow/facts.ts'
import { type Live, readLive } from '../flow/level.ts'
import { holdsLevel } from '../flow/levels.ts'
import { touchedBetween } from '../flow/migrated.ts'
import { alikeFor, renamesOver } from '../flow/renames.ts'
import { markOf } from '../flow/restore.ts'
import type { Level } from '../flow/settings.ts'
import type { Base, Site } from '../flow/site.ts'
import { toldOf, touchedSince, type Untold, untoldSince } from '../flow/untold.ts'
import { alikeTables, type Doubt, inTheirTables, isTable, nameOf, type Rename } from '../renames.ts'
import { compareSchemas, type SchemaShape } from '../schema.ts'
import { type Moved, movedTables } from '../touched-renames.ts'
import { ROLLED } from './errors.ts'
import type { Schemas } from './mapping.ts'
import type { ReplaySource } from './replay.ts'
import type { CarrySource } from './source.ts'
import { readOutcome } from './state.ts'
import type { OpenedSource } from './step.ts'

/** What a database offers to those who carry its data forward. */
export interface CarryTarget {
  /**
   * Opens what is needed after a restore by this run. `base`: the backup that was restored.
   * Throws `nothing_restored`, `backup_altered`, `carrying_unknown`.
   */
  carrying(run: string, base: string, job: Job): Promise<OpenedSource>
  /** Opens the live database for putting back what was archived in this run. Throws `carrying_unknown`. */
  replaying(run: string, job: Job): Promise<ReplaySource>
}

export function carryTarget(site: Site): CarryTarget {
  return {
    carrying: (run, base, job) => carrying(site, run, base, job),
    replaying: (run, job) => replaying(site, run, job),
  }
}

export function carriesForward(target: object): target is CarryTarget {
  return 'carrying' in target && 'replaying' in target
}

async function carrying(site: Site, run: string, baseId: string, job: Job): Promise<OpenedSource> {
  const { engine, ctx } = site
  const merging = mergingOf(engine)
  const opened: { image: Image; drop?: () => Promise<void> }[] = []
  const close = async () => {
    for (const { image, drop } of opened) {
      await drop?.()
      await image[Symbol.asyncDispose]()
    }
  }
  try {
    const mark = markOf({ idem: idemOf(run, `${ctx.component}/restore/swap`) })
    const base = await whole(site, baseId, job)
    const theirs = await theirsOf(site, run, mark, opened, job)
    const now = await theirs.reading(job.signal, db => readLive(site, db, base.facts.level))
    const between = await backupsBetween(site, run, base.backup)
    const told = toldOf(site, now, between)
    const lost = told !== null && (await ctx.backups.check(told.id, job.signal)).length > 0 ? told : null
    const migrated = lost === null ? told : null
    const images: Images = {
      theirs,
      base: await look(site, base.backup, `${mark}-base`, opened, job),
      migrated: migrated === null ? null : await look(site, migrated, `${run}.${migrated.id}`, opened, job),
    }
    const schemas = await schemasOf(site, images, job)
    const wrote = told === null ? null : await touchedSince(site, now, base, told, between)
    const touched = migrated === null ? null : wrote
    const moved = wrote?.moved ?? (await movedSince(site, now, base))
    const renamed = await renamesOf(site, images, schemas, { ...base.facts, touched, moved }, job)
    const live = await engine.reading(job.signal, db => readLive(site, db, base.facts.level))
    const movedOn = holdsLevel(live.level, base.facts.level) ? otherNow(site, schemas) : migratedNow(site)
    const source: CarrySource = {
      component: ctx.component,
      run,
      dialect: engine.dialect,
      dir: dirOf(site, run),
      images,
      schemas,
      touched,
      // What was told of it holds, where what it left cannot be looked at any more.
      untold:
        migrated !== null
          ? null
          : wrote !== null
            ? { touched: wrote }
            : sayingOff(site, await untoldSince(site, now, base, lost)),
      ownWork: migrated !== null && factsIn(migrated, engine.dialect.kind)?.ownWorkSince === base.backup.id,
      renames: renamed.renames,
      moved: movedOn,
      blind: base.facts.level.tool === null || live.level.tool === null,
      doubts: [
        ...(movedOn === null ? [] : [movedOn]),
        ...(lost === null ? [] : [alteredText(lost)]),
        ...renamed.doubts,
      ],
      merging: given => merging(images, given),
      result: async given => ({ base: base.backup.id, data: await dataOf(site, base.facts.level, given) }),
    }
    return { ...source, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}

function sayingOff({ settings }: Site, untold: Untold | null): Untold | null {
  return untold === null || settings.carryForward !== 'off' ? untold : { ...untold, off: true }
}

async function replaying(site: Site, run: string, job: Job): Promise<ReplaySource> {
  const merging = mergingOf(site.engine)
  const { schema } = await site.engine.reading(job.signal, db => readLive(site, db))
  const { component } = site.ctx
  return { component, run, dialect: site.engine.dialect, dir: dirOf(site, run), schema, merging: g => merging(null, g) }
}

function dataOf(site: Site, base: Level, { signal }: Job): Promise<string> {
  return site.engine.reading(signal, async db => {
    const { schema } = await readLive(site, db, base)
    return fingerprintHash(await db.fingerprint(schema))
  })
}

/** Whether a backup was restored, and what had come since was carried into it, and this is the data that came of it. */
export async function isCarried(site: Site, base: string, data: string): Promise<boolean> {
  if (site.settings.carryForward !== 'apply') return false
  const folder = join(site.ctx.stateDir, 'carry')
  for (const run of await readdir(folder).catch(() => [])) {
    // What cannot be read is no proof.
    const kept = await readOutcome(join(folder, run)).catch(() => null)
    if (kept?.proof.ok === true && kept.result?.base === base && kept.result.data === data) return true
  }
  return false
}

function dirOf({ ctx }: Site, run: string): string {
  return join(ctx.stateDir, 'carry', run)
}

function mergingOf(engine: Base): (images: Images | null, job: Job) => Promise<Merger> {
  const { merging } = engine
  if (merging !== undefined) return (images, job) => merging.call(engine, images, job)
  throw new BackoutError({
    code: 'carrying_unknown',
    what: `Backout cannot carry data forward into ${engine.name}`,
    next: 'bring it back by hand from the pre-rollback backup: backout releases --all',
    exit: 'blocked',
  })
}

/** Tables that the statements of the migrations since a capture give another name: none where nobody can tell. */
async function movedSince(
  site: Site,
  now: Live,
  { backup, facts }: { backup: Backup; facts: BackupFacts },
): Promise<Moved> {
  const gone = Object.keys(facts.schema.tables).some(name => now.schema.tables[name] === undefined)
  if (backup.reason !== 'capture' || !gone) return []
  return (await touchedBetween(site, now, facts))?.moved ?? []
}

interface Known extends Pick<CarrySource, 'touched'> {
  readonly moved: Moved
}

type Opened = { image: Image; drop?: () => Promise<void> }[]

/** The database as it was right before the restore: kept by the swap, or else its backup. */
async function theirsOf(site: Site, run: string, mark: string, opened: Opened, job: Job): Promise<Image> {
  const { engine, ctx } = site
  const kept = await engine.kept(mark, job.signal)
  if (kept !== null) {
    opened.push({ image: kept })
    return kept
  }
  const backup = ownBackup(await ctx.backups.list(ctx.component), site, run)
  if (backup !== undefined) return look(site, (await whole(site, backup.id, job)).backup, `${mark}-theirs`, opened, job)
  throw new BackoutError({
    code: 'nothing_restored',
    what: `The run ${run} restored nothing in ${engine.name}, or neither what it kept nor its backup is there any more`,
    next: `name the run that did: backout data plan ${ctx.component} --run RUN`,
    exit: 'usage',
  })
}

async function backupsBetween(site: Site, run: string, base: Backup): Promise<Backup[]> {
  const backups = await site.ctx.backups.list(site.ctx.component)
  const last = ownBackup(backups, site, run)?.createdAt ?? '~'
  return backups.filter(b => b.createdAt > base.createdAt && b.createdAt < last)
}

/** Said first: all else that is said of ours means the release. */
function otherNow({ engine }: Site, { base, ours }: Schemas): string | null {
  const differ = compareSchemas(base, ours).some(d => d.object === 'table' || d.object === 'column')
  return differ ? `the restored database ${engine.name} has not the schema of the release any more: ${ROLLED}` : null
}

function migratedNow({ engine }: Site): string {
  return `migrations ran in the restored database ${engine.name}: ${ROLLED}`
}

function alteredText({ id }: Backup): string {
  return `the backup ${id} of right after migrating is not as it was made: what the migrations may have written is listed in place of being brought back, as where nobody had told; or bring a good copy of it back first`
}

/** The one that the run made right before it changed anything. */
export function ownBackup(backups: readonly Backup[], { ctx }: Site, run: string): Backup | undefined {
  return backups.find(b => b.idem === idemOf(run, `${ctx.component}/backup`))
}

/** A backup that is there and as it was made. */
async function whole({ engine, ctx }: Site, id: string, job: Job): Promise<{ backup: Backup; facts: BackupFacts }> {
  const backup = await ctx.backups.get(id)
  const altered = await ctx.backups.check(id, job.signal)
  const facts = factsIn(backup, engine.dialect.kind)
  if (altered.length === 0 && facts !== null) return { backup, facts }
  throw new BackoutError({
    code: 'backup_altered',
    what: `The backup ${id} is not what was made, and carrying forward compares with it`,
    cause: altered.slice(0, 5).join('\n') || 'it does not say what it holds',
    next: 'bring it back from elsewhere; nothing is carried by guessing',
    exit: 'blocked',
  })
}

/** Reads the backup where it lies, or loads it beside and drops it afterwards. */
async function look({ engine }: Site, backup: Backup, mark: string, opened: Opened, job: Job): Promise<Image> {
  if (engine.peek !== undefined) {
    const image = await engine.peek(backup)
    opened.push({ image })
    return image
  }
  job.progress({ text: `loading ${backup.id} beside ${engine.name}` })
  const image: Beside = await engine.beside(backup, 'merge', mark, job)
  opened.push({ image, drop: () => image.drop() })
  return image
}

async function schemasOf(site: Site, { base, theirs, migrated }: Images, { signal }: Job): Promise<Schemas> {
  const of = (image: Image): Promise<SchemaShape> =>
    image.reading(signal, async db => (await readLive(site, db)).schema)
  return {
    ours: (await site.engine.reading(signal, db => readLive(site, db))).schema,
    theirs: await of(theirs),
    base: await of(base),
    migrated: migrated === null ? null : await of(migrated),
  }
}

/**
 * What somebody else knows is taken: the ids of theirs, which a copy has not, and the statements of the migrations. The rest is
 * looked for where users wrote least: right after migrating.
 */
async function renamesOf(
  site: Site,
  { base, theirs, migrated }: Images,
  schemas: Schemas,
  { schema, fingerprint, touched, moved }: Pick<BackupFacts, 'schema' | 'fingerprint'> & Known,
  { signal }: Job,
): Promise<Pick<CarrySource, 'renames' | 'doubts'>> {
  const live = schemas.migrated ?? schemas.theirs
  const then = { schema, data: fingerprint }
  const ids =
    migrated === null ? [] : await theirs.reading(signal, now => now.renames(then.schema, then.data, schemas.theirs))
  const named = movedTables(moved, schema, live).filter(n => !sharesWith(n, ids))
  const maybe = alikeTables(schema, live, alikeFor(site.engine.dialect)).filter(m => !sharesWith(m, [...ids, ...named]))
  const told = { renames: [...ids, ...named], touched, maybe }
  const found = await (migrated ?? theirs).reading(signal, now =>
    base.reading(signal, was => renamesOver(site, { now, base: was, both: null }, then, live, signal, told)),
  )
  const renames = found.renames.map(({ was, now }) => ({ was, now }))
  const open = maybe.filter(m => !sharesWith(m, renames))
  const doubts = [
    ...open.map(pair => ({ ...pair, why: 'untold' as const, rows: 0, equal: 0 })),
    ...found.doubts.filter(d => inTheirTables([d], [...renames, ...open]).length > 0),
  ]
  return { renames, doubts: doubts.map(doubtText) }
}

/** One of the two names is another table's already. */
function sharesWith(pair: Rename, taken: readonly Rename[]): boolean {
  return taken.some(t => isTable(t) && (t.was.table === pair.was.table || t.now.table === pair.now.table))
}

function doubtText({ was, now, why, rows, equal }: Rename & Pick<Doubt, 'why' | 'rows' | 'equal'>): string {
  const [then, name] = [nameOf(was), nameOf(now)]
  if (why !== 'rewritten')
    return `${name} may be what ${then} was at the release, and nothing proves it; if so: --renamed ${then}=${name}`
  return `${name} was ${then} at the release, and the migration wrote ${rows - equal} of its ${rows} values anew, so that it has no place there; if they mean the same: --renamed ${then}=${name}`
}
