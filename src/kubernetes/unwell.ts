import { systemClock } from '../core/clock.ts'
import type { Finding, Unwell } from '../core/contract.ts'
import { unwellFinding } from '../core/unwell.ts'
import type { Pod } from './api/objects.ts'
import { anySettled, haveSettled } from './apply/settle.ts'
import { type Case, restarts } from './case.ts'
import { type Goal, isOther } from './goals.ts'
import type { Seen } from './look.ts'
import { currentPods } from './observe.ts'
import { diedWithin } from './settled.ts'
import type { Site } from './site.ts'
import { isLive, ready, refusalOf, rolloutOf, toldOf, troubleOf, waitsForNode } from './status.ts'
import { stepId } from './steps.ts'

type Ill = Omit<Unwell, 'step'>

/** Objects that ask for the release, so that nobody makes their pods anew, and whose pods do not stay up. */
export function unwellIn(it: Case): Unwell[] {
  if (it.asked.stop || it.asked.redeploy) return []
  return it.goals
    .filter(goal => asksForIt(it, goal))
    .flatMap(({ seen, pinned }) => {
      const ill = unwellOf(it.site, seen, pinned.replicas ?? pinned.ran)
      return ill === null ? [] : [{ step: stepId(it.site, 'roll', seen.id), ...ill }]
    })
}

/** However far its controller is, as long as that gets there by itself. */
export function asksForIt(it: Case, goal: Goal): boolean {
  if (isOther(goal, it.rung, null) || restarts(it, goal)) return false
  return !goal.rolling || comesByItself(goal.seen)
}

/** Pods of another revision stay with OnDelete and below a partition, and steps of a canary may wait for a person. */
function comesByItself(seen: Seen): boolean {
  if (seen.object === null || seen.kind === 'Rollout' || rolloutOf(seen.object).onDelete) return false
  return seen.kind !== 'StatefulSet' || seen.pods.filter(isLive).length === currentPods(seen).length
}

/**
 * Why the pods that an object asks for do not do: of those that the release had not all are up, or one dies again and again.
 * `had` null: as many as it has now. Those that somebody added may still be on their way.
 */
export function unwellOf(site: Site, seen: Seen, had: number | null): Ill | null {
  if (seen.object === null) return null
  const pods = currentPods(seen)
  const { wanted, available, failed } = rolloutOf(seen.object)
  const needed = Math.min(wanted, had ?? wanted)
  const dying = pods.filter(pod => isDying(site, seen.id, pod))
  const up = Math.min(available, pods.filter(pod => ready(pod) && !dying.includes(pod)).length)
  if (up >= needed && dying.length === 0) return null
  const why = `${up} of ${wanted} pods of ${seen.id} stay up${aboutOf(pods, dying)}`
  if (dying.length > 0 || failed !== null) return { why }
  const late = timesFor(site, seen)
  return late[0] === undefined || late.length < needed - up ? { why } : { why, mayTakeMs: late[0] }
}

/**
 * For how long each of the pods that are not up may be so, the longest first: as long as its step would have waited, from when
 * it came. One that is not there yet has all of it, unless the server refuses it.
 */
function timesFor(site: Site, seen: Seen): number[] {
  if (seen.object === null) return []
  const { rollout, stuck } = site.config.limits
  const pods = currentPods(seen)
  const { wanted, available } = rolloutOf(seen.object)
  const missing = refusalOf(seen.object) === null ? Math.max(0, wanted - pods.length) : 0
  // With `minReadySeconds` they are not available as soon as they are ready.
  const young = pods.filter(ready).length > available
  const there = pods.flatMap(pod => {
    if (ready(pod) && !young) return []
    const trouble = troubleOf(pod)
    const limit = trouble === null || waitsForNode(trouble) ? rollout : stuck
    return limit - (systemClock.now() - Date.parse(pod.metadata.creationTimestamp ?? ''))
  })
  const absent = Array.from({ length: missing }, () => rollout)
  return [...absent, ...there.filter(ms => ms > 0)].sort((a, b) => b - a)
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

export function podsUnwell(
  { component, namespace }: Site,
  { release }: Pick<Case['question'], 'release'>,
  one: Unwell,
): Finding {
  const remedy = `look at \`kubectl -n ${namespace} get pods\` and at their events and logs`
  return unwellFinding({ component, code: 'pods_unwell', remedy }, release, one)
}
