import { type Api } from '../api.ts'
import { suffix } from '../names.ts'
import { type ApiError } from '../status.ts'
import { type Change } from '../store.ts'
import { type Pod, type ReplicaSet, same } from '../types.ts'
import { type Controller, type ControllerManager, keyOfObject, ownerKey } from './manager.ts'
import { claim, create, ownerReference, tell, writeStatus } from './owned.ts'
import { availableInMs, deleteFirst, isActive, isAvailable, isReady, podFrom, withCondition } from './pods.ts'

const SOURCE = 'replicaset-controller'

/** pkg/controller/replicaset/replica_set.go */
export class ReplicaSetController implements Controller {
  readonly name = 'replicaset'
  readonly #api: Api
  readonly #manager: ControllerManager

  constructor(api: Api, manager: ControllerManager) {
    this.#api = api
    this.#manager = manager
  }

  keysOf(change: Change): string[] {
    if (change.key === 'apps/replicasets') return [keyOfObject(change.object)]
    if (change.key !== '/pods') return []
    const before = change.before === null ? [] : ownerKey(change.before, 'ReplicaSet')
    return [...ownerKey(change.object, 'ReplicaSet'), ...before]
  }

  sync(namespace: string, name: string): void {
    const kind = this.#api.resources.key('apps/replicasets')
    const set = this.#api.store.get(kind, namespace, name) as ReplicaSet | undefined
    if (set === undefined) return
    const pods = claim<Pod>(this.#api, set, set.spec.selector, this.#api.resources.key('/pods')).filter(isActive)
    const failure = set.metadata.deletionTimestamp === undefined ? this.#manage(set, pods) : null
    this.#status(set, failure)
  }

  /** Creates or deletes pods. Answers why it could not. */
  #manage(set: ReplicaSet, pods: readonly Pod[]): ApiError | null {
    const missing = set.spec.replicas - pods.length
    const kind = this.#api.resources.key('/pods')
    if (missing < 0) {
      for (const pod of [...pods].sort(deleteFirst).slice(0, -missing)) {
        this.#api.delete(kind, pod.metadata.namespace, pod.metadata.name)
        tell(this.#api, set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`, SOURCE)
      }
      return null
    }
    try {
      for (let i = 0; i < missing; i += 1) this.#createPod(set)
      return null
    } catch (error) {
      tell(this.#api, set, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`, SOURCE)
      this.#manager.again(this, set.metadata.namespace, set.metadata.name, 200)
      return error as ApiError
    }
  }

  #createPod(set: ReplicaSet): void {
    const { metadata, spec } = podFrom(set.spec.template)
    const name = `${set.metadata.name}-${suffix(5)}`
    const generateName = `${set.metadata.name}-`
    create(this.#api, this.#api.resources.key('/pods'), set.metadata.namespace, {
      metadata: { ...metadata, name, generateName, ownerReferences: [ownerReference(set)] },
      spec,
    })
    tell(this.#api, set, 'Normal', 'SuccessfulCreate', `Created pod: ${name}`, SOURCE)
  }

  #status(set: ReplicaSet, failure: ApiError | null): void {
    const { clock } = this.#api
    const pods = claim<Pod>(this.#api, set, set.spec.selector, this.#api.resources.key('/pods')).filter(isActive)
    const minReady = set.spec.minReadySeconds ?? 0
    const conditions =
      failure === null
        ? (set.status.conditions ?? []).filter(condition => condition.type !== 'ReplicaFailure')
        : withCondition(set.status.conditions, {
            type: 'ReplicaFailure',
            status: 'True',
            lastTransitionTime: clock.stamp(),
            reason: 'FailedCreate',
            message: failure.message,
          })
    const status: ReplicaSet['status'] = {
      replicas: pods.length,
      ...count('fullyLabeledReplicas', pods.length),
      ...count('readyReplicas', pods.filter(isReady).length),
      ...count('availableReplicas', pods.filter(pod => isAvailable(pod, minReady, clock)).length),
      observedGeneration: set.metadata.generation ?? 0,
      ...(conditions.length === 0 ? {} : { conditions }),
    }
    const wait = availableInMs(pods, minReady, clock)
    if (wait !== null) this.#manager.again(this, set.metadata.namespace, set.metadata.name, wait)
    if (!same(status, set.status))
      writeStatus(this.#api, this.#api.resources.key('apps/replicasets'), { ...set, status })
  }
}

/** Go leaves a count of nought out (`omitempty`). */
export function count<K extends string>(name: K, number: number): Partial<Record<K, number>> {
  return number === 0 ? {} : ({ [name]: number } as Partial<Record<K, number>>)
}
