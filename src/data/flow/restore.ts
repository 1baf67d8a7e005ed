import { z } from 'zod'
import { systemClock } from '../../core/clock.ts'
import type { Backup, Loss, Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { amount } from '../../core/impact-text.ts'
import { compareFingerprints } from '../diff.ts'
import type { Beside } from '../engine.ts'
import { fingerprintHash } from '../fingerprint.ts'
import { schemaHash } from '../schema.ts'
import { differencesOf, recordProof } from './backup.ts'
import { notAccepted } from './down.ts'
import { type BackupFacts, factsIn } from './facts.ts'
import { readLive } from './level.ts'
import { holdsLevel } from './levels.ts'
import { everything, measureSince } from './since.ts'
import { isState, jobOf, nounOf, readOrTell, type Site } from './site.ts'

const restoreArgs = z.object({
  backup: z.string(),
  schema: z.string(),
  data: z.string(),
  method: z.string().optional(),
})

type RestoreArgs = z.infer<typeof restoreArgs>

/** The same for both steps of one restore, and another one for every run. */
export function markOf({ idem }: Pick<StepAct, 'idem'>): string {
  return idem.replace(/\.restore\.(load|swap)(-[0-9a-f]{8})?$/, '.restore')
}

/** Loads the backup beside the database and compares it with what was backed up: nobody who uses that one notices. */
export async function applyLoad(site: Site, step: Step, act: StepAct): Promise<void> {
  await loadBeside(site, restoreArgs.parse(step.args), act)
}

async function loadBeside(site: Site, args: RestoreArgs, act: StepAct): Promise<Beside> {
  const { backup } = await wholeBackup(site, args.backup, act)
  act.signal.throwIfAborted()
  act.guard()
  const start = systemClock.mono()
  const image = await site.engine.beside(backup, 'swap', markOf(act), jobOf(act))
  act.progress({ text: `comparing ${image.name} with what was backed up` })
  const differences = await differencesOf(site, backup, image, act.signal)
  if (differences.length > 0) await image.drop()
  await recordProof(backup, act, differences, systemClock.mono() - start)
  return image
}

export async function loadVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = restoreArgs.parse(step.args)
  if ((await site.engine.kept(markOf(act), act.signal)) !== null) {
    return { is: 'done', why: `${args.backup} was loaded, and was put in place since` }
  }
  const image = await site.engine.found('swap', markOf(act), act.signal)
  if (image === null) return { is: 'not-done', why: `${args.backup} is not loaded beside ${site.engine.name}` }
  const differences = await differencesOf(site, await act.backups.get(args.backup), image, act.signal)
  if (differences.length === 0) return { is: 'done', why: `${args.backup} is loaded as ${image.name}, and whole` }
  return { is: 'not-done', why: `what is loaded as ${image.name} is not ${args.backup}: ${differences.join('; ')}` }
}

async function wholeBackup(site: Site, id: string, act: StepAct): Promise<{ backup: Backup; facts: BackupFacts }> {
  const backup = await act.backups.get(id)
  const altered = await act.backups.check(backup.id, act.signal)
  const facts = factsIn(backup, site.engine.dialect.kind)
  if (altered.length === 0 && facts !== null) return { backup, facts }
  throw new BackoutError({
    code: 'backup_altered',
    what: `The backup ${backup.id} is not what was made`,
    cause: altered.slice(0, 5).join('\n') || 'it does not say what it holds',
    next: 'take another backup, or a copy of this one from elsewhere',
    exit: 'blocked',
  })
}

/** Puts what was loaded in the database's place. What is lost by that is counted again, right before. */
export async function applySwap(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = restoreArgs.parse(step.args)
  const facts = factsIn(await act.backups.get(args.backup), site.engine.dialect.kind)
  if (facts === null) throw await whyNotLoaded(site, act, args.backup)
  const image = (await site.engine.found('swap', markOf(act), act.signal)) ?? (await loadAgain(site, args, act))
  const loss = await lossNow(site, image, facts, act)
  if (!act.accepts(loss)) throw notAccepted(`Restoring ${args.backup}`, loss)
  act.guard()
  // Afterwards nobody can count it any more.
  await act.note({ loss: loss.map(({ what, count, unit }) => ({ what, count, unit })) })
  await site.engine.swap(markOf(act), jobOf(act))
  await tellSwapped(site, act, args.backup, loss)
}

const noted = z.object({ loss: z.array(z.object({ what: z.string(), count: z.number(), unit: z.string() })) })

type Gone = readonly Pick<Loss, 'what' | 'count' | 'unit'>[]

