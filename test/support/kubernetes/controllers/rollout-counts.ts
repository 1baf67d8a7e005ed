import { fillTemplate } from '../defaults/pod-spec.ts'
import { copy, omit, type PodTemplate, type ReplicaSet } from '../types.ts'
import { HASH, REVISION, type Rollout, type RolloutStatus } from './rollout-types.ts'

/** A Rollout with its ReplicaSets, and how many pods each is to have. */
export interface View {
  readonly rollout: Rollout
  readonly fresh: ReplicaSet
  readonly stable: ReplicaSet | undefined
  readonly all: readonly ReplicaSet[]
  readonly status: RolloutStatus
}

export function weighed(rollout: Rollout, weight: number): number {
  return Math.ceil(((rollout.spec.replicas ?? 1) * weight) / 100)
}

/** Stable pods go only as canary pods become available. */
export function canaryCounts({ rollout, fresh, stable, all, status }: View): [ReplicaSet, number][] {
  const { replicas = 1, strategy } = rollout.spec
  if (stable === undefined || stable === fresh) {
    const others = all.filter(set => set !== fresh)
    const done = (fresh.status.availableReplicas ?? 0) >= replicas
    return [[fresh, replicas], ...others.map((set): [ReplicaSet, number] => [set, done ? 0 : set.spec.replicas])]
  }
  const steps = strategy.canary?.steps ?? []
  const index = status.currentStepIndex ?? 0
  const last = steps.slice(0, index + 1).findLast(step => step.setWeight !== undefined)
  const weight = status.abort === true ? 0 : index >= steps.length ? 100 : (last?.setWeight ?? 0)
  const canary = weighed(rollout, weight)
  const available = Math.min(canary, fresh.status.availableReplicas ?? 0)
  const others = all.filter(set => set !== fresh && set !== stable)
  // Aborted, the canary stays until the stable pods are all there again.
  const whole = (stable.status.availableReplicas ?? 0) >= replicas
  const freshCount = status.abort === true && !whole ? fresh.spec.replicas : canary
  return [[fresh, freshCount], [stable, replicas - available], ...others.map((set): [ReplicaSet, number] => [set, 0])]
}

export function blueGreenCounts({ rollout, fresh, all, status }: View): [ReplicaSet, number][] {
  const { replicas = 1 } = rollout.spec
  const active = status.blueGreen?.activeSelector
  const aborted = status.abort === true && active !== undefined && active !== hashOf(fresh)
  return all.map((set): [ReplicaSet, number] => {
    if (set === fresh) return [set, aborted ? 0 : replicas]
    return [set, hashOf(set) === active || active === undefined ? replicas : 0]
  })
}

export function hashOf(set: ReplicaSet): string {
  return set.metadata.labels?.[HASH] ?? ''
}

export function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[REVISION] ?? 0)
}

/** Without the hash, and with the defaults that a template gets in a ReplicaSet. */
export function bareTemplate(template: PodTemplate): unknown {
  const filled = copy(template)
  fillTemplate(filled)
  const labels = omit(filled.metadata?.labels ?? {}, HASH)
  return { ...filled, metadata: { ...filled.metadata, labels } }
}
