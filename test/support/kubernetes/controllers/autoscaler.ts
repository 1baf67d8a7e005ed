import { type Api } from '../api.ts'
import { type Change } from '../store.ts'
import { at, type Obj, same } from '../types.ts'
import { type Controller, keyOfObject } from './manager.ts'
import { writeStatus } from './owned.ts'

/**
 * pkg/controller/podautoscaler in a cluster without metrics: it only keeps the number of replicas between its bounds. A
 * target with no replicas is switched off and left alone.
 */
export class AutoscalerController implements Controller {
  readonly name = 'horizontal-pod-autoscaler'
  readonly #api: Api

  constructor(api: Api) {
    this.#api = api
  }

  keysOf(change: Change): string[] {
    if (change.key === 'autoscaling/horizontalpodautoscalers') return [keyOfObject(change.object)]
    const all = this.#api.store.list(
      this.#api.resources.key('autoscaling/horizontalpodautoscalers'),
      change.object.metadata.namespace,
    )
    return all.filter(one => at(one.spec, 'scaleTargetRef', 'name') === change.object.metadata.name).map(keyOfObject)
  }

  sync(namespace: string, name: string): void {
    const kind = this.#api.resources.key('autoscaling/horizontalpodautoscalers')
    const scaler = this.#api.store.get(kind, namespace, name)
    if (scaler === undefined || scaler.metadata.deletionTimestamp !== undefined) return
    const target = this.#target(scaler)
    const current = Number(at(target?.object.spec, 'replicas') ?? 0)
    const desired = current === 0 ? 0 : clamp(current, at(scaler.spec, 'minReplicas'), at(scaler.spec, 'maxReplicas'))
    if (target !== undefined && desired !== current) {
      const by = { manager: 'kube-controller-manager', type: 'merge', subresource: 'scale' } as const
      this.#api.patch(target.kind, namespace, target.object.metadata.name, { spec: { replicas: desired } }, by)
    }
    const status = {
      currentReplicas: Number(at(target?.object.status, 'replicas') ?? 0),
      desiredReplicas: desired,
      currentMetrics: null,
    }
    if (!same(scaler.status, status)) writeStatus(this.#api, kind, { ...scaler, status })
  }

  #target(scaler: Obj): { kind: ReturnType<Api['resources']['key']>; object: Obj } | undefined {
    const reference = at(scaler.spec, 'scaleTargetRef') as { apiVersion: string; kind: string; name: string }
    const kind = this.#api.resources.ofKind(reference.apiVersion, reference.kind)
    const object = kind === undefined ? undefined : this.#api.store.get(kind, scaler.metadata.namespace, reference.name)
    return kind === undefined || object === undefined ? undefined : { kind, object }
  }
}

function clamp(current: number, least: unknown, most: unknown): number {
  return Math.min(Math.max(current, Number(least ?? 1)), Number(most))
}
