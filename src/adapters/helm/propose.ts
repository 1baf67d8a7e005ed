import { type Finding, NO_IMPACT, NOTHING, type Proposal, type Question } from '../../core/contract.ts'
import { lifting, suspendedBy, syncs } from '../kubernetes/gitops.ts'
import type { Revision } from './cli.ts'
import { isPending, macOf, type Place, type World } from './look.ts'
import { rollbackHooks } from './manifest.ts'
import { drifted, worldOf } from './observe.ts'
import type { HelmPin } from './pin.ts'
import { rollbackStep, settleStep, suspendStep } from './steps.ts'

type Say = (level: Finding['level'], code: string, what: string, remedy: string) => void

export async function propose(place: Place, question: Question<HelmPin>): Promise<Proposal> {
  const { from, to, release, mode, signal } = question
  const findings: Finding[] = []
  const say: Say = (level, code, what, remedy) =>
    findings.push({ level, code, component: place.ctx.component, what, remedy })
  if (to.identity !== from.identity) {
    const here = `${from.identity} at ${place.site.client.session.server} (context ${place.site.client.session.context})`
    say(
      'blocker',
      'other_identity',
      `${release} was captured from ${to.identity} at ${to.server}, and this is ${here}`,
      'set `context:`, `namespace:` and `release:` of the component as they were',
    )
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
  checkOwners(place, world, say)
  await checkHooks(place, target, release, say, signal)
  const force = checkDrift(world, say) && (await place.helm.hasOwners(signal))
  const steps = {
    suspend: place.config.gitops === 'warn' ? [] : world.owners.filter(syncs).map(owner => suspendStep(place, owner)),
    settle: isPending(last) && !world.left && mode === 'full' ? [settleStep(place, last)] : [],
    rollback: rollbackStep(place, { target, last, manifest: to.manifest, release, force }),
  }
  const before = [...steps.suspend, ...steps.settle]
  const seq = before.map(step => ({ step: step.id }))
  return {
    ...NOTHING,
    change: there
      ? null
      : { from: from.summary, to: `${to.chart}${to.appVersion === '' ? '' : ` (${to.appVersion})`}` },
    findings,
    impact: NO_IMPACT,
    serves: redeploy,
    settles: from.inFlight.map(operation => operation.what),
    steps: [...before, steps.rollback],
    phases: { ...(seq.length === 0 ? {} : { preflight: { seq } }), code: { step: steps.rollback.id } },
    omits:
      mode === 'emergency' && isPending(last) && !world.left
        ? [`waiting for the ${last.status} of another client`]
        : [],
  }
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

function gone({ config }: Place, { to, release }: Question<HelmPin>, say: Say): void {
  say(
    'blocker',
    'revision_gone',
    `Helm keeps no revision of ${config.release} with what ${release} had (revision ${to.revision}, ${to.chart}) that was deployed`,
    `install that version of the chart with its values: \`helm upgrade ${config.release} CHART --version VERSION\`; keep more revisions from now on (--history-max)`,
  )
}

function checkLast(
  { config }: Place,
  { left }: World,
  last: Revision,
  mode: Question<HelmPin>['mode'],
  say: Say,
): void {
  const { revision, status, updated } = last
  if (!isPending(last)) {
    if (status === 'failed')
      say(
        'note',
        'release_failed',
        `Revision ${revision} of ${config.release} failed: ${last.description}`,
        'nothing: going back does not need it',
      )
    return
  }
  if (left) {
    return say(
      'warning',
      'pending_left',
      `A client that died left ${config.release} in ${status} at revision ${revision} since ${updated}; helm would refuse an upgrade. The rollback goes over it, and is the newest revision then`,
      'find out whether its hooks had run',
    )
  }
  const waits =
    mode === 'emergency'
      ? 'it is not waited for'
      : `the plan waits until it ends, at most ${config.limits.pending / 1000} s after it began`
  say(
    'warning',
    'in_flight',
    `Another client is at ${status} of ${config.release} (revision ${revision}) since ${updated}; ${waits}`,
    'stop it where it was started (the deploy job of CI): what it still does would come after the rollback',
  )
}

function checkOwners({ config }: Place, { owners }: World, say: Say): void {
  for (const owner of owners) {
    const by = suspendedBy(owner)
    if (by !== null) {
      say(
        'warning',
        'sync_suspended',
        `${owner.title} is suspended since ${by}: nothing that is put into Git gets there`,
        `once Git has what is wanted: ${lifting(owner)}`,
      )
    } else if (owner.object === null) {
      say(
        'warning',
        'gitops_owner',
        `${owner.title} cannot be looked at (${owner.why}); it may put the bad version back`,
        'hold it by hand, and revert in Git',
      )
    } else if (syncs(owner)) {
      const does =
        config.gitops === 'suspend'
          ? 'would put the bad version back: it is suspended, and stays so until it is lifted'
          : 'will put back what Git has'
      say('warning', 'gitops_owner', `${owner.title} ${does}`, 'revert the release in Git too')
    }
  }
}

/** Hooks come from the release that is gone back to: those that the bad one brought do not run. */
async function checkHooks(
  place: Place,
  target: Revision,
  release: string,
  say: Say,
  signal: AbortSignal,
): Promise<void> {
  const hooks = rollbackHooks(await place.helm.hooks(target.revision, signal))
  const { revision, chart } = target
  if (hooks.length === 0) {
    return say(
      'note',
      'hooks_origin',
      `Helm runs the rollback hooks of the release that is gone back to, and ${release} (revision ${revision}, ${chart}) has none`,
      'whatever the bad release would have to undo by its own hooks is a component of its own',
    )
  }
  const skipped = place.config.hooks === 'skip' ? 'are skipped (--no-hooks)' : 'run'
  say(
    'note',
    'hooks_origin',
    `Hooks of ${release} (revision ${revision}, ${chart}), not of the release that is left, ${skipped}: ${hooks.join(', ')}`,
    'see that they fit what the bad release left behind',
  )
}

/** True where somebody wrote past helm. */
function checkDrift(world: World, say: Say): boolean {
  const off = drifted(world).map(one => one.id)
  if (off.length === 0) return false
  say(
    'warning',
    'drifted',
    `${off.join(', ')} is not as the newest revision says: somebody changed it past helm, and it is put back too`,
    'find out who did, and why',
  )
  return true
}
