import { type Deployment, type ReplicaSet } from '../types.ts'
import { byAge } from './revisions.ts'

export interface Bounds {
  readonly surge: number
  readonly unavailable: number
}

/** Numbers or percentages: surge is rounded up, unavailable down, and both cannot be nought (ResolveFenceposts). */
export function boundsOf(deployment: Deployment): Bounds {
  const { strategy, replicas } = deployment.spec
  if (strategy.type === 'Recreate') return { surge: 0, unavailable: 0 }
  const surge = portion(strategy.rollingUpdate?.maxSurge ?? '25%', replicas, Math.ceil)
  const unavailable = portion(strategy.rollingUpdate?.maxUnavailable ?? '25%', replicas, Math.floor)
  return { surge, unavailable: Math.min(surge === 0 && unavailable === 0 ? 1 : unavailable, replicas) }
}

export function portion(value: number | string, of: number, round: (n: number) => number): number {
  return typeof value === 'number' ? value : round((Number.parseFloat(value) / 100) * of)
}

const specified = (sets: readonly ReplicaSet[]): number => sets.reduce((sum, set) => sum + set.spec.replicas, 0)

export function initialReplicas(deployment: Deployment, all: readonly ReplicaSet[], bounds: Bounds): number {
  if (deployment.spec.strategy.type === 'Recreate') return deployment.spec.replicas
  const room = deployment.spec.replicas + bounds.surge - specified(all)
  return Math.max(0, Math.min(room, deployment.spec.replicas))
}

/** How many the new ReplicaSet should have now (deployment_util.go: NewRSNewReplicas). */
export function scaleUpNew(
  deployment: Deployment,
  fresh: ReplicaSet,
  all: readonly ReplicaSet[],
  bounds: Bounds,
): number {
  const { replicas } = deployment.spec
  if (fresh.spec.replicas > replicas) return replicas
  const room = replicas + bounds.surge - specified(all)
  if (room <= 0) return fresh.spec.replicas
  return fresh.spec.replicas + Math.min(room, replicas - fresh.spec.replicas)
}

interface Scaling {
  set: ReplicaSet
  replicas: number
}

/** Old ReplicaSets go down as far as availability allows, unhealthy pods first (rolling.go: reconcileOldReplicaSets). */
export function scaleDownOld(
  deployment: Deployment,
  fresh: ReplicaSet,
  old: readonly ReplicaSet[],
  bounds: Bounds,
): Scaling[] {
  if (specified(old) === 0) return []
  const least = deployment.spec.replicas - bounds.unavailable
  const freshUnavailable = fresh.spec.replicas - (fresh.status.availableReplicas ?? 0)
  const most = specified([...old, fresh]) - least - freshUnavailable
  if (most <= 0) return []
  const wanted = new Map(old.map(set => [set, set.spec.replicas]))
  const sorted = [...old].sort(byAge)
  let cleaned = 0
  for (const set of sorted) {
    const unhealthy = Math.max(0, set.spec.replicas - (set.status.availableReplicas ?? 0))
    const down = Math.min(most - cleaned, unhealthy)
    wanted.set(set, set.spec.replicas - down)
    cleaned += down
  }
  const available = [...old, fresh].reduce((sum, set) => sum + (set.status.availableReplicas ?? 0), 0)
  let spare = available - least
  for (const set of sorted) {
    const has = wanted.get(set) ?? 0
    const down = Math.min(has, Math.max(0, spare))
    wanted.set(set, has - down)
    spare -= down
  }
  return [...wanted].flatMap(([set, replicas]) => (replicas === set.spec.replicas ? [] : [{ set, replicas }]))
}

/** Scaling without a rollout: the only active ReplicaSet takes it all, several share it (sync.go: scale). */
export function proportions(
  deployment: Deployment,
  fresh: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
  bounds: Bounds,
): Scaling[] {
  const active = all.filter(set => set.spec.replicas > 0)
  const only =
    active.length === 1 ? active[0] : active.length === 0 ? (fresh ?? [...all].sort(byAge).at(-1)) : undefined
  if (only !== undefined) return [{ set: only, replicas: deployment.spec.replicas }]
  const saturated =
    fresh !== undefined &&
    fresh.spec.replicas === deployment.spec.replicas &&
    fresh.status.availableReplicas === deployment.spec.replicas
  if (saturated) return active.filter(set => set !== fresh).map(set => ({ set, replicas: 0 }))
  if (deployment.spec.strategy.type === 'Recreate') return []
  const allowed = deployment.spec.replicas === 0 ? 0 : deployment.spec.replicas + bounds.surge
  return share(active, allowed)
}

function share(active: readonly ReplicaSet[], allowed: number): Scaling[] {
  const total = specified(active)
  const bySize = [...active].sort((a, b) => b.spec.replicas - a.spec.replicas)
  const shares = bySize.map(set => ({ set, replicas: Math.floor((set.spec.replicas * allowed) / total) }))
  const left = allowed - shares.reduce((sum, one) => sum + one.replicas, 0)
  const [largest] = shares
  if (largest !== undefined) largest.replicas += left
  return shares
}
