import { type Api } from '../api.ts'
import { type Change } from '../store.ts'
import { type Controller, type ControllerManager } from './manager.ts'
import { same } from '../types.ts'
import { create, write } from './owned.ts'

/** Published in each namespace, and kept as it is to be (pkg/controller/certificates/rootcacertpublisher). */
const ROOT_CA = 'kube-root-ca.crt'

/** A namespace gets what each has, and takes everything along when it goes (pkg/controller/namespace). */
export class NamespaceController implements Controller {
  readonly name = 'namespace'
  readonly #api: Api
  readonly #manager: ControllerManager

  constructor(api: Api, manager: ControllerManager) {
    this.#api = api
    this.#manager = manager
  }

  keysOf(change: Change): string[] {
    const { name, namespace = '' } = change.object.metadata
    if (change.key === '/configmaps' && name === ROOT_CA) return [`/${namespace}`]
    return change.key === '/namespaces' && change.type !== 'DELETED' ? [`/${name}`] : []
  }

  sync(_: string, name: string): void {
    const kind = this.#api.resources.key('/namespaces')
    const namespace = this.#api.store.get(kind, undefined, name)
    if (namespace === undefined) return
    if (namespace.metadata.deletionTimestamp === undefined) return this.#furnish(name)
    const left = this.#empty(name)
    if (left === 0) this.#api.store.remove(kind, namespace)
    else this.#manager.again(this, '', name, 15)
  }

  #furnish(name: string): void {
    const account = this.#api.resources.key('/serviceaccounts')
    const maps = this.#api.resources.key('/configmaps')
    if (this.#api.store.get(account, name, 'default') === undefined)
      create(this.#api, account, name, { metadata: { name: 'default' } })
    const data = { 'ca.crt': this.#api.rootCa }
    const there = this.#api.store.get(maps, name, ROOT_CA)
    if (there === undefined) create(this.#api, maps, name, { metadata: { name: ROOT_CA }, data })
    else if (!same(there['data'], data)) write(this.#api, maps, { ...there, data })
  }

  #empty(name: string): number {
    let left = 0
    for (const kind of this.#api.resources.all()) {
      for (const object of kind.namespaced ? this.#api.store.list(kind, name) : []) {
        if (object.metadata.deletionTimestamp === undefined)
          this.#api.delete(kind, name, object.metadata.name, { propagationPolicy: 'Background' })
        left += this.#api.store.get(kind, name, object.metadata.name) === undefined ? 0 : 1
      }
    }
    return left
  }
}
