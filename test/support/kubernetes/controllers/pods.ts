import { type Clock } from '../clock.ts'
import { type Condition, type Pod, type PodTemplate } from '../types.ts'

export function isActive(pod: Pod): boolean {
  return (
    pod.status.phase !== 'Succeeded' && pod.status.phase !== 'Failed' && pod.metadata.deletionTimestamp === undefined
  )
}

export function isReady(pod: Pod): boolean {
  return pod.status.conditions?.find(condition => condition.type === 'Ready')?.status === 'True'
}

/** Ready for at least so many seconds (pkg/api/v1/pod: IsPodAvailable). */
export function isAvailable(pod: Pod, minReadySeconds: number, clock: Clock): boolean {
  if (!isReady(pod)) return false
  const since = pod.status.conditions?.find(condition => condition.type === 'Ready')?.lastTransitionTime ?? ''
  return minReadySeconds === 0 || Date.parse(since) + minReadySeconds * 1000 <= clock.now()
}

/** When pods that are ready but not yet available will be; null: none are. */
export function availableInMs(pods: readonly Pod[], minReadySeconds: number, clock: Clock): number | null {
  const waits = pods
    .filter(pod => isReady(pod) && !isAvailable(pod, minReadySeconds, clock))
    .map(pod => {
      const since = pod.status.conditions?.find(condition => condition.type === 'Ready')?.lastTransitionTime ?? ''
      return Date.parse(since) + minReadySeconds * 1000 - clock.now()
    })
  return waits.length === 0 ? null : Math.max(0, ...waits) + 10
}

export function podFrom(template: PodTemplate): {
  metadata: { labels: Record<string, string>; annotations?: Record<string, string> }
  spec: PodTemplate['spec']
} {
  const { annotations } = template.metadata ?? {}
  return {
    metadata: {
      labels: { ...template.metadata?.labels },
      ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
    },
    spec: structuredClone(template.spec),
  }
}

/** Sets a condition; its transition time moves only with its status. */
export function withCondition(conditions: readonly Condition[] | undefined, next: Condition): Condition[] {
  const old = conditions?.find(condition => condition.type === next.type)
  const moved = old?.status === next.status ? { lastTransitionTime: old.lastTransitionTime ?? null } : {}
  const others = (conditions ?? []).filter(condition => condition.type !== next.type)
  return [...others, { ...next, ...moved }]
}

/** Of two pods, the one that a controller would rather delete (pkg/controller/controller_utils.go: ActivePods). */
export function deleteFirst(a: Pod, b: Pod): number {
  const unassigned = (pod: Pod): number => (pod.spec.nodeName === undefined ? 0 : 1)
  const phase = (pod: Pod): number => ['Pending', 'Unknown', 'Running'].indexOf(pod.status.phase)
  const ready = (pod: Pod): number => (isReady(pod) ? 1 : 0)
  return (
    unassigned(a) - unassigned(b) ||
    phase(a) - phase(b) ||
    ready(a) - ready(b) ||
    (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '')
  )
}
