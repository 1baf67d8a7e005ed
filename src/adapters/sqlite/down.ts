import { resolve } from 'node:path'
import { z } from 'zod'
import type { ExecResult, Loss, Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { sameJson } from '../../core/json.ts'
import { redact, reveal } from '../../core/secret.ts'
import { between } from '../../data/bookkeeping.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { nameOf } from '../../data/renames.ts'
import { compareSchemas, type SchemaDifference, schemaShape } from '../../data/schema.ts'
import { groupAlive, markAlive, runLocal } from '../../exec/local.ts'
import { reading } from './database.ts'
import { factsIn } from './backup.ts'
import { type Kept, keptBackup, type NotBack, notBack, notBackError, refuseWritten, shortfall } from './came-back.ts'
import { fingerprint } from './fingerprint.ts'
import { holdersOf } from './holders.ts'
import { lostByGoingDown } from './measure.ts'
import { type Live, type Place, placeOf, readLive, type Site } from './site.ts'

const downArgs = z.object({
  migration: z.string(),
  /** What is applied right before this step. */
  before: z.array(z.string()),
  /** The newest migration that stays; empty: none. */
  level: z.string(),
  /** The level of the release, and its schema: what everything else must be like once the last one is undone. */
  release: z.array(z.string()),
  schema: schemaShape,
  /** Whether it is the first one, or the last one, that the plan undoes. */
  first: z.boolean(),
  last: z.boolean(),
  /** The release's backup, which knows the data as it was. */
  backup: z.string().nullable(),
})
export type DownArgs = z.infer<typeof downArgs>

/** Kept before the command starts, so that a later process finds what it left behind. */
const handleShape = z.object({
  pgid: z.number().optional(),
  elsewhere: z.string().optional(),
  /** The backup that knows what must be there again under its old name. */
  check: z.string().optional(),
  /** It was, and may be written to again. */
  checked: z.boolean().optional(),
})

/** Undoes one migration. Never runs the command where the migration is not applied any more: it would undo another. */
export async function migrateDown(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = downArgs.parse(step.args)
  const place = await placeOf(site, act.signal)
  const kept = await keptFor(site, place, act)
  const { live, loss } = await reading(place, db => {
    const live = readLive(site, db)
    const declared = site.config.loses.filter(l => l.migration === args.migration)
    // What the backup does not vouch for is counted as lost.
    return { live, loss: lostByGoingDown(db, args.schema, live.schema, declared, kept?.facts.renames ?? []) }
  })
  if (live.level.applied.includes(args.migration)) {
    refuseMoved(args, live.level.applied)
    if (args.first && kept !== null) await refuseWritten(place, kept, live.schema)
    if (!act.accepts(loss)) throw notAccepted(args.migration, loss)
    act.signal.throwIfAborted()
    act.guard()
    const result = await runDown(site, place, args, kept, act)
    if (result.code !== 0) throw downFailed(args.migration, result)
  }
  const after = await reading(place, db => readLive(site, db))
  const missing = await missingAfter(site, place, args, kept, after, act)
  if (kept !== null && missing.length > 0 && !checked(act)) throw notBackError(args.migration, place, kept, missing)
  const wrong = wrongAfter(args, after)
  if (wrong !== null) throw wrongError(args, place.file, wrong)
  await tellLost(kept, args, after, loss, act)
  if (args.last && kept !== null && kept.facts.renames.length > 0) {
    await act.note({ ended: true, check: kept.backup.id, checked: true })
    await tellBack(kept, act)
  }
  if (args.last && args.backup !== null) await tellCompared(place, args.backup, after, act)
}

function keptFor(site: Site, place: Place, act: StepAct): Promise<Kept | null> {
  return keptBackup(site, place, act, handleShape.safeParse(act.handle).data?.check ?? null)
}

/** Once the last one is undone: what was renamed and is not as it was. Rows that were declared lost may be gone. */
async function missingAfter(
  site: Site,
  place: Place,
  args: DownArgs,
  kept: Kept | null,
  live: Live,
  act: StepAct,
): Promise<NotBack[]> {
  if (kept === null || !args.last || live.level.applied.includes(args.migration)) return []
  const undone = kept.facts.level.applied.filter(name => !args.release.includes(name))
  const declared = site.config.loses.some(l => undone.includes(l.migration))
  const missing = await notBack(place, kept, live.schema, act)
  return missing.filter(n => !(declared && n.other === 0 && !n.nowhere))
}

async function tellBack({ backup, facts }: Kept, act: StepAct): Promise<void> {
  for (const { was, now } of facts.renames) {
    const rows = facts.fingerprint.tables[now.table]?.rows ?? 0
    const text = `${nameOf(was)} holds what ${nameOf(now)} held, in all ${rows} rows of the backup ${backup.id}`
    await act.tell({ kind: 'note', text, data: { was: nameOf(was), now: nameOf(now), rows, backup: backup.id } })
  }
}

/** Names where the data is not what it was at the release: what was written since stays when a migration is undone. */
async function tellCompared(place: Place, id: string, after: Live, act: StepAct): Promise<void> {
  const facts = await act.backups.get(id).then(factsIn, () => null)
  if (facts === null) return
  const now = await reading(place, db => fingerprint(db, after.schema, act.signal))
  const differences = compareFingerprints(facts.fingerprint, now).map(d => d.text)
  const text = differences.length === 0 ? 'schema and data are as at the release' : differences.join('; ')
  await act.tell({ kind: 'note', text: `Compared with ${id}: ${text}`, data: { differences } })
}

/** A command that undoes "the newest" would undo the wrong one after somebody moved the level. */
function refuseMoved(args: DownArgs, applied: readonly string[]): void {
  const [then, now] = [args.before.toSorted(), applied.toSorted()]
  if (sameJson(then, now)) return
  const odd = [...applied.filter(m => !args.before.includes(m)), ...args.before.filter(m => !applied.includes(m))]
  throw new BackoutError({
    code: 'level_moved',
    what: `The migrations are not those that the plan reckoned with before undoing ${args.migration}`,
    cause: `other than planned: ${odd.join(', ')}`,
    next: 'plan again: `backout plan`',
    exit: 'moved',
  })
}

async function runDown(site: Site, place: Place, args: DownArgs, kept: Kept | null, act: StepAct): Promise<ExecResult> {
  const { down, runIn, cwd, downLimit } = site.config.migrations
  if (down === undefined)
    throw new BackoutError({ code: 'no_down_command', what: 'migrations.down is not set any more' })
  const argv = down.map(reveal)
  const env = { BACKOUT_MIGRATION: args.migration, BACKOUT_LEVEL: args.level, BACKOUT_DATABASE: place.file }
  const check = kept === null || kept.facts.renames.length === 0 ? {} : { check: kept.backup.id }
  if (runIn !== undefined) {
    await act.note({ elsewhere: runIn, ...check })
    const result = await act.exec(runIn, 'from', argv, env)
    await act.note({ ended: true, ...check })
    return result
  }
  const command = {
    argv,
    env,
    cwd: resolve(site.ctx.baseDir, cwd),
    limitMs: downLimit,
    idem: act.idem,
    onSpawn: (pgid: number) => act.note({ pgid, ...check }),
  }
  try {
    return await runLocal(command, act.signal)
  } finally {
    await act.note({ ended: true, ...check })
  }
}

/** What is not as it should be after this migration was undone; null: all is well. */
function wrongAfter(args: DownArgs, live: Live): { code: string; why: string } | null {
  if (live.level.applied.includes(args.migration)) {
    return { code: 'down_without_effect', why: `${args.migration} is still applied` }
  }
  const { missing } = between(args.release, live.level.applied, live.tool?.headOnly === true)
  if (missing.length > 0)
    return { code: 'down_too_far', why: `${missing.join(', ')} belongs to the release and is undone` }
  if (!args.last) return null
  const differences = compareSchemas(args.schema, live.schema).filter(binding)
  if (differences.length === 0) return null
  return { code: 'schema_not_as_released', why: differences.map(d => d.text).join('; ') }
}

/** An index that merely makes something faster binds nobody. */
function binding(difference: SchemaDifference): boolean {
  return !(difference.object === 'index' && difference.additive)
}

function wrongError(args: DownArgs, file: string, wrong: { code: string; why: string }): BackoutError {
  return new BackoutError({
    code: wrong.code,
    what: `Undoing ${args.migration} in ${file} ended, and the database is not as it should be`,
    cause: wrong.why,
    next: 'look at the down-script and at the database; the rung `restore` is the other way back',
    exit: 'failed',
  })
}

function downFailed(migration: string, result: ExecResult): BackoutError {
  const said = redact((result.stderr.trim() || result.stdout.trim()).slice(-2000))
  return new BackoutError({
    code: 'down_failed',
    what: `The command that undoes ${migration} ended with code ${result.code}`,
    cause: said || 'it said nothing',
    next: 'repair what it names and resume, or take the rung `restore`',
    exit: 'failed',
  })
}

export function notAccepted(what: string, loss: readonly Loss[]): BackoutError {
  return new BackoutError({
    code: 'loss_not_accepted',
    what: `${what} would destroy more than was accepted; nothing was touched`,
    cause: loss.map(l => `${l.what}: ${l.count} ${l.unit}`).join(', '),
    next: 'look at the loss, then approve it: `backout plan`',
    exit: 'waiting',
  })
}

/** Says in the journal what is gone now, and where it was written. */
async function tellLost(
  kept: Kept | null,
  args: DownArgs,
  after: Live,
  before: readonly Loss[],
  act: StepAct,
): Promise<void> {
  const left = new Set(compareSchemas(args.schema, after.schema).flatMap(d => (d.is === 'added' ? [d.name] : [])))
  const backup = kept?.backup.id ?? null
  for (const loss of before.filter(l => !left.has(l.what))) {
    const file = kept?.facts.lost[loss.what]
    const where = backup === null ? '' : `; it is in the backup ${backup}${file === undefined ? '' : `, file ${file}`}`
    await act.tell({
      kind: 'lost',
      text: `${loss.count} ${loss.unit} of ${loss.what} went with ${args.migration}${where}`,
      data: { what: loss.what, count: loss.count, unit: loss.unit, backup, file: file ?? null },
    })
  }
}

export async function downVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = downArgs.parse(step.args)
  const place = await placeOf(site, act.signal)
  const alive = await stillAtIt(place, act)
  if (alive !== null) return { is: 'running', why: alive }
  const live = await reading(place, db => readLive(site, db))
  const wrong = wrongAfter(args, live)
  const missing = await missingAfter(site, place, args, await keptFor(site, place, act), live, act)
  if (missing.length > 0 && !checked(act)) return { is: 'not-done', why: missing.map(shortfall).join('; ') }
  if (wrong === null) {
    const since = missing.length > 0 ? '; what came back was checked right then, and was written to since' : ''
    return { is: 'done', why: `${args.migration} is not applied any more${since}` }
  }
  if (wrong.code === 'down_without_effect' && begun(act)) {
    const [holder] = await holdersOf(place.file)
    if (holder !== undefined) {
      return { is: 'running', why: `process ${holder.pid} (${holder.command}) has the database open` }
    }
  }
  return { is: 'not-done', why: [wrong.why, ...live.unfinished].join('; ') }
}

/** True where a command of this step was begun and nobody saw it end. */
export function begun(act: StepAct): boolean {
  const handle = handleShape.safeParse(act.handle).data
  return handle?.pgid !== undefined || handle?.elsewhere !== undefined
}

function checked(act: StepAct): boolean {
  return handleShape.safeParse(act.handle).data?.checked === true
}

async function stillAtIt(place: Place, act: StepAct): Promise<string | null> {
  const { pgid, elsewhere } = handleShape.safeParse(act.handle).data ?? {}
  if (elsewhere !== undefined && (await markAlive(act.idem))) {
    return `the command that ${elsewhere} ran is alive, working on ${place.file}`
  }
  if (pgid === undefined || !(await groupAlive(pgid, act.idem))) return null
  return `the command's process group ${pgid} is alive, working on ${place.file}`
}
