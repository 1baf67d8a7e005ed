import { type Api } from '../api.ts'
import { keyOf } from '../resources.ts'
import { type Change } from '../store.ts'
import { type Obj } from '../types.ts'
import { type Controller, type ControllerManager } from './manager.ts'
import { write } from './owned.ts'

/** pkg/controller/garbagecollector: what lost all its owners goes; foreground deletion and orphaning are seen to. */
export class GarbageCollector implements Controller {
  readonly name = 'garbage-collector'
  readonly #api: Api
  readonly #manager: ControllerManager

  constructor(api: Api, manager: ControllerManager) {
    this.#api = api
    this.#manager = manager
  }

  keysOf(change: Change): string[] {
    const owners = change.object.metadata.ownerReferences ?? []
    const finalizing = change.object.metadata.deletionTimestamp !== undefined
    return change.type === 'DELETED' || finalizing || (change.type === 'ADDED' && owners.length > 0) ? ['/all'] : []
  }

  sync(): void {
    const all = this.#api.resources.all().flatMap(kind => this.#api.store.list(kind).map(object => ({ kind, object })))
    const byUid = new Map(all.map(one => [one.object.metadata.uid ?? '', one.object]))
    for (const { kind, object } of all) {
      if (object.metadata.deletionTimestamp !== undefined)
        this.#finalize(
          all.map(one => one.object),
          keyOf(kind),
          object,
        )
      else if (this.#isOrphan(object, byUid)) this.#collect(keyOf(kind), object)
    }
  }

  #isOrphan(object: Obj, byUid: Map<string, Obj>): boolean {
    const owners = object.metadata.ownerReferences ?? []
    return (
      owners.length > 0 &&
      owners.every(owner => {
        const found = byUid.get(owner.uid)
        return (
          found === undefined ||
          (found.metadata.finalizers?.includes('foregroundDeletion') === true && owner.blockOwnerDeletion === true)
        )
      })
    )
  }

  #collect(key: string, object: Obj): void {
    const { namespace, name, uid } = object.metadata
    const options = { propagationPolicy: 'Background', preconditions: { uid: uid ?? '' } }
    this.#api.delete(this.#api.resources.key(key), namespace, name, options)
  }

  #finalize(all: readonly Obj[], key: string, object: Obj): void {
    const { finalizers = [], uid, namespace, name } = object.metadata
    const dependents = all.filter(one => one.metadata.ownerReferences?.some(owner => owner.uid === uid) === true)
    if (finalizers.includes('orphan')) {
      for (const dependent of dependents) this.#release(dependent, uid ?? '')
      this.#drop(key, namespace, name, 'orphan')
    } else if (finalizers.includes('foregroundDeletion')) {
      const blocking = dependents.filter(one =>
        one.metadata.ownerReferences?.some(owner => owner.uid === uid && owner.blockOwnerDeletion === true),
      )
      if (blocking.length === 0) this.#drop(key, namespace, name, 'foregroundDeletion')
      else this.#manager.again(this, '', 'all', 10)
    }
  }

  #release(dependent: Obj, uid: string): void {
    const kind = this.#api.resources.ofKind(dependent.apiVersion, dependent.kind)
    const { ownerReferences = [], ...metadata } = dependent.metadata
    const left = ownerReferences.filter(owner => owner.uid !== uid)
    if (kind !== undefined)
      write(this.#api, kind, {
        ...dependent,
        metadata: { ...metadata, ...(left.length > 0 && { ownerReferences: left }) },
      })
  }

  #drop(key: string, namespace: string | undefined, name: string, finalizer: string): void {
    const kind = this.#api.resources.key(key)
    const object = this.#api.store.get(kind, namespace, name)
    if (object === undefined) return
    const finalizers = (object.metadata.finalizers ?? []).filter(one => one !== finalizer)
    const { finalizers: _, ...metadata } = object.metadata
    write(this.#api, kind, { ...object, metadata: { ...metadata, ...(finalizers.length > 0 && { finalizers }) } })
  }
}