async function tellSwapped(site: Site, act: StepAct, backup: string, loss: Gone): Promise<void> {
  await tellKept(site, act)
  // Whether it came back is told by what carries it.
  const returns = site.settings.carryForward === 'apply'
  for (const { what, count, unit } of loss) {
    const text = `${amount(count, unit)} of ${what} went with the restore of ${backup}`
    await act.tell({ kind: 'lost', text, data: { what, count, unit, returns } })
  }
  await act.note({ told: true })
}

async function lossNow(site: Site, image: Beside, facts: BackupFacts, act: StepAct) {
  const since = await measureSince(site, image, facts, act.signal)
  return isState(since) ? [everything(site, facts.at, since)] : since.loss
}

async function tellKept(site: Site, act: StepAct): Promise<void> {
  const kept = await site.engine.kept(markOf(act), act.signal)
  if (kept === null) return
  const text = `The database as it was right before the restore is kept as ${kept.name}`
  await act.tell({ kind: 'kept', text, data: { name: kept.name, mark: markOf(act) } })
}

/**
 * A server that lost what it wrote last may have lost the copy with it, once that was loaded. Only where the database is not
 * what this step brings: one that was restored already may hold what was written since.
 */
async function loadAgain(site: Site, args: RestoreArgs, act: StepAct): Promise<Beside> {
  const { backup } = args
  const kept = await site.engine.kept(markOf(act), act.signal)
  if (kept !== null || !(await isAsLeft(site, args, act))) throw await whyNotLoaded(site, act, backup)
  const image = await loadBeside(site, args, act)
  const text = `${backup} was not loaded beside ${site.engine.name} any more (a server may lose that as it goes away): it was loaded again`
  await act.tell({ kind: 'note', text })
  return image
}

/** Another schema than the restored one's, or to the last row what was there right before the rollback. */
async function isAsLeft(site: Site, { schema: restored }: RestoreArgs, act: StepAct): Promise<boolean> {
  const before = await act.preRollback()
  const left = before === null ? null : factsIn(before, site.engine.dialect.kind)
  const is = await readOrTell(site, act.signal, async db => {
    const { schema } = await readLive(site, db)
    if (schemaHash(schema) !== restored) return true
    if (left === null) return false
    const now = await db.fingerprint(schema, undefined, left.fingerprint.method)
    return now.method === left.fingerprint.method && compareFingerprints(left.fingerprint, now).length === 0
  })
  return isState(is) || is
}

async function whyNotLoaded({ engine }: Site, act: StepAct, backup: string): Promise<BackoutError> {
  const kept = await engine.kept(markOf(act), act.signal)
  if (kept === null) {
    return new BackoutError({
      code: 'restore_not_loaded',
      what: `The backup ${backup} is not loaded beside ${engine.name} any more; nothing was touched`,
      next: `see who removed it, then ${PLAN_ANEW}`,
      exit: 'failed',
    })
  }
  return new BackoutError({
    code: 'restored_and_changed',
    what: `${engine.name} was restored from ${backup} by this step, and its schema was changed since; what was there is kept as ${kept.name}`,
    next: 'see who changed it; where the restore is to stand as it is now, say so: `backout resolve STEP --done`',
    exit: 'failed',
  })
}

export async function swapVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = restoreArgs.parse(step.args)
  const facts = await act.backups.get(args.backup).then(
    b => factsIn(b, site.engine.dialect.kind),
    () => null,
  )
  const live = await readOrTell(site, act.signal, async db => {
    const { schema, level, unfinished } = await readLive(site, db, facts?.level)
    const data = fingerprintHash(await db.fingerprint(schema, undefined, args.method))
    return { schema: schemaHash(schema), data, level, unfinished }
  })
  if (isState(live)) return { is: 'not-done', why: `the ${nounOf(site)} is ${live}` }
  const kept = await site.engine.kept(markOf(act), act.signal)
  const schemaBack = live.schema === args.schema
  const dataBack = live.data === args.data
  if (schemaBack && kept !== null) {
    // Who restored died before it told.
    const { loss } = noted.safeParse(act.handle).data ?? {}
    if (loss !== undefined) await tellSwapped(site, act, args.backup, loss)
    const since = dataBack ? 'schema and data are those of it' : 'it was written to since'
    return {
      is: 'done',
      why: `${args.backup} was restored by this step (the database right before the restore is kept as ${kept.name}); ${since}`,
    }
  }
  const levelBack = live.unfinished.length === 0 && facts !== null && holdsLevel(live.level, facts.level)
  if (schemaBack && dataBack && levelBack) return { is: 'done', why: `schema and data are those of ${args.backup}` }
  const what = !schemaBack
    ? 'the schema differs'
    : !dataBack
      ? 'the data differs'
      : 'what the migration tool keeps differs'
  return { is: 'not-done', why: `${what} from ${args.backup}` }
}
