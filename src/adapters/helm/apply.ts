import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { systemClock } from '../../core/clock.ts'
import { BackoutError } from '../../core/errors.ts'
import { sameJson } from '../../core/json.ts'
import { groupAlive } from '../../exec/local.ts'
import { isSuspended, suspend } from '../../kubernetes/apply/suspend.ts'
import { rolloutOf } from '../../kubernetes/status.ts'
import { refsOf } from '../../kubernetes/template.ts'
import type { Revision } from './cli.ts'
import { noteEnded } from './ended.ts'
import { explained, follow } from './follow.ts'
import { isLeft, isPending, liveOf, macOf, type Place } from './look.ts'
import { members } from './manifest.ts'
import { argsOf, type RollbackArgs, type SettleArgs } from './steps.ts'

const POLL_MS = 500

export async function apply(place: Place, step: Step, act: StepAct): Promise<void> {
  act.signal.throwIfAborted()
  const args = argsOf(step)
  if (args.do === 'suspend') return suspend(place.site, args, act)
  return args.do === 'settle' ? settle(place, args, act) : rollback(place, step, args, act)
}

export async function verify(place: Place, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  if (args.do === 'suspend') return isSuspended(place.site, args, act)
  return args.do === 'settle' ? isSettled(place, args, act) : isRolledBack(place, args, act)
}

/** Waits for another client's operation: it cannot be ended from here, and what it does last would come last. */
async function settle(place: Place, args: SettleArgs, act: StepAct): Promise<void> {
  for (;;) {
    const { is, why } = await isSettled(place, args, act)
    if (is === 'done') return
    act.progress({ text: why })
    await systemClock.sleep(POLL_MS, act.signal)
  }
}

async function isSettled(place: Place, { revision }: SettleArgs, act: StepAct): Promise<Verdict> {
  const one = (await place.helm.history(act.signal)).find(found => found.revision === revision)
  if (one === undefined || !isPending(one)) {
    return {
      is: 'done',
      why: one === undefined ? `revision ${revision} is gone` : `revision ${revision} is ${one.status}`,
    }
  }
  if (await isLeft(place, one)) {
    return { is: 'done', why: `revision ${revision} is ${one.status} for longer than its client may take: it died` }
  }
  return { is: 'not-done', why: `revision ${revision} is ${one.status} since ${one.updated}` }
}

async function rollback(place: Place, step: Step, args: RollbackArgs, act: StepAct): Promise<void> {
  const last = (await place.helm.history(act.signal)).at(-1)
  if (last === undefined || !(last.revision === args.expect || isOwn(last, args))) throw moved(place, last)
  act.guard()
  act.progress({ text: `helm ${place.helm.rollbackArgs(args.to, args.force).join(' ')}` })
  const wanted = members(await place.helm.manifest(args.to, act.signal), place.site.namespace)
  const over = new AbortController()
  const following = follow(place, wanted, act, over.signal)
  try {
    await place.helm.rollback(args, step.limitMs, act)
  } catch (error) {
    await noteLeft(place, args, act)
    throw await explained(place, wanted, error, act)
  } finally {
    over.abort(null)
    await following
  }
}

/** A rollback that failed may stay pending in Helm's record: that nobody is at it is known here alone. */
async function noteLeft(place: Place, args: RollbackArgs, act: StepAct): Promise<void> {
  const history = await place.helm.history(act.signal).catch(() => [])
  const last = history.at(-1)
  if (last !== undefined && isOwn(last, args) && isPending(last)) await noteEnded(place.ctx, last)
}

/** What an earlier attempt of this step left. */
function isOwn({ revision, description }: Revision, { expect, to }: RollbackArgs): boolean {
  return revision > expect && description.endsWith(`Rollback to ${to}`)
}

function moved({ config }: Place, last: Revision | undefined): BackoutError {
  const is =
    last === undefined ? 'it is gone' : `its newest revision is ${last.revision} (${last.chart}, ${last.status})`
  return new BackoutError({
    code: 'release_moved',
    what: `${config.release} is not what the plan saw: ${is}; it was left alone`,
    next: 'find out who deploys there, then plan again: `backout plan`',
    exit: 'moved',
  })
}

/** Helm's record, and what the cluster has of it: the record alone says nothing of pods. */
async function isRolledBack(place: Place, args: RollbackArgs, act: StepAct): Promise<Verdict> {
  const begun = act.handle as { pgid?: number } | null
  if (begun?.pgid !== undefined && (await groupAlive(begun.pgid, act.idem))) {
    return { is: 'running', why: `helm is still at work (process group ${begun.pgid})` }
  }
  const last = (await place.helm.history(act.signal)).at(-1)
  if (last === undefined) return { is: 'not-done', why: `there is no release ${place.config.release}` }
  if (last.status !== 'deployed') {
    const died = isPending(last) && isOwn(last, args) ? ': the client that was at it died' : ''
    return { is: 'not-done', why: `revision ${last.revision} is ${last.status}${died}` }
  }
  const text = await place.helm.manifest(last.revision, act.signal)
  if (macOf(place, text) !== args.manifest)
    return { is: 'not-done', why: `revision ${last.revision} has other content` }
  return areServed(place, text, last.revision, act)
}

async function areServed(place: Place, manifest: string, revision: number, act: StepAct): Promise<Verdict> {
  for (const { id, object, refs } of await liveOf(place, members(manifest, place.site.namespace), act.signal)) {
    if (object === null) return { is: 'not-done', why: `${id} is not there` }
    if (!sameJson(refsOf(object.spec.template), refs))
      return { is: 'not-done', why: `${id} is not as revision ${revision} says` }
    const { complete, failed, updated, available, wanted } = rolloutOf(object)
    if (failed !== null) return { is: 'not-done', why: `${id}: ${failed}` }
    if (!complete) return { is: 'running', why: `${id}: ${updated} of ${wanted} pods replaced, ${available} available` }
  }
  return { is: 'done', why: `revision ${revision} is deployed, and all its pods are of it` }
}
