import type { Finding, Unwell } from '../core/contract.ts'
import type { Pod } from './api/objects.ts'
import { anySettled, haveSettled } from './apply/settle.ts'
import { type Case, restarts } from './case.ts'
import { differs } from './goals.ts'
import type { Seen } from './look.ts'
import { currentPods } from './observe.ts'
import { diedWithin } from './settled.ts'
import type { Site } from './site.ts'
import { ready, rolloutOf, toldOf, troubleOf } from './status.ts'
import { stepId } from './steps.ts'

/** Objects that are on the release, so that nobody makes their pods anew, and whose pods do not stay up. */
export function unwellIn(it: Case): Unwell[] {
  if (it.asked.stop || it.asked.redeploy) return []
  return it.goals
    .filter(goal => !differs(goal, it.rung, null) && !restarts(it, goal))
    .flatMap(({ seen, pinned }) => {
      const why = unwellOf(it.site, seen, pinned.replicas ?? pinned.ran)
      return why === null ? [] : [{ step: stepId(it.site, 'roll', seen.id), why }]
    })
}

/**
 * Why the pods that an object asks for do not do: of those that the release had not all are up, or one dies again and again.
 * `had` null: as many as it has now. Those that somebody added may still be on their way.
 */
export function unwellOf(site: Site, seen: Seen, had: number | null): string | null {
  if (seen.object === null) return null
  const pods = currentPods(seen)
  const { wanted, available } = rolloutOf(seen.object)
  const starting = seen.kind === 'DaemonSet' ? pods.filter(isStarting).length : 0
  const needed = Math.min(wanted, had ?? wanted) - starting
  const dying = pods.filter(pod => isDying(site, seen.id, pod))
  const up = Math.min(available, pods.filter(pod => ready(pod) && !dying.includes(pod)).length)
  if (up >= needed && dying.length === 0) return null
  return `${up} of ${wanted} pods of ${seen.id} stay up${aboutOf(pods, dying)}`
}

/** On a node that has just come, whose image is still fetched. */
function isStarting(pod: Pod): boolean {
  const statuses = pod.status?.containerStatuses ?? []
  return !ready(pod) && troubleOf(pod) === null && statuses.every(({ state }) => state?.running === undefined)
}

/**
 * Started anew a short while ago, and not one that its step has seen to stay up since. What no step was done to may have died
 * for want of what this run put back: there it counts once it stays up again.
 */
function isDying(site: Site, object: string, pod: Pod): boolean {
  const { stuck, settle } = site.config.limits
  if (!ready(pod)) return diedWithin(pod, stuck) !== undefined
  const within = anySettled(site, object) ? stuck : settle
  return diedWithin(pod, within) !== undefined && !haveSettled(site, object, [pod])
}

function aboutOf(pods: readonly Pod[], [dying]: readonly Pod[]): string {
  const [trouble] = pods.flatMap(pod => troubleOf(pod) ?? [])
  if (trouble !== undefined) return ` (${toldOf(trouble)})`
  return dying === undefined ? '' : ` (${dying.metadata.name} was started anew just now)`
}

export function unwellFinding(site: Site, { release }: Pick<Case['question'], 'release'>, { why }: Unwell): Finding {
  return {
    level: 'warning',
    code: 'pods_unwell',
    component: site.component,
    what: `What is on ${release} already does not run as it should, and going back does not mend it: ${why}`,
    remedy: `look at \`kubectl -n ${site.namespace} get pods\` and at their events and logs`,
    moves: true,
  }
}
