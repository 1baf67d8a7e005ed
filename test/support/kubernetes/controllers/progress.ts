import { type Clock } from '../clock.ts'
import { type Condition, type Deployment, type ReplicaSet } from '../types.ts'
import { withCondition } from './pods.ts'
import { count } from './replicaset.ts'

type Status = Deployment['status']

const NO_DEADLINE = 2 ** 31 - 1

/** How a deployment's status is told (pkg/controller/deployment/progress.go, sync.go: calculateStatus). */
export function statusOf(
  deployment: Deployment,
  fresh: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
  bounds: { unavailable: number },
  clock: Clock,
): Status {
  const sum = (of: (set: ReplicaSet) => number): number => all.reduce((total, set) => total + of(set), 0)
  const available = sum(set => set.status.availableReplicas ?? 0)
  const enough = available >= deployment.spec.replicas - bounds.unavailable
  const now = clock.stamp()
  const conditions = withCondition(deployment.status.conditions, {
    type: 'Available',
    status: enough ? 'True' : 'False',
    lastUpdateTime: now,
    lastTransitionTime: now,
    reason: enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
    message: `Deployment ${enough ? 'has' : 'does not have'} minimum availability.`,
  })
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    ...count(
      'replicas',
      sum(set => set.status.replicas),
    ),
    ...count('updatedReplicas', fresh?.status.replicas ?? 0),
    ...count(
      'readyReplicas',
      sum(set => set.status.readyReplicas ?? 0),
    ),
    ...count('availableReplicas', available),
    ...count('unavailableReplicas', Math.max(0, sum(set => set.spec.replicas) - available)),
    ...(deployment.status.collisionCount === undefined ? {} : { collisionCount: deployment.status.collisionCount }),
    conditions: keepTimes(deployment.status.conditions, conditions),
  }
}

/** An unchanged condition keeps the time of its last update. */
function keepTimes(old: readonly Condition[] | undefined, next: readonly Condition[]): Condition[] {
  return next.map(condition => {
    const before = old?.find(one => one.type === condition.type)
    return before?.status === condition.status && before.reason === condition.reason && condition.type === 'Available'
      ? before
      : condition
  })
}

export function isComplete(deployment: Deployment, status: Status): boolean {
  const { replicas } = deployment.spec
  return (
    (status.updatedReplicas ?? 0) === replicas &&
    (status.replicas ?? 0) === replicas &&
    (status.availableReplicas ?? 0) === replicas &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  )
}

function isProgressing(old: Status, next: Status): boolean {
  const stale = (status: Status): number => (status.replicas ?? 0) - (status.updatedReplicas ?? 0)
  return (
    (next.updatedReplicas ?? 0) > (old.updatedReplicas ?? 0) ||
    stale(next) < stale(old) ||
    (next.readyReplicas ?? 0) > (old.readyReplicas ?? 0) ||
    (next.availableReplicas ?? 0) > (old.availableReplicas ?? 0)
  )
}

export function progressing(conditions: readonly Condition[] | undefined): Condition | undefined {
  return conditions?.find(condition => condition.type === 'Progressing')
}

export function hasDeadline(deployment: Deployment): boolean {
  return deployment.spec.progressDeadlineSeconds !== NO_DEADLINE
}

/** Milliseconds until the rollout is called stuck; null: it is not being timed. */
export function deadlineIn(deployment: Deployment, clock: Clock): number | null {
  const condition = progressing(deployment.status.conditions)
  if (!hasDeadline(deployment) || condition === undefined || deployment.spec.paused === true) return null
  if (condition.reason === 'ProgressDeadlineExceeded' || condition.reason === 'NewReplicaSetAvailable') return null
  if (condition.reason === 'DeploymentPaused') return null
  const from = Date.parse(condition.lastUpdateTime ?? '')
  return from + deployment.spec.progressDeadlineSeconds * 1000 - clock.now()
}

/** The conditions of a rollout that is on its way, done or stuck (progress.go: syncRolloutStatus). */
export function withProgress(
  deployment: Deployment,
  next: Status,
  fresh: ReplicaSet | undefined,
  clock: Clock,
): Condition[] {
  const conditions = next.conditions ?? []
  if (!hasDeadline(deployment)) return conditions.filter(condition => condition.type !== 'Progressing')
  const current = progressing(conditions)
  const settled = next.replicas === next.updatedReplicas && current?.reason === 'NewReplicaSetAvailable'
  if (settled) return conditions
  const what = fresh === undefined ? `Deployment "${deployment.metadata.name}"` : `ReplicaSet "${fresh.metadata.name}"`
  const set = (status: Condition['status'], reason: string, message: string): Condition[] =>
    withCondition(conditions, progress(status, reason, message, clock))
  if (isComplete(deployment, next)) return set('True', 'NewReplicaSetAvailable', `${what} has successfully progressed.`)
  if (isProgressing(deployment.status, next)) return set('True', 'ReplicaSetUpdated', `${what} is progressing.`)
  const left = deadlineIn({ ...deployment, status: { ...deployment.status, conditions } }, clock)
  if (left !== null && left <= 0 && current?.reason !== 'ProgressDeadlineExceeded') {
    return set('False', 'ProgressDeadlineExceeded', `${what} has timed out progressing.`)
  }
  return conditions
}

export function progress(status: Condition['status'], reason: string, message: string, clock: Clock): Condition {
  const now = clock.stamp()
  return { type: 'Progressing', status, lastUpdateTime: now, lastTransitionTime: now, reason, message }
}
