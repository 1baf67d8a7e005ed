import { type Api } from '../api.ts'
import { type Resource } from '../resources.ts'
import { selects } from '../selectors.ts'
import { ApiError } from '../status.ts'
import { type Change } from '../store.ts'
import { at, type Fields, type LabelSelector, type Obj, type Pod, same } from '../types.ts'
import { type Controller, controllerOf, keyOfObject } from './manager.ts'
import { writeStatus } from './owned.ts'
import { isActive, isReady } from './pods.ts'
import { portion } from './rolling.ts'

const REASON = 'DisruptionAllowed'

/** pkg/controller/disruption: how many pods of a budget may be evicted now. */
export class DisruptionController implements Controller {
  readonly name = 'disruption'
  readonly #api: Api

  constructor(api: Api) {
    this.#api = api
  }

  keysOf(change: Change): string[] {
    if (change.key === 'policy/poddisruptionbudgets') return [keyOfObject(change.object)]
    if (change.key !== '/pods') return []
    return this.#api.store.list(this.#kind(), change.object.metadata.namespace).map(keyOfObject)
  }

  sync(namespace: string, name: string): void {
    const budget = this.#api.store.get(this.#kind(), namespace, name)
    if (budget === undefined) return
    const pods = podsOf(this.#api, budget)
    const healthy = pods.filter(isReady).length
    const expected = this.#expected(pods)
    const desired = desiredHealthy(budget, expected)
    const allowed = expected > 0 ? Math.max(0, healthy - desired) : 0
    const now = this.#api.clock.stamp()
    const old = (at(budget.status, 'conditions') as { status: string; lastTransitionTime: string }[] | undefined)?.[0]
    const is = allowed > 0 ? 'True' : 'False'
    const condition = {
      type: REASON,
      status: is,
      reason: allowed > 0 ? 'SufficientPods' : 'InsufficientPods',
      message: '',
      observedGeneration: budget.metadata.generation,
      lastTransitionTime: old?.status === is ? old.lastTransitionTime : now,
    }
    const status = {
      conditions: [condition],
      currentHealthy: healthy,
      desiredHealthy: desired,
      disruptionsAllowed: allowed,
      expectedPods: expected,
      observedGeneration: budget.metadata.generation,
    }
    if (!same(status, budget.status)) writeStatus(this.#api, this.#kind(), { ...budget, status })
  }

  #kind(): Resource {
    return this.#api.resources.key('policy/poddisruptionbudgets')
  }

  /** As many as the controllers of the pods are to have. */
  #expected(pods: readonly Pod[]): number {
    const owners = new Map(pods.map(pod => [controllerOf(pod)?.uid ?? pod.metadata.uid ?? '', pod]))
    let expected = 0
    for (const pod of owners.values()) {
      const owner = controllerOf(pod)
      const kind =
        owner === undefined
          ? undefined
          : this.#api.resources.ofKind(pod.metadata.ownerReferences?.[0]?.apiVersion ?? '', owner.kind)
      const set = kind === undefined ? undefined : this.#api.store.get(kind, pod.metadata.namespace, owner?.name ?? '')
      expected += Number(at(set?.spec, 'replicas') ?? 1)
    }
    return expected
  }
}

function podsOf(api: Api, budget: Obj): Pod[] {
  const selector = at(budget.spec, 'selector') as LabelSelector | undefined
  const pods = api.store.list(api.resources.key('/pods'), budget.metadata.namespace) as Pod[]
  return pods.filter(pod => isActive(pod) && selects(selector, pod.metadata.labels))
}

function desiredHealthy(budget: Obj, expected: number): number {
  const most = at(budget.spec, 'maxUnavailable') as number | string | undefined
  if (most !== undefined) return Math.max(0, expected - portion(most, expected, Math.ceil))
  return portion((at(budget.spec, 'minAvailable') ?? 0) as number | string, expected, Math.ceil)
}

/**
 * Throws 429 where a budget does not let this pod be evicted, and counts it against the budget where it does
 * (registry/core/pod/storage/eviction.go).
 */
export function admitEviction(api: Api, pod: Pod): void {
  if (pod.status.phase !== 'Running' || pod.metadata.deletionTimestamp !== undefined) return
  const kind = api.resources.key('policy/poddisruptionbudgets')
  const budgets = api.store
    .list(kind, pod.metadata.namespace)
    .filter(one => selects(at(one.spec, 'selector') as LabelSelector | undefined, pod.metadata.labels))
  const [budget, second] = budgets
  if (budget === undefined) return
  if (second !== undefined) {
    const why = 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.'
    throw new ApiError(500, 'InternalError', why)
  }
  const [healthy, desired, allowed] = ['currentHealthy', 'desiredHealthy', 'disruptionsAllowed'].map(field =>
    Number(at(budget.status, field) ?? 0),
  ) as [number, number, number]
  if (!isReady(pod) && healthy >= desired && desired > 0) return
  if (allowed > 0) {
    const status = { ...(budget.status as Fields), disruptionsAllowed: allowed - 1 }
    return void api.update(kind, { ...structuredClone(budget), status }, { manager: 'kube-apiserver' }, 'status')
  }
  const needs = `The disruption budget ${budget.metadata.name} needs ${desired} healthy pods and has ${healthy} currently`
  throw new ApiError(429, 'TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
    causes: [{ reason: 'DisruptionBudget', message: needs }],
  })
}
