import { type Api } from '../api.ts'
import { parseQuantity } from '../kubelet/quantity.ts'
import { requested } from '../kubelet/scheduler.ts'
import { type Resource } from '../resources.ts'
import { ApiError, forbidden } from '../status.ts'
import { type Change } from '../store.ts'
import { at, type Obj, type Pod, same } from '../types.ts'
import { type Controller } from './manager.ts'
import { writeStatus } from './owned.ts'

/** pkg/controller/resourcequota, and the admission that enforces what it counts. */
export class QuotaController implements Controller {
  readonly name = 'resourcequota'
  readonly #api: Api

  constructor(api: Api) {
    this.#api = api
    api.admit.push((verb, resource, object) => {
      if (verb === 'create') this.#admit(resource, object)
    })
  }

  keysOf(change: Change): string[] {
    const { namespace = '' } = change.object.metadata
    if (change.key === '/resourcequotas') return [`${namespace}/${change.object.metadata.name}`]
    if (change.key !== '/pods') return []
    return this.#quotas(namespace).map(quota => `${namespace}/${quota.metadata.name}`)
  }

  sync(namespace: string, name: string): void {
    const kind = this.#api.resources.key('/resourcequotas')
    const quota = this.#api.store.get(kind, namespace, name)
    if (quota === undefined) return
    const hard = hardOf(quota)
    const used = Object.fromEntries(Object.keys(hard).map(what => [what, shown(what, this.#used(namespace, what))]))
    if (!same(quota.status, { hard, used })) writeStatus(this.#api, kind, { ...quota, status: { hard, used } })
  }

  #quotas(namespace: string): Obj[] {
    return this.#api.store.list(this.#api.resources.key('/resourcequotas'), namespace)
  }

  #used(namespace: string, what: string): number {
    const pods = this.#api.store.list(this.#api.resources.key('/pods'), namespace) as Pod[]
    const counted = pods.filter(pod => pod.status.phase !== 'Succeeded' && pod.status.phase !== 'Failed')
    return counted.reduce((sum, pod) => sum + usage(pod, what), 0)
  }

  #admit(resource: Resource, object: Obj): void {
    if (resource.plural !== 'pods') return
    for (const quota of this.#quotas(object.metadata.namespace ?? '')) this.#fit(quota, resource, object as Pod)
  }

  #fit(quota: Obj, resource: Resource, pod: Pod): void {
    const over: string[] = []
    const { name } = quota.metadata
    for (const [what, most] of Object.entries(hardOf(quota))) {
      if (!isKnown(what)) continue
      const wanted = usage(pod, what)
      if (wanted === 0 && what !== 'pods' && what !== 'count/pods') {
        throw forbidden(
          resource,
          pod.metadata.name,
          `failed quota: ${name}: must specify ${what} for: ${pod.spec.containers[0]?.name}`,
        )
      }
      if (this.#used(pod.metadata.namespace ?? '', what) + wanted > parseQuantity(most)) over.push(what)
    }
    if (over.length === 0) return
    const list = (of: (what: string) => string): string =>
      over
        .sort()
        .map(what => `${what}=${of(what)}`)
        .join(',')
    const used = list(what => shown(what, this.#used(pod.metadata.namespace ?? '', what)))
    const why = `exceeded quota: ${name}, requested: ${list(what => shown(what, usage(pod, what)))}, used: ${used}, limited: ${list(what => hardOf(quota)[what] ?? '')}`
    throw new ApiError(403, 'Forbidden', `pods "${pod.metadata.name}" is forbidden: ${why}`, {
      name: pod.metadata.name,
      kind: 'pods',
    })
  }
}

const hardOf = (quota: Obj): Record<string, string> => (at(quota.spec, 'hard') ?? {}) as Record<string, string>

const isKnown = (what: string): boolean => /^(count\/)?pods$|^(requests\.)?(cpu|memory)$/.test(what)

function usage(pod: Pod, what: string): number {
  if (what === 'pods' || what === 'count/pods') return 1
  return isKnown(what) ? requested(pod, what.replace('requests.', '')) : 0
}

function shown(what: string, amount: number): string {
  return what.endsWith('cpu') && !Number.isInteger(amount) ? `${Math.round(amount * 1000)}m` : String(amount)
}
