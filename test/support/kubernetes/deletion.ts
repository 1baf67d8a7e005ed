import { type Api } from './api.ts'
import { type Resource } from './resources.ts'
import { conflict } from './status.ts'
import { type Obj, type Pod } from './types.ts'

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number
  readonly propagationPolicy?: string
  readonly preconditions?: { uid?: string; resourceVersion?: string }
  readonly dryRun?: boolean
}

/** Objects with finalizers or time to end gracefully are only marked; the rest is gone at once (registry/rest/delete.go). */
export function deleteObject(api: Api, resource: Resource, object: Obj, o: DeleteOptions): Obj {
  check(resource, object, o)
  for (const admit of api.admit) admit('delete', resource, object)
  if (o.dryRun === true) return object
  const finalizers = withPropagation(resource, object.metadata.finalizers ?? [], o.propagationPolicy)
  const grace = graceOf(object, o.gracePeriodSeconds)
  const marked: Obj = {
    ...object,
    metadata: {
      ...object.metadata,
      deletionTimestamp: object.metadata.deletionTimestamp ?? deadline(api, grace),
      deletionGracePeriodSeconds: grace,
      ...(finalizers.length === 0 ? {} : { finalizers }),
      ...(object.metadata.generation === undefined ? {} : { generation: object.metadata.generation + 1 }),
    },
  }
  if (object.kind === 'Namespace') return terminate(api, resource, marked)
  if (finalizers.length === 0 && grace === 0) return api.store.remove(resource, object)
  const already = object.metadata.deletionTimestamp !== undefined
  if (already && (object.metadata.deletionGracePeriodSeconds ?? 0) <= grace) return object
  return api.store.put(resource, marked)
}

function check(resource: Resource, object: Obj, o: DeleteOptions): void {
  const { uid, resourceVersion } = o.preconditions ?? {}
  const { name } = object.metadata
  if (uid !== undefined && uid !== object.metadata.uid) {
    throw conflict(
      resource,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${object.metadata.uid}`,
    )
  }
  if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion) {
    const why = `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${object.metadata.resourceVersion}`
    throw conflict(resource, name, why)
  }
}

function withPropagation(resource: Resource, finalizers: readonly string[], policy: string | undefined): string[] {
  const others = finalizers.filter(name => name !== 'foregroundDeletion' && name !== 'orphan')
  if (policy === 'Foreground') return [...others, 'foregroundDeletion']
  if (policy === 'Orphan' && resource.plural !== 'pods') return [...others, 'orphan']
  return policy === undefined ? [...finalizers] : others
}

/** Only pods end gracefully, and only those that a node has taken. */
function graceOf(object: Obj, asked: number | undefined): number {
  if (object.kind !== 'Pod') return 0
  const pod = object as Pod
  const over = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
  if (pod.spec.nodeName === undefined || over) return 0
  return asked ?? pod.spec.terminationGracePeriodSeconds ?? 30
}

function deadline(api: Api, grace: number): string {
  return new Date(api.clock.now() + grace * 1000).toISOString().replace(/\.\d+Z$/, 'Z')
}

function terminate(api: Api, resource: Resource, marked: Obj): Obj {
  return api.store.put(resource, { ...marked, status: { phase: 'Terminating' } })
}
