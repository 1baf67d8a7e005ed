import { systemClock } from '../core/clock.ts'
import { BackoutError } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import { type ContainerStatus, type Pod, type Workload, workloadPath } from './api/objects.ts'
import { mustSettle, restartsOf } from './apply/settle.ts'
import { refuseUnavailable } from './available.ts'
import { lookAt, type Seen } from './look.ts'
import { currentPods } from './observe.ts'
import { eachOf, type Site } from './site.ts'
import { stayingOf } from './status.ts'

const READS_AT_ONCE = 20
/** Nodes' clocks may be off by so much: what seems to be younger than that is watched. */
const SKEW_MS = 60_000

export interface Captured {
  readonly site: Site
  readonly seen: Seen
}

/**
 * Pods that run for a moment say nothing of a release that dies after each start. Those that were started just now are watched
 * for a while, as on the way back; one that was started anew a short while ago may be dying again and again.
 */
export async function refuseUnsettled(all: readonly Captured[], signal: AbortSignal): Promise<void> {
  for (const { site, seen } of all) refuseRestarted(site, seen)
  const young = all.filter(isYoung)
  if (young.length === 0) return
  await systemClock.sleep(Math.max(...young.map(({ site }) => site.config.limits.settle)), signal)
  await eachOf(young, READS_AT_ONCE, async ({ site, seen }) => {
    const { id, kind, name } = seen
    const object = await site.client.get<Workload>(workloadPath(site.namespace, kind, name), signal)
    // Gone meanwhile: that it is not as it was is seen by whoever looks again after a capture.
    if (object === null) return
    const now = await lookAt(site, { id, kind, name, object: { ...object, kind } }, signal)
    refuseRestarted(site, now)
    refuseUnavailable(id, { ...object, kind })
  })
}

function isYoung({ site, seen }: Captured): boolean {
  const { settle } = site.config.limits
  const pods = currentPods(seen)
  return seen.object !== null && mustSettle(seen.object, pods, settle) && pods.some(pod => !isOld(pod, settle))
}

function isOld(pod: Pod, settleMs: number): boolean {
  return stayingOf(pod).every(one => upMs(one) >= settleMs + SKEW_MS)
}

/** NaN where nobody says since when it runs. */
function upMs({ state }: ContainerStatus): number {
  return systemClock.now() - Date.parse(state?.running?.startedAt ?? '')
}

function refuseRestarted(site: Site, seen: Seen): void {
  const { stuck } = site.config.limits
  for (const pod of currentPods(seen)) {
    if (restartsOf(pod) === 0) continue
    const dying = diedWithin(pod, stuck)
    if (dying !== undefined) throw restarted(site, seen.id, pod, dying)
  }
}

/** A container that was started anew and has not stayed up for that long since. */
export function diedWithin(pod: Pod, ms: number): ContainerStatus | undefined {
  const again = stayingOf(pod).filter(one => (one.restartCount ?? 0) > 0)
  return again.find(one => !(upMs(one) >= ms))
}

function restarted(site: Site, id: string, pod: Pod, { name, restartCount, state, lastState }: ContainerStatus) {
  const { exitCode, reason = '' } = state?.terminated ?? lastState?.terminated ?? {}
  const ended = exitCode === undefined ? '' : `, and ended with code ${exitCode} ${reason}`.trimEnd()
  const within = site.config.limits.stuck / 1000
  const what = `${name} of ${pod.metadata.name} was started anew in the last ${within} s (${restartCount} times in all)${ended}`
  const log = `kubectl -n ${site.namespace} logs ${pod.metadata.name} -c ${name} --previous`
  return new BackoutError({
    code: 'object_unavailable',
    what: redact(`${id} cannot be captured: ${what}`),
    next: `find out why (\`${log}\`); capture again once it has stayed up for ${within} s (\`limits.stuck\`)`,
    exit: 'moved',
  })
}
