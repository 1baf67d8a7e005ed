import {
  type Finding,
  NO_IMPACT,
  NOTHING,
  type Node,
  type Proposal,
  type Question,
  type Step,
} from '../../core/contract.ts'
import { checkOwners, syncs } from '../../kubernetes/gitops.ts'
import { podsUnwell } from '../../kubernetes/unwell.ts'
import { checkBehind, checkDrift, checkHooks, checkLast, checkRollouts, foreign, gone, type Say } from './check.ts'
import type { Revision } from './cli.ts'
import { driftSince } from './drift.ts'
import { checkKinds } from './kinds.ts'
import { isPending, macOf, type Place, type World } from './look.ts'
import { behindOf, worldOf } from './observe.ts'
import type { HelmPin } from './pin.ts'
import { unwellIn } from './pods.ts'
import { restartStep, rollbackStep, settleStep, suspendStep } from './steps.ts'

export async function propose(place: Place, question: Question<HelmPin>): Promise<Proposal> {
  const { from, to, mode, signal } = question
  const findings: Finding[] = []
  const say: Say = (level, code, what, remedy) =>
    findings.push({ level, code, component: place.ctx.component, what, remedy })
  if (to.identity !== from.identity) {
    foreign(place, question, say)
    return { ...NOTHING, findings }
  }
  const world = await worldOf(place, from, signal)
  const last = world.history.at(-1)
  const redeploy = question.needs.filter(need => need.of === place.ctx.component && need.what === 'redeployed')
  const same = last?.status === 'deployed' && world.manifest === to.manifest
  const drift = driftSince(world.drift, to)
  const there = same && drift.length === 0 && behindOf(world).length === 0
  const more = same && drift.length > 0 && drift.every(one => one.more) && behindOf(world).length === 0
  const unwell = (there || more) && redeploy.length === 0 ? await unwellIn(place, world.live, signal) : []
  for (const one of unwell) findings.push(podsUnwell(place.site, question, one))
  if (there && redeploy.length === 0) return { ...NOTHING, findings, unwell }
  const target = last === undefined || there ? null : await targetOf(place, world, to, signal)
  if (last === undefined || (target === null && !there)) {
    gone(place, question, say)
    return { ...NOTHING, findings }
  }
  if (target !== null) await checkKinds(place, { target, last }, question, say)
  if (findings.some(({ level }) => level === 'blocker')) return { ...NOTHING, findings }
  checkLast(place, world, last, mode, say)
  if (same) checkBehind(world, last, say)
  checkOwners(world.owners, { gitops: place.config.gitops, acts: true }, say)
  const waits = isPending(last) && !world.left
  // An emergency does not wait; ending a client takes no time, and what that would still do comes after the rollback.
  const stops = mode === 'full' || place.config.halt !== undefined
  const before = [
    ...(place.config.gitops === 'warn' ? [] : world.owners.filter(syncs).map(owner => suspendStep(place, owner))),
    ...(waits && stops ? [settleStep(place, last)] : []),
  ]
  const back = target === null ? [] : [await backStep(place, world, question, { target, last, say })]
  // Pods whose template is the same in both releases are not made anew by Helm.
  const code = [...back, ...(redeploy.length > 0 ? [restartStep(place, to.manifest, world.live)] : [])]
  return {
    ...NOTHING,
    change: there ? null : { from: from.summary, to: named(to), ...(more ? { fewer: true as const } : {}) },
    findings,
    impact: NO_IMPACT,
    serves: redeploy,
    settles: from.inFlight.map(operation => operation.what),
    steps: [...before, ...code],
    phases: { ...(before.length === 0 ? {} : { preflight: inTurn(before) }), code: inTurn(code) },
    omits: waits && !stops ? [`waiting for the ${last.status} of another client`] : [],
    unwell,
  }
}

async function backStep(
  place: Place,
  world: World,
  question: Question<HelmPin>,
  { target, last, say }: { target: Revision; last: Revision; say: Say },
): Promise<Step> {
  const { to, release, signal } = question
  await checkHooks(place, target, release, say, signal)
  checkDrift(world, last, question, say)
  checkRollouts(world, say)
  const force = await place.helm.hasOwners(target.revision, signal)
  return rollbackStep(place, { target, last, to, release, force })
}

function inTurn(steps: readonly Step[]): Node {
  return { seq: steps.map(step => ({ step: step.id })) }
}

function named({ chart, appVersion }: HelmPin): string {
  return `${chart}${appVersion === '' ? '' : ` (${appVersion})`}`
}

/** What was uninstalled with its history kept is brought back by a rollback too. */
const GOOD = ['deployed', 'superseded', 'uninstalled']

/**
 * The newest revision that was deployed with the pinned content: never simply the one before, which may have failed. Revisions
 * are numbered anew by every rollback, so content tells them apart.
 */
async function targetOf(place: Place, world: World, to: HelmPin, signal: AbortSignal): Promise<Revision | null> {
  const like = world.history.filter(
    one => GOOD.includes(one.status) && one.chart === to.chart && one.app_version === to.appVersion,
  )
  for (const one of like.toReversed()) {
    if (macOf(place, await place.helm.manifest(one.revision, signal)) === to.manifest) return one
  }
  return null
}
