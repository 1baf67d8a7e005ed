import { type Finding, NO_IMPACT, NOTHING, type Proposal, type Question } from '../../core/contract.ts'
import { checkOwners, syncs } from '../../kubernetes/gitops.ts'
import { checkDrift, checkHooks, checkLast, foreign, gone, type Say } from './check.ts'
import type { Revision } from './cli.ts'
import { isPending, macOf, type Place, type World } from './look.ts'
import { drifted, worldOf } from './observe.ts'
import type { HelmPin } from './pin.ts'
import { rollbackStep, settleStep, suspendStep } from './steps.ts'

export async function propose(place: Place, question: Question<HelmPin>): Promise<Proposal> {
  const { from, to, release, mode, signal } = question
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
  const there = last?.status === 'deployed' && world.manifest === to.manifest && drifted(world).length === 0
  if (there && redeploy.length === 0) return { ...NOTHING, findings }
  const target = last === undefined ? null : await targetOf(place, world, to, signal)
  if (last === undefined || target === null) {
    gone(place, question, say)
    return { ...NOTHING, findings }
  }
  checkLast(place, world, last, mode, say)
  checkOwners(world.owners, { gitops: place.config.gitops, acts: true }, say)
  await checkHooks(place, target, release, say, signal)
  const force = checkDrift(world, say) && (await place.helm.hasOwners(signal))
  const waits = isPending(last) && !world.left
  // An emergency does not wait; ending a client takes no time, and what that would still do comes after the rollback.
  const stops = mode === 'full' || place.config.halt !== undefined
  const before = [
    ...(place.config.gitops === 'warn' ? [] : world.owners.filter(syncs).map(owner => suspendStep(place, owner))),
    ...(waits && stops ? [settleStep(place, last)] : []),
  ]
  const rollback = rollbackStep(place, { target, last, manifest: to.manifest, release, force })
  const preflight = before.length === 0 ? {} : { preflight: { seq: before.map(step => ({ step: step.id })) } }
  return {
    ...NOTHING,
    change: there ? null : { from: from.summary, to: named(to) },
    findings,
    impact: NO_IMPACT,
    serves: redeploy,
    settles: from.inFlight.map(operation => operation.what),
    steps: [...before, rollback],
    phases: { ...preflight, code: { step: rollback.id } },
    omits: waits && !stops ? [`waiting for the ${last.status} of another client`] : [],
  }
}

function named({ chart, appVersion }: HelmPin): string {
  return `${chart}${appVersion === '' ? '' : ` (${appVersion})`}`
}

const GOOD = ['deployed', 'superseded']

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
