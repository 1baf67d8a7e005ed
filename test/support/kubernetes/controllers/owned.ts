import { type Api } from '../api.ts'
import { apiVersionOf, type Resource } from '../resources.ts'
import { selects } from '../selectors.ts'
import { type Fields, type LabelSelector, type Obj, type OwnerReference } from '../types.ts'
import { controllerOf } from './manager.ts'

const MANAGER = { manager: 'kube-controller-manager' }

export function ownerReference(owner: Obj): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  }
}

/**
 * What an object controls, after adopting orphans that its selector picks and releasing what it picks no more
 * (pkg/controller/controller_ref_manager.go).
 */
export function claim<T extends Obj>(api: Api, owner: Obj, selector: LabelSelector, kind: Resource): T[] {
  const all = api.store.list(kind, owner.metadata.namespace)
  return all.flatMap(object => {
    const controller = controllerOf(object)
    const fits = selects(selector, object.metadata.labels)
    if (controller !== undefined) {
      if (controller.uid !== owner.metadata.uid) return []
      return fits || owner.metadata.deletionTimestamp !== undefined ? [object as T] : release(api, owner, kind, object)
    }
    const dying = owner.metadata.deletionTimestamp ?? object.metadata.deletionTimestamp
    if (!fits || dying !== undefined) return []
    return [adopt(api, owner, kind, object) as T]
  })
}

function adopt(api: Api, owner: Obj, kind: Resource, object: Obj): Obj {
  const references = [...(object.metadata.ownerReferences ?? []), ownerReference(owner)]
  return api.update(kind, { ...object, metadata: { ...object.metadata, ownerReferences: references } }, MANAGER)
}

function release(api: Api, owner: Obj, kind: Resource, object: Obj): never[] {
  const references = (object.metadata.ownerReferences ?? []).filter(one => one.uid !== owner.metadata.uid)
  const { ownerReferences: _, ...metadata } = object.metadata
  const left = references.length === 0 ? metadata : { ...metadata, ownerReferences: references }
  api.update(kind, { ...object, metadata: left }, MANAGER)
  return []
}

export function controlledBy<T extends Obj>(api: Api, owner: Obj, kind: Resource): T[] {
  return api.store
    .list(kind, owner.metadata.namespace)
    .filter(object => controllerOf(object)?.uid === owner.metadata.uid) as T[]
}

/** Writes as the controller manager. Answers the object as it is then. */
export function write<T extends Obj>(api: Api, kind: Resource, object: T): T {
  return api.update(kind, object, MANAGER) as T
}

export function writeStatus<T extends Obj>(api: Api, kind: Resource, object: T): T {
  return api.update(kind, object, MANAGER, 'status') as T
}

export function create(api: Api, kind: Resource, namespace: string | undefined, object: Fields): Obj {
  const whole = { apiVersion: apiVersionOf(kind), kind: kind.kind, ...object } as unknown as Obj
  return api.create(kind, namespace, whole, MANAGER)
}

/** Tells of something in an Event, as `kubectl describe` and `kubectl get events` show it. */
export function tell(
  api: Api,
  about: Obj,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
  source: string,
): void {
  const { name, namespace, uid, resourceVersion } = about.metadata
  const now = api.clock.stamp()
  const stamp = `${api.clock.now().toString(16)}${api.store.revision.toString(16)}`
  try {
    create(api, api.resources.key('/events'), namespace ?? 'default', {
      metadata: { name: `${name}.${stamp}` },
      involvedObject: { kind: about.kind, namespace, name, uid, apiVersion: about.apiVersion, resourceVersion },
      reason,
      message,
      source: { component: source },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
      type,
      eventTime: null,
      reportingComponent: source,
      reportingInstance: '',
    })
  } catch {
    // An event that cannot be written is lost in a real cluster too: its namespace is going.
  }
}
