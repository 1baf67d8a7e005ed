import { z } from 'zod'
import type { ExecResult, Loss, Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { amount } from '../../core/impact-text.ts'
import { sameJson } from '../../core/json.ts'
import { redact } from '../../core/secret.ts'
import { withoutRows } from '../../exec/without-rows.ts'
import { between } from '../bookkeeping.ts'
import { compareFingerprints } from '../diff.ts'
import { nameOf } from '../renames.ts'
import { compareSchemas, type SchemaDifference, schemaShape } from '../schema.ts'
import { type Kept, keptBackup, type NotBack, notBack, refuseWritten, shortfall } from './came-back.ts'
import { begun, checked, handedOver, handleOf, leftElsewhere, runDown, stillAtIt } from './down-command.ts'
import { appliedIn, besideHash } from './down-steps.ts'
import { factsIn } from './facts.ts'
import { type Live, readLive } from './level.ts'
import { gapsBetween, keptIn, shownLevel } from './levels.ts'
import { lostByUndoing } from './lost.ts'
import { notBackError } from './mend.ts'
import { levelShape } from './settings.ts'
import type { Site } from './site.ts'

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
  /** The bookkeeping in which the migration stands. Left out by earlier versions: the first one. */
  book: z
    .object({
      tool: z.string(),
      table: z.string().nullable(),
      schema: z.string(),
      headOnly: z.boolean(),
      /** The entry of `migrations.also` that has its command; null: `migrations` itself. */
      also: z.string().nullable(),
      /** What the other bookkeepings say right before this step, and after it. */
      beside: z.string(),
    })
    .optional(),
  /** The level of the release, where an earlier version captured it. */
  than: levelShape.optional(),
})
export type DownArgs = z.infer<typeof downArgs>

/** Undoes one migration. Never runs the command where the migration is not applied any more: it would undo another. */
export async function migrateDown(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = downArgs.parse(step.args)
  const kept = await keptFor(site, act)
  const { live, loss } = await measured(site, args, kept, act)
  if (isApplied(args, live)) {
    refuseMoved(args, live)
    refuseHalfDone(site, live)
    if (args.first && kept !== null) await refuseWritten(site, kept, live.schema, act.signal)
    if (!act.accepts(loss)) throw notAccepted(args.migration, loss)
    act.signal.throwIfAborted()
    act.guard()
    const check = kept === null || kept.facts.renames.length === 0 ? null : kept.backup.id
    const result = await runDown(site, args, check, act)
    if (result.code !== 0) throw downFailed(args.migration, result)
  }
  const after = await site.engine.reading(act.signal, db => readLive(site, db, args.than))
  const missing = await missingAfter(site, args, kept, after, act)
  if (kept !== null && missing.length > 0 && !checked(act)) throw notBackError(site, args.migration, kept, missing)
  const wrong = wrongAfter(args, after)
  if (wrong !== null) throw wrongError(args, site.engine.name, wrong)
  await tellLost(kept, args, after, loss, act)
  if (args.last && kept !== null && kept.facts.renames.length > 0) {
    await act.note({ ended: true, code: 0, check: kept.backup.id, checked: true })
    await tellBack(kept, act)
  }
  if (args.last && args.backup !== null) await tellCompared(site, args.backup, after, act)
}

function measured(site: Site, args: DownArgs, kept: Kept | null, act: StepAct) {
  return site.engine.reading(act.signal, async db => {
    const live = await readLive(site, db, args.than)
    const declared = site.settings.loses.filter(l => l.migration === args.migration)
    // What the backup does not vouch for is counted as lost.
    const way = { base: args.schema, live: live.schema, declared, renames: kept?.facts.renames ?? [] }
    return { live, loss: await lostByUndoing(site, db, way) }
  })
}

function keptFor(site: Site, act: StepAct): Promise<Kept | null> {
  return keptBackup(site, act, handleOf(act).check ?? null)
}

