import { type Clock } from '../clock.ts'
import { type Condition, type ReplicaSet } from '../types.ts'
import { withCondition } from './pods.ts'
import { type Rollout, type RolloutStatus } from './rollout-types.ts'

const DEADLINE_S = 600

/** Counts and conditions (argo-rollouts, rollout/sync.go: calculateBaseStatus, calculateRolloutConditions). */
export function withCounts(
  rollout: Rollout,
  status: RolloutStatus,
  fresh: ReplicaSet,
  all: readonly ReplicaSet[],
  clock: Clock,
): RolloutStatus {
  const sum = (of: (set: ReplicaSet) => number): number => all.reduce((total, set) => total + of(set), 0)
  const counted: RolloutStatus = {
    ...status,
    observedGeneration: String(rollout.metadata.generation),
    replicas: sum(set => set.status.replicas),
    updatedReplicas: fresh.status.replicas,
    readyReplicas: sum(set => set.status.readyReplicas ?? 0),
    availableReplicas: sum(set => set.status.availableReplicas ?? 0),
    HPAReplicas: sum(set => set.status.replicas),
  }
  const conditions = conditionsOf(rollout, counted, fresh, clock)
  return { ...counted, conditions, ...phaseOf(rollout, { ...counted, conditions }) }
}

function conditionsOf(rollout: Rollout, status: RolloutStatus, fresh: ReplicaSet, clock: Clock): Condition[] {
  const old = rollout.status?.conditions
  const progressing = progressOf(rollout, status, fresh, clock)
  const enough = (status.availableReplicas ?? 0) >= (rollout.spec.replicas ?? 1)
  const now = clock.stamp()
  return withCondition(progressing === null ? old : withCondition(old, progressing), {
    type: 'Available',
    status: enough ? 'True' : 'False',
    reason: 'AvailableReason',
    message: `Rollout ${enough ? 'has' : 'does not have'} minimum availability`,
    lastTransitionTime: now,
    ...(old?.find(one => one.type === 'Available')?.status === (enough ? 'True' : 'False')
      ? { lastUpdateTime: old.find(one => one.type === 'Available')?.lastUpdateTime ?? now }
      : { lastUpdateTime: now }),
  })
}

/** null: it stays as it is. */
function progressOf(rollout: Rollout, status: RolloutStatus, fresh: ReplicaSet, clock: Clock): Condition | null {
  const current = rollout.status?.conditions?.find(one => one.type === 'Progressing')
  const set = (is: Condition['status'], reason: string, message: string): Condition | null => {
    const now = clock.stamp()
    const same = current?.reason === reason && reason !== 'ReplicaSetUpdated'
    return same
      ? null
      : { type: 'Progressing', status: is, reason, message, lastUpdateTime: now, lastTransitionTime: now }
  }
  if ((status.pauseConditions ?? []).length > 0 || rollout.spec.paused === true) return null
  if (status.abort === true) {
    return set(
      'False',
      'RolloutAborted',
      `Rollout aborted update to revision ${rollout.metadata.annotations?.['rollout.argoproj.io/revision'] ?? ''}`,
    )
  }
  if (isComplete(rollout, status)) {
    return set('True', 'NewReplicaSetAvailable', `ReplicaSet "${fresh.metadata.name}" has successfully progressed.`)
  }
  const before = rollout.status ?? {}
  const moved = (
    ['updatedReplicas', 'readyReplicas', 'availableReplicas', 'currentStepIndex', 'currentPodHash'] as const
  ).some(field => before[field] !== status[field])
  if (moved || current === undefined)
    return set('True', 'ReplicaSetUpdated', `ReplicaSet "${fresh.metadata.name}" is progressing.`)
  return deadlineIn(rollout, clock) > 0
    ? null
    : set('False', 'ProgressDeadlineExceeded', `ReplicaSet "${fresh.metadata.name}" has timed out progressing.`)
}

export function deadlineIn(rollout: Rollout, clock: Clock): number {
  const current = rollout.status?.conditions?.find(one => one.type === 'Progressing')
  const from = Date.parse(current?.lastUpdateTime ?? clock.stamp())
  return from + (rollout.spec.progressDeadlineSeconds ?? DEADLINE_S) * 1000 - clock.now()
}

export function isComplete(rollout: Rollout, status: RolloutStatus): boolean {
  const { replicas = 1 } = rollout.spec
  const counts = [status.updatedReplicas, status.replicas, status.availableReplicas]
  return counts.every(count => count === replicas) && status.stableRS === status.currentPodHash
}

/** argo-rollouts, utils/rollout/rolloututil.go: CalculateRolloutPhase */
function phaseOf(rollout: Rollout, status: RolloutStatus): { phase: string; message?: string } {
  const progressing = status.conditions?.find(one => one.type === 'Progressing')
  const bad = ['RolloutAborted', 'ProgressDeadlineExceeded'].includes(progressing?.reason ?? '')
  if (bad) return { phase: 'Degraded', message: `${progressing?.reason}: ${progressing?.message}` }
  if (rollout.spec.paused === true) return { phase: 'Paused', message: 'manually paused' }
  const [pause] = status.pauseConditions ?? []
  if (pause !== undefined) return { phase: 'Paused', message: pause.reason }
  const { replicas = 1 } = rollout.spec
  const wait = (message: string): { phase: string; message: string } => ({ phase: 'Progressing', message })
  if ((status.updatedReplicas ?? 0) < replicas) return wait('more replicas need to be updated')
  if ((status.availableReplicas ?? 0) < (status.updatedReplicas ?? 0))
    return wait('updated replicas are still becoming available')
  if (rollout.spec.strategy.blueGreen !== undefined && status.blueGreen?.activeSelector !== status.currentPodHash) {
    return wait('active service cutover pending')
  }
  if (rollout.spec.strategy.canary !== undefined && (status.replicas ?? 0) > (status.updatedReplicas ?? 0)) {
    return wait('old replicas are pending termination')
  }
  if (status.stableRS !== status.currentPodHash) return wait('waiting for all steps to complete')
  return { phase: 'Healthy' }
}
