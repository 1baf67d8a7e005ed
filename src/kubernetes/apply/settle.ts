import type { Pod, Workload } from '../api/objects.ts'
import type { Site } from '../site.ts'
import { stayingOf } from '../status.ts'
import { stayingIn } from '../template.ts'

/** A container without a readiness probe is ready as soon as it starts: only having stayed up says anything of it. */
export function mustSettle({ spec }: Workload, fresh: readonly Pod[], settleMs: number): boolean {
  const probed = stayingIn(spec.template.spec).every(c => c['readinessProbe'] !== undefined)
  // Available only after having been ready for that long: the controller has seen to it.
  const waited = Number(spec['minReadySeconds'] ?? 0) * 1000 >= settleMs
  return !probed && !waited && fresh.length > 0
}

export function restartsOf(pod: Pod): number {
  return stayingOf(pod).reduce((sum, c) => sum + (c.restartCount ?? 0), 0)
}

/** Which pods there are, and how often each was started anew. */
export function startsOf(pods: readonly Pod[]): Record<string, number> {
  return Object.fromEntries(pods.map(pod => [pod.metadata.name, restartsOf(pod)]))
}

/** What was seen to stay up by this process, by object. Another process waits for it once more. */
const settled = new WeakMap<Site, Map<string, readonly string[]>>()

export function noteSettled(site: Site, object: string, fresh: readonly Pod[]): void {
  const known = settled.get(site) ?? new Map<string, readonly string[]>()
  settled.set(site, known.set(object, fresh.map(startOf)))
}

/** The very pods that were seen to stay up, none of them started anew since. */
export function haveSettled(site: Site, object: string, fresh: readonly Pod[]): boolean {
  const seen = settled.get(site)?.get(object) ?? []
  return fresh.every(pod => seen.includes(startOf(pod)))
}

/** Whether a step of this process was done to it. */
export function anySettled(site: Site, object: string): boolean {
  return settled.get(site)?.has(object) === true
}

/** Tells apart which pods run, started how often. */
export function textOf(pods: readonly Pod[]): string {
  return pods.map(startOf).sort().join()
}

function startOf(pod: Pod): string {
  return `${pod.metadata.uid} ${restartsOf(pod)}`
}