/** Once the last one is undone: what was renamed and is not as it was. Rows that were declared lost may be gone. */
async function missingAfter(
  site: Site,
  args: DownArgs,
  kept: Kept | null,
  live: Live,
  act: StepAct,
): Promise<NotBack[]> {
  if (kept === null || !args.last || isApplied(args, live)) return []
  const undone = gapsBetween(live.level, kept.facts.level).gaps.flatMap(gap => gap.extra)
  const declared = site.settings.loses.some(l => undone.includes(l.migration))
  const missing = await notBack(site, kept, live.schema, act)
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
async function tellCompared(site: Site, id: string, after: Live, act: StepAct): Promise<void> {
  const facts = await act.backups.get(id).then(
    b => factsIn(b, site.engine.dialect.kind),
    () => null,
  )
  if (facts === null) return
  const now = await site.engine.reading(act.signal, db =>
    db.fingerprint(after.schema, undefined, facts.fingerprint.method),
  )
  if (now.method !== facts.fingerprint.method) return
  const differences = compareFingerprints(facts.fingerprint, now).map(d => d.text)
  const text = differences.length === 0 ? 'schema and data are as at the release' : differences.join('; ')
  await act.tell({ kind: 'note', text: `Compared with ${id}: ${text}`, data: { differences } })
}

/** A command that undoes "the newest" would undo the wrong one after somebody moved the level. */
function refuseMoved(args: DownArgs, live: Live): void {
  const applied = appliedIn(args, live.level)
  const [then, now] = [args.before.toSorted(), applied.toSorted()]
  if (sameJson(then, now) && !othersMoved(args, live)) return
  const odd = [...applied.filter(m => !args.before.includes(m)), ...args.before.filter(m => !applied.includes(m))]
  throw new BackoutError({
    code: 'level_moved',
    what: `The migrations are not those that the plan reckoned with before undoing ${args.migration}`,
    cause: `other than planned: ${odd.join(', ') || `those of the other bookkeepings (now ${shownLevel(live.level)})`}`,
    next: PLAN_ANEW,
    exit: 'moved',
  })
}

/** Neither beside one that is under way, nor over what one left half done. */
function refuseHalfDone({ engine }: Site, { unfinished }: Live): void {
  if (unfinished.length === 0) return
  throw new BackoutError({
    code: 'migration_half_done',
    what: `${engine.name} is in the middle of a migration; nothing was undone`,
    cause: unfinished.join('; '),
    next: 'end or repair it with the migration tool, then resume; or take the rung `restore`',
    exit: 'failed',
  })
}

/** What is not as it should be after this migration was undone; null: all is well. */
function wrongAfter(args: DownArgs, live: Live): { code: string; why: string } | null {
  if (isApplied(args, live)) {
    return { code: 'down_without_effect', why: `${args.migration} is still applied` }
  }
  // Some tools mark the migration before they undo it: what is marked half done is not undone.
  if (live.unfinished.length > 0) return { code: 'migration_half_done', why: live.unfinished.join('; ') }
  const applied = appliedIn(args, live.level)
  const headOnly = args.book?.headOnly ?? live.books[0]?.tool.headOnly === true
  const { missing } = between(args.release, applied, headOnly)
  if (missing.length > 0)
    return { code: 'down_too_far', why: `${missing.join(', ')} belongs to the release and is undone` }
  if (othersMoved(args, live)) {
    const why = `the other bookkeepings do not say what they said before: ${shownLevel(live.level)}`
    return { code: 'down_of_another', why }
  }
  // Where only the head is known, one step leads all the way.
  if ((args.last || args.book !== undefined) && headOnly && !sameJson(args.release.toSorted(), applied.toSorted())) {
    const why = `it stands at ${applied.join(', ') || 'no migration'}, the release at ${args.release.join(', ') || 'none'}`
    return { code: 'level_not_as_released', why }
  }
  if (!args.last) return null
  const differences = compareSchemas(args.schema, live.schema).filter(binding)
  if (differences.length === 0) return null
  return { code: 'schema_not_as_released', why: differences.map(d => d.text).join('; ') }
}

function isApplied(args: DownArgs, { level }: Live): boolean {
  return appliedIn(args, level).includes(args.migration)
}

/** Whether something was applied or undone in a bookkeeping that this step has nothing to do with. */
function othersMoved({ book }: DownArgs, { level }: Live): boolean {
  return book !== undefined && besideHash(keptIn(level), book.table) !== book.beside
}

/** An index that merely makes something faster binds nobody. */
function binding(difference: SchemaDifference): boolean {
  return !(difference.object === 'index' && difference.additive)
}

function wrongError(args: DownArgs, name: string, wrong: { code: string; why: string }): BackoutError {
  return new BackoutError({
    code: wrong.code,
    what: `Undoing ${args.migration} in ${name} ended, and the database is not as it should be`,
    cause: wrong.why,
    next: 'look at the down-script and at the database; the rung `restore` is the other way back',
    exit: 'failed',
  })
}

function downFailed(migration: string, result: ExecResult): BackoutError {
  const said = redact(withoutRows(result.stderr.trim() || result.stdout.trim()).slice(-2000))
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
      text: `${amount(loss.count, loss.unit)} of ${loss.what} went with ${args.migration}${where}`,
      data: { what: loss.what, count: loss.count, unit: loss.unit, backup, file: file ?? null },
    })
  }
}

export async function downVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = downArgs.parse(step.args)
  const there = await leftElsewhere(act)
  const alive = await stillAtIt(site, act, there)
  if (alive !== null) return { is: 'running', why: alive }
  const live = await site.engine.reading(act.signal, db => readLive(site, db, args.than))
  const wrong = wrongAfter(args, live)
  const missing = await missingAfter(site, args, await keptFor(site, act), live, act)
  if (missing.length > 0 && !checked(act)) return { is: 'not-done', why: missing.map(shortfall).join('; ') }
  const code = handleOf(act).code ?? there?.code ?? undefined
  if (wrong === null && code !== undefined && code !== 0) {
    // What the command did besides, nobody can tell.
    const why = `${args.migration} is not applied any more, but the command that undid it ended with code ${code}`
    return { is: 'unknown', why }
  }
  if (wrong === null) {
    const since = missing.length > 0 ? '; what came back was checked right then, and was written to since' : ''
    return { is: 'done', why: `${args.migration} is not applied any more${since}` }
  }
  if (wrong.code === 'down_without_effect' && begun(act)) {
    const holder = (await site.engine.holders(act.signal)).find(h => h.busy)
    if (holder !== undefined) return { is: 'running', why: `${holder.text} has the database open` }
  }
  const client = handedOver(act)
  if (client !== null) {
    const why = `${args.migration} is still applied, and what ${client} began may still be at work there: its end was not seen`
    return { is: 'unknown', why }
  }
  return { is: 'not-done', why: [...new Set([wrong.why, ...live.unfinished])].join('; ') }
}
