import { randomUUID } from 'node:crypto'
import { prepare, prepareUpdate } from './admission.ts'
import { type Clock } from './clock.ts'
import { fillDefaults } from './defaults/index.ts'
import { type DeleteOptions, deleteObject } from './deletion.ts'
import { applied } from './fields/apply.ts'
import { afterUpdate, type Manager } from './fields/managed.ts'
import { suffix } from './names.ts'
import { jsonPatch } from './patches/json-patch.ts'
import { mergePatch } from './patches/merge-patch.ts'
import { strategicMerge } from './patches/strategic.ts'
import { apiVersionOf, type Resource, type Resources } from './resources.ts'
import { decodeTyped } from './schema.ts'
import {
  ApiError,
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  notFound,
  unsupportedMedia,
} from './status.ts'
import { type Store } from './store.ts'
import { copy, type Fields, isFields, type Meta, type Obj, same, withoutNulls } from './types.ts'
import { validate } from './validate.ts'

export interface Writer {
  readonly manager: string
  readonly dryRun?: boolean
  /** Fields that the kind does not have are refused instead of dropped; kubectl asks for that. */
  readonly strict?: boolean
}

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply'

export interface PatchOptions extends Writer {
  readonly type: PatchType
  readonly force?: boolean
  readonly subresource?: string
}

/**
 * The API server without HTTP: what happens to an object on its way into the store (apiserver, pkg/registry/generic). The
 * controllers write through it too, and meet the same conflicts.
 */
export class Api {
  readonly store: Store
  readonly resources: Resources
  readonly clock: Clock
  /** The certificate by which the API server is known, as each namespace is told. */
  rootCa = 'the certificate of the API server'
  /** Asked before anything is written: a test's trouble, and quotas. */
  readonly admit: ((verb: string, resource: Resource, object: Obj) => void)[] = []

  constructor(store: Store, resources: Resources, clock: Clock) {
    this.store = store
    this.resources = resources
    this.clock = clock
  }

  get(resource: Resource, namespace: string | undefined, name: string): Obj {
    const found = this.store.get(resource, namespace, name)
    if (found === undefined) throw notFound(resource, name)
    return found
  }

  create(resource: Resource, namespace: string | undefined, body: Obj, by: Writer): Obj {
    const object = this.#typed(resource, copy(body), by, 'body')
    this.#checkType(resource, object)
    this.#checkNamespace(resource, namespace, object)
    if (object.metadata.resourceVersion !== undefined) {
      throw new ApiError(500, 'InternalError', 'resourceVersion should not be set on objects to be created')
    }
    const { name, generateName } = object.metadata
    object.metadata.name = name === undefined && generateName !== undefined ? generateName + suffix(5) : name
    if (object.metadata.name === undefined) {
      throw invalid(resource, '', [
        { message: 'Required value: name or generateName is required', field: 'metadata.name' },
      ])
    }
    if (resource.namespaced) object.metadata.namespace = namespace ?? ''
    object.metadata = { ...object.metadata, ...this.#birth(resource) }
    prepare(resource, object, this)
    this.#defaults(resource, object)
    validate(resource, object, null, this.resources.minor)
    if (this.store.get(resource, namespace, object.metadata.name) !== undefined) {
      throw alreadyExists(resource, object.metadata.name)
    }
    for (const admit of this.admit) admit('create', resource, object)
    if (object.metadata.managedFields === undefined) this.#own(null, object, { name: by.manager }, resource)
    return by.dryRun === true ? object : this.store.put(resource, object)
  }

  update(resource: Resource, body: Obj, by: Writer, subresource?: string): Obj {
    const before = this.get(resource, body.metadata.namespace, body.metadata.name)
    return this.#write(resource, before, this.#typed(resource, copy(body), by, 'body'), by, subresource)
  }

  patch(resource: Resource, namespace: string | undefined, name: string, patch: unknown, o: PatchOptions): Obj {
    if (o.type === 'apply') return this.#apply(resource, namespace, name, patch, o)
    const before = this.get(resource, namespace, name)
    const patched = this.#patched(resource, before, patch, o.type)
    if (!isFields(patched) || !isFields(patched['metadata'])) throw badRequest('the patch leaves no object')
    if (patched['metadata']['name'] !== name) {
      throw badRequest(
        `the name of the object (${String(patched['metadata']['name'])}) does not match the name on the URL (${name})`,
      )
    }
    const body = this.#typed(resource, patched as unknown as Obj, o, 'patch')
    return this.#write(resource, before, body, o, o.subresource)
  }

  delete(resource: Resource, namespace: string | undefined, name: string, o: DeleteOptions = {}): Obj {
    return deleteObject(this, resource, this.get(resource, namespace, name), o)
  }

  #patched(resource: Resource, before: Obj, patch: unknown, type: PatchType): unknown {
    if (type === 'json') return jsonPatch(before, patch)
    if (!isFields(patch))
      throw badRequest(
        'error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}',
      )
    if (type === 'merge') return mergePatch(copy(before), patch)
    if (resource.custom) {
      throw unsupportedMedia([
        'application/json-patch+json',
        'application/merge-patch+json',
        'application/apply-patch+yaml',
      ])
    }
    return strategicMerge(copy(before) as unknown as Fields, patch)
  }

