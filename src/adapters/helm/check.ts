import type { Finding, Question } from '../../core/contract.ts'
import { partitionOf } from '../../kubernetes/apply/partition.ts'
import { rolloutOf } from '../../kubernetes/status.ts'
import type { Revision } from './cli.ts'
import { driftSince, type Off } from './drift.ts'
import { isPending, type Place, type World } from './look.ts'
import { rollbackHooks } from './manifest.ts'
import { behindOf } from './observe.ts'
import type { HelmPin } from './pin.ts'
import { isPaused } from './pods.ts'

export type Say = (level: Finding['level'], code: string, what: string, remedy: string) => void

export function foreign({ site }: Place, { to, from, release }: Question<HelmPin>, say: Say): void {
  const { server, context } = site.client.session
  say(
    'blocker',
    'other_identity',
    `${release} was captured from ${to.identity} at ${to.server}, and this is ${from.identity} at ${server} (context ${context})`,
    'set `context:`, `namespace:` and `release:` of the component as they were',
  )
}

export function gone({ config }: Place, { to, release }: Question<HelmPin>, say: Say): void {
  say(
    'blocker',
    'revision_gone',
    `Helm keeps no revision of ${config.release} with what ${release} had (revision ${to.revision}, ${to.chart}) that was deployed`,
    `install that version of the chart with its values: \`helm upgrade ${config.release} CHART --version VERSION\`; keep more revisions from now on (--history-max)`,
  )
}

export function checkLast(
  { config }: Place,
  { left }: World,
  last: Revision,
  mode: Question<HelmPin>['mode'],
  say: Say,
): void {
  const { revision, status, updated } = last
  if (!isPending(last)) {
    if (status === 'uninstalled')
      say(
        'warning',
        'release_uninstalled',
        `${config.release} was uninstalled, and its history was kept: the rollback installs it again`,
        'find out who did, and why; what it had in volumes may be gone',
      )
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
      `A client that seems to have died left ${config.release} in ${status} at revision ${revision} since ${updated}; helm would refuse an upgrade. The rollback goes over it, and is the newest revision then`,
      'see that nobody is at it any more, and find out whether its hooks had run',
    )
  }
  const waits =
    mode === 'emergency'
      ? 'it is not waited for'
      : `the plan waits until it ends, at most ${config.limits.pending / 1000} s after it began`
  const effect = config.halt === undefined ? waits : 'it is ended first, by `halt`'
  say(
    'warning',
    'in_flight',
    `Another client is at ${status} of ${config.release} (revision ${revision}) since ${updated}; ${effect}`,
    'stop it where it was started (the deploy job of CI): what it still does would come after the rollback',
  )
}

/** Hooks come from the release that is gone back to: those that the bad one brought do not run. */
export async function checkHooks(
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

/** What somebody wrote past helm. A revision that is not deployed was left half-way by helm itself. */
export function checkDrift({ drift }: World, last: Revision, { to, release }: Question<HelmPin>, say: Say): void {
  const changed = driftSince(drift, to).filter(({ left }) => !left && last.status === 'deployed')
  if (changed.length > 0) {
    const what = `${some(changed)}: not as revision ${last.revision} says, for somebody changed it past helm, and it is put back too`
    say('warning', 'drifted', what, 'find out who did, and why')
  }
  const added = drift.filter(({ left, at, mac }) => left && to.past?.[at] !== mac)
  if (added.length > 0) {
    const what =
      to.past === null
        ? `${some(added)}: written by kubectl, and Helm leaves it as it is`
        : `${some(added)}: written by kubectl since ${release}. Helm leaves it; it is taken away too`
    say('warning', 'drifted', what, 'find out who did, and why')
  }
  const then = drift.filter(({ left, at, mac }) => !left && to.past?.[at] === mac)
  if (then.length > 0 && last.status === 'deployed') {
    const what = `${some(then)}: not as Helm says, and it was not at ${release} either: the rollback makes it what Helm says`
    say('warning', 'drifted_then', what, 'put it back by hand afterwards, and bring it into the values of the chart')
  }
}

/** Helm calls it deployed, and its pods are not. */
export function checkBehind(world: World, { revision }: Revision, say: Say): void {
  const behind = behindOf(world)
  if (behind.length === 0) return
  const what = `Helm calls revision ${revision} deployed, and its pods say otherwise: ${behind.join('; ')}. They are followed until they are`
  say('warning', 'pods_behind', what, 'look at the events of these pods')
}

/** What Helm leaves as it is and waits for, or calls ready though nothing was replaced. */
export function checkRollouts({ live }: World, say: Say): void {
  for (const one of live) {
    if (isPaused(one))
      say('warning', 'paused', `${one.id} is paused; going back lets it go on`, 'find out who paused it, and why')
    if (one.object === null) continue
    if (rolloutOf(one.object).onDelete) {
      const what = `${one.id} replaces no pods by itself (OnDelete): those of another revision are evicted one after the other, each once all others are ready`
      say('warning', 'pods_deleted', what, 'see that it may be restarted now')
    }
    const partition = partitionOf(one.object)
    if (partition > 0) {
      const lower = `kubectl -n ${one.namespace} patch ${one.id} --type merge -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'`
      const what = `${one.id} has the partition ${partition}: Helm keeps that, and pods below it stay on what they run until it is lowered`
      say(
        'warning',
        'partition_holds',
        what,
        `once helm has put the release back, while the step waits for the pods: ${lower}`,
      )
    }
  }
}

const SHOWN = 5

function some(offs: readonly Off[]): string {
  const more = offs.length - SHOWN
  return [...offs.slice(0, SHOWN).map(({ at }) => at), ...(more > 0 ? [`and ${more} more`] : [])].join(', ')
}
