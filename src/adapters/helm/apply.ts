import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { groupAlive } from '../../exec/local.ts'
import { isSuspended, suspend } from '../../kubernetes/apply/suspend.ts'
import type { Revision } from './cli.ts'
import { leftOf, takeAway } from './drift.ts'
import { noteBegun, noteEnded } from './ended.ts'
import { explained, follow } from './follow.ts'
import { isPending, macOf, type Place } from './look.ts'
import { type Member, members } from './manifest.ts'
import { areServed, restart, untilServed } from './pods.ts'
import { isSettled, settle } from './settle.ts'
import { argsOf, type RestartArgs, type RollbackArgs } from './steps.ts'

export async function apply(place: Place, step: Step, act: StepAct): Promise<void> {
  act.signal.throwIfAborted()
  const args = argsOf(step)
  if (args.do === 'suspend') return suspend(place.site, args, act)
  if (args.do === 'restart') return makeAnew(place, args, act)
  return args.do === 'settle' ? settle(place, args, act) : rollback(place, step, args, act)
}

export async function verify(place: Place, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  if (args.do === 'suspend') return isSuspended(place.site, args, act)
  if (args.do === 'restart') return areAnew(place, args, act)
  return args.do === 'settle' ? isSettled(place, args, act) : isRolledBack(place, args, act)
}

async function rollback(place: Place, step: Step, args: RollbackArgs, act: StepAct): Promise<void> {
  const last = (await place.helm.history(act.signal)).at(-1)
  if (last === undefined || !(last.revision === args.expect || isOwn(last, args, act.handle))) throw moved(place, last)
  act.guard()
  act.progress({ text: `helm ${place.helm.rollbackArgs(args.to, args.force).join(' ')}` })
  const text = await place.helm.manifest(args.to, act.signal)
  const wanted = members(text, place.site.namespace)
  const over = new AbortController()
  const following = follow(place, wanted, act, over.signal)
  try {
    await place.helm.rollback(args, step.limitMs, act, async pgid => {
      await act.note({ ...noted(act.handle), pgid })
      await noteBegun(place.ctx, { revision: last.revision + 1, to: args.to, pgid, idem: act.idem })
    })
  } catch (error) {
    await noteLeft(place, args, last, act)
    throw await explained(place, wanted, error, act)
  } finally {
    over.abort(null)
    await following
  }
  await takeAway(place, text, args.past, act)
  await untilServed(place, wanted, null, act)
}

async function makeAnew(place: Place, args: RestartArgs, act: StepAct): Promise<void> {
  const { last, wanted } = await deployed(place, args, act)
  if (wanted === null) throw moved(place, last)
  await restart(place, wanted, args.after, act)
  await untilServed(place, wanted, args.after, act)
}

async function areAnew(place: Place, args: RestartArgs, act: StepAct): Promise<Verdict> {
  const { last, wanted } = await deployed(place, args, act)
  if (last === undefined || wanted === null) return { is: 'not-done', why: 'it is not deployed with that content' }
  return areServed(place, wanted, { revision: last.revision, restarts: args.after }, act)
}

/** What the release has now; `wanted` is null where that is not the content which the plan is for. */
async function deployed(
  place: Place,
  { manifest }: RestartArgs,
  act: StepAct,
): Promise<{ last: Revision | undefined; wanted: Member[] | null }> {
  const last = (await place.helm.history(act.signal)).at(-1)
  if (last?.status !== 'deployed') return { last, wanted: null }
  const text = await place.helm.manifest(last.revision, act.signal)
  return { last, wanted: macOf(place, text) === manifest ? members(text, place.site.namespace) : null }
}

/**
 * A rollback that failed may stay pending in Helm's record: that nobody is at it is known here alone. So is which revision
 * it made: Helm puts why it failed in the place of what it was.
 */
async function noteLeft(place: Place, args: RollbackArgs, before: Revision, act: StepAct): Promise<void> {
  const last = (await place.helm.history(act.signal).catch(() => [])).at(-1)
  if (last === undefined || !isOwn(last, { ...args, expect: before.revision }, null)) return
  if (isPending(last)) await noteEnded(place.ctx, last)
  await act.note({ ...noted(act.handle), made: last.revision })
}

interface Noted {
  readonly pgid?: number
  /** The newest revision that an attempt of this step made. */
  readonly made?: number
}

function noted(handle: Json | null): Noted {
  return (handle ?? {}) as Noted
}

/** What an earlier attempt of this step left: by its note, and where it died before that by what Helm says of it. */
function isOwn(
  { revision, status, description }: Revision,
  { expect, to }: RollbackArgs,
  handle: Json | null,
): boolean {
  if (revision <= expect) return false
  if (noted(handle).made === revision || description.endsWith(`Rollback to ${to}`)) return true
  return revision === expect + 1 && status === 'failed' && /^(Rollback|Release) "[^"]*" failed/.test(description)
}

function moved({ config }: Place, last: Revision | undefined): BackoutError {
  const is =
    last === undefined ? 'it is gone' : `its newest revision is ${last.revision} (${last.chart}, ${last.status})`
  return new BackoutError({
    code: 'release_moved',
    what: `${config.release} is not what the plan saw: ${is}; it was left alone`,
    next: `find out who deploys there, then ${PLAN_ANEW}`,
    exit: 'moved',
  })
}

/** Helm's record, and what the cluster has of it: the record alone says nothing of pods. */
async function isRolledBack(place: Place, args: RollbackArgs, act: StepAct): Promise<Verdict> {
  const begun = noted(act.handle)
  if (begun.pgid !== undefined && (await groupAlive(begun.pgid, act.idem))) {
    return { is: 'running', why: `helm is still at work (process group ${begun.pgid})` }
  }
  const last = (await place.helm.history(act.signal)).at(-1)
  if (last === undefined) return { is: 'not-done', why: `there is no release ${place.config.release}` }
  if (last.status !== 'deployed') {
    const own = isPending(last) && isOwn(last, args, act.handle)
    const died = own ? ': the client that was at it died, and helm refuses every upgrade until it is rolled back' : ''
    return { is: 'not-done', why: `revision ${last.revision} is ${last.status}${died}` }
  }
  const text = await place.helm.manifest(last.revision, act.signal)
  if (macOf(place, text) !== args.manifest)
    return { is: 'not-done', why: `revision ${last.revision} has other content` }
  const { revision } = last
  const [left] = await leftOf(place, text, args.past, act.signal)
  if (left !== undefined)
    return { is: 'not-done', why: `${left.at} was written by kubectl, and revision ${revision} does not say it` }
  return areServed(place, members(text, place.site.namespace), { revision, restarts: null }, act)
}