  #apply(resource: Resource, namespace: string | undefined, name: string, patch: unknown, o: PatchOptions): Obj {
    if (o.manager === '') {
      const why = 'fieldManager: Required value: is required for apply patch'
      throw new ApiError(422, 'Invalid', `PatchOptions.meta.k8s.io "" is invalid: ${why}`)
    }
    const config = this.#typed(resource, copy(patch) as Obj, o, 'patch')
    this.#checkType(resource, config)
    if (config.metadata.name !== name) {
      throw badRequest(
        `the name of the object (${config.metadata.name ?? ''}) does not match the name on the URL (${name})`,
      )
    }
    if (config.metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil')
    const live = this.store.get(resource, namespace, name)
    const by: Manager = { name: o.manager, ...(o.subresource === undefined ? {} : { subresource: o.subresource }) }
    const options = { by, force: o.force ?? false, custom: resource.custom, now: this.clock.stamp() }
    if (live !== undefined) {
      return this.#write(resource, live, applied(live, config, options), o, o.subresource, true)
    }
    if (config.metadata.resourceVersion !== undefined) throw conflict(resource, name)
    const empty: Obj = { apiVersion: config.apiVersion, kind: config.kind, metadata: { name } }
    const made = applied(empty, config, options)
    return this.create(resource, namespace, made, o)
  }

  #write(resource: Resource, before: Obj, body: Obj, by: Writer, subresource?: string, applies = false): Obj {
    const { name } = before.metadata
    this.#checkType(resource, body)
    this.#checkVersion(resource, before, body)
    const object = prepareUpdate(resource, before, body, subresource)
    if (subresource === undefined) this.#defaults(resource, object)
    if (subresource !== 'status') validate(resource, object, before, this.resources.minor)
    for (const admit of this.admit)
      admit(subresource === undefined ? 'update' : `update/${subresource}`, resource, object)
    if (!applies)
      this.#own(before, object, { name: by.manager, ...(subresource === undefined ? {} : { subresource }) }, resource)
    if (unchanged(object, before)) return before
    if (by.dryRun === true) return object
    const done = object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).length === 0
    if (done && object.metadata.deletionGracePeriodSeconds === 0) return this.store.remove(resource, object)
    if (this.store.get(resource, before.metadata.namespace, name) !== before) throw conflict(resource, name)
    return this.store.put(resource, object)
  }

  /** Without what the kind does not have. Throws where a field is of another type. */
  #typed(resource: Resource, object: Obj, by: Writer, from: 'body' | 'patch'): Obj {
    if (!isFields(object)) return object
    const { object: typed, unknown, wrong } = decodeTyped(resource, object)
    const unread = by.strict === true && unknown.length > 0
    const strict = `strict decoding error: ${unknown.map(path => `unknown field "${path}"`).join(', ')}`
    const why = wrong ?? (unread ? strict : null)
    if (why === null) return typed
    if (from === 'patch' && wrong !== null) {
      throw new ApiError(422, 'Invalid', ` "" is invalid: patch: Invalid value: "...": ${why}`)
    }
    throw badRequest(
      `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: ${why}`,
    )
  }

  #own(before: Obj | null, object: Obj, by: Manager, resource: Resource): void {
    const fields = afterUpdate(before, object, by, { custom: resource.custom, now: this.clock.stamp() })
    if (fields === undefined) delete object.metadata.managedFields
    else object.metadata.managedFields = fields
  }

  #defaults(resource: Resource, object: Obj): void {
    if (resource.custom) return
    if (object.spec !== undefined) object.spec = withoutNulls(object.spec)
    try {
      fillDefaults(object)
    } catch {
      // A shape that cannot be filled in is refused by name in `validate`.
    }
  }

  #birth(resource: Resource): Partial<Meta> {
    return {
      uid: randomUUID(),
      creationTimestamp: this.clock.stamp(),
      ...(resource.generation === 'none' ? {} : { generation: 1 }),
    }
  }

  #checkType(resource: Resource, object: Obj): void {
    object.apiVersion ??= apiVersionOf(resource)
    object.kind ??= resource.kind
    if (!isFields(object.metadata)) throw badRequest('the object has no metadata')
    if (object.apiVersion === apiVersionOf(resource) && object.kind === resource.kind) return
    throw badRequest(
      `the API version in the data (${object.apiVersion}) does not match the expected API version (${apiVersionOf(resource)}), or the kind (${object.kind}) not ${resource.kind}`,
    )
  }

  #checkNamespace(resource: Resource, namespace: string | undefined, object: Obj): void {
    if (!resource.namespaced) return
    if (object.metadata.namespace !== undefined && object.metadata.namespace !== namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
    }
    const namespaces = this.resources.key('/namespaces')
    const space = this.get(namespaces, undefined, namespace ?? '')
    if (space.metadata.deletionTimestamp === undefined) return
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`
    throw forbidden(resource, object.metadata.name, why)
  }

  #checkVersion(resource: Resource, before: Obj, object: Obj): void {
    const { name, uid } = before.metadata
    const { resourceVersion } = object.metadata
    if (object.metadata.uid !== undefined && object.metadata.uid !== uid) {
      throw conflict(
        resource,
        name,
        `Precondition failed: UID in precondition: ${object.metadata.uid}, UID in object meta: ${uid}`,
      )
    }
    if ((resourceVersion ?? '') === '') {
      if (!resource.custom) return
      throw invalid(resource, name, [
        {
          reason: 'FieldValueInvalid',
          message: 'Invalid value: 0x0: must be specified for an update',
          field: 'metadata.resourceVersion',
        },
      ])
    }
    if (resourceVersion !== before.metadata.resourceVersion) throw conflict(resource, name)
  }
}

/** A write that changes nothing is not stored: the revision stays, and no watch hears of it. */
function unchanged(object: Obj, before: Obj): boolean {
  const plain = (o: Obj): Obj => {
    const { resourceVersion: _, managedFields: fields, ...metadata } = o.metadata
    const untimed = fields?.map(({ time: __, ...entry }) => entry)
    return { ...o, metadata: { ...metadata, owned: untimed } as unknown as Meta }
  }
  return same(plain(object), plain(before))
}
