import { type Api, type PatchType } from '../api.ts'
import { admitEviction } from '../controllers/disruption.ts'
import { type DeleteOptions } from '../deletion.ts'
import { fieldSelector, labelSelector } from '../selectors.ts'
import { badRequest, methodNotAllowed, unsupportedMedia } from '../status.ts'
import { type Trouble } from '../trouble.ts'
import { type Fields, isFields, type Obj, type Pod } from '../types.ts'
import { type Lists } from './lists.ts'
import { type Asked, decoded, type Target } from './request.ts'
import { getScale, scaleTo } from './scale.ts'

export interface Answer {
  readonly code: number
  readonly body: Fields
}

const PATCHES: Record<string, PatchType> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
}

/** The verbs of REST, once it is settled that the request may be made. */
export class Verbs {
  readonly #api: Api
  readonly #lists: Lists
  readonly #trouble: Trouble

  constructor(api: Api, lists: Lists, trouble: Trouble) {
    this.#api = api
    this.#lists = lists
    this.#trouble = trouble
  }

  answer(asked: Asked, target: Target): Answer {
    const { resource, name } = target
    if (name === undefined) {
      if (asked.method === 'GET') return ok(this.#list(asked, target))
      if (asked.method === 'POST') return { code: 201, body: fields(this.#create(asked, target)) }
      if (asked.method === 'DELETE') return ok(this.#deleteAll(asked, target))
      throw methodNotAllowed(resource, asked.method.toLowerCase())
    }
    if (asked.method === 'GET') return ok(this.#get(target, name))
    if (asked.method === 'POST' && target.subresource === 'eviction')
      return { code: 201, body: this.#evict(asked, target, name) }
    this.#trouble.beforeWrite(resource, name)
    if (asked.method === 'PUT') return ok(fields(this.#update(asked, target, name)))
    if (asked.method === 'PATCH') return this.#patch(asked, target, name)
    if (asked.method === 'DELETE') return ok(this.#delete(asked, target, name))
    throw methodNotAllowed(resource, asked.method.toLowerCase())
  }

  #get(target: Target, name: string): Fields {
    const object = this.#api.get(target.resource, target.namespace, name)
    const answer = target.subresource === 'scale' ? getScale(object) : object
    return fields(answer)
  }

  #list(asked: Asked, target: Target): Fields {
    const limit = Number(asked.query.get('limit') ?? 0)
    const token = asked.query.get('continue') ?? ''
    if (token !== '') return this.#lists.more(target.resource, token, limit)
    return this.#lists.first(target.resource, this.#selected(asked, target), limit)
  }

  #selected(asked: Asked, target: Target): Obj[] {
    const matches = selection(asked, target)
    return this.#api.store.list(target.resource, target.namespace).filter(matches)
  }

  #create(asked: Asked, target: Target): Obj {
    if (target.resource.namespaced && target.namespace === undefined) {
      throw badRequest('an empty namespace may not be set during creation')
    }
    return this.#api.create(target.resource, target.namespace, objectOf(asked), writer(asked))
  }

  #update(asked: Asked, target: Target, name: string): Obj {
    const body = objectOf(asked)
    const metadata = {
      ...body.metadata,
      name: body.metadata.name ?? name,
      ...(target.namespace && { namespace: target.namespace }),
    }
    if (metadata.name !== name) {
      throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`)
    }
    if (target.subresource === 'scale') return scaleTo(this.#api, target, name, body, writer(asked))
    return this.#api.update(target.resource, { ...body, metadata }, writer(asked), target.subresource)
  }

  #patch(asked: Asked, target: Target, name: string): Answer {
    const type = PATCHES[asked.type]
    if (type === undefined) throw unsupportedMedia(Object.keys(PATCHES))
    const patch = decoded(asked)
    const there = this.#api.store.get(target.resource, target.namespace, name) !== undefined
    if (target.subresource === 'scale') return ok(fields(scaleTo(this.#api, target, name, patch as Obj, writer(asked))))
    const body = this.#api.patch(target.resource, target.namespace, name, patch, {
      ...writer(asked),
      type,
      manager: type === 'apply' ? (asked.query.get('fieldManager') ?? '') : writer(asked).manager,
      force: asked.query.get('force') === 'true',
      ...(target.subresource === undefined ? {} : { subresource: target.subresource }),
    })
    return { code: there ? 200 : 201, body: fields(body) }
  }

  #delete(asked: Asked, target: Target, name: string): Fields {
    const before = this.#api.get(target.resource, target.namespace, name)
    const after = this.#api.delete(target.resource, target.namespace, name, deleteOptions(asked))
    const left = this.#api.store.get(target.resource, target.namespace, name)
    if (left !== undefined || target.resource.kind === 'Pod') return fields(after)
    const { group, plural } = target.resource
    const details = { name, ...(group === '' ? {} : { group }), kind: plural, uid: before.metadata.uid }
    return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details }
  }

  #deleteAll(asked: Asked, target: Target): Fields {
    const objects = this.#selected(asked, target)
    for (const { metadata } of objects) {
      this.#api.delete(target.resource, metadata.namespace, metadata.name, deleteOptions(asked))
    }
    return this.#lists.first(target.resource, objects, 0)
  }

  #evict(asked: Asked, target: Target, name: string): Fields {
    const { apiVersion, kind, deleteOptions: options = {} } = objectOf(asked) as Obj & { deleteOptions?: DeleteOptions }
    // policy/v1 since 1.22 (registry/core/pod/storage/eviction.go).
    const versions = ['policy/v1beta1', ...(this.#api.resources.minor < 22 ? [] : ['policy/v1'])]
    if (kind !== 'Eviction' || !versions.includes(apiVersion ?? '')) {
      throw badRequest(`no kind "${kind ?? ''}" is registered for version "${apiVersion ?? ''}" in scheme`)
    }
    // It counts against the budget before it is seen whether it is the very pod.
    admitEviction(this.#api, this.#api.get(target.resource, target.namespace, name) as Pod)
    this.#api.delete(target.resource, target.namespace, name, options)
    return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }
  }
}

const ok = (body: Fields): Answer => ({ code: 200, body })
const fields = (object: Obj | Fields): Fields => object as Fields

export function selection(asked: Asked, target: Target): (object: Obj) => boolean {
  const byLabel = labelSelector(asked.query.get('labelSelector') ?? '')
  const byField = fieldSelector(asked.query.get('fieldSelector') ?? '', target.resource.kind)
  const named = target.name
  return object =>
    byLabel(object.metadata.labels) && byField(object) && (named === undefined || object.metadata.name === named)
}

function objectOf(asked: Asked): Obj {
  const body = decoded(asked)
  if (!isFields(body)) throw badRequest('the request body is no object')
  return { metadata: {}, ...body } as unknown as Obj
}

/** Whose write this is: the parameter, or the first word of the User-Agent. */
function writer(asked: Asked): { manager: string; dryRun: boolean; strict: boolean } {
  const manager = asked.query.get('fieldManager') ?? asked.agent.split('/')[0]?.slice(0, 128) ?? 'unknown'
  const strict = asked.query.get('fieldValidation') === 'Strict'
  return { manager, dryRun: asked.query.get('dryRun') === 'All', strict }
}

function deleteOptions(asked: Asked): DeleteOptions {
  const body = asked.body.length === 0 ? {} : (decoded(asked) as DeleteOptions & { dryRun?: string[] })
  const grace = asked.query.get('gracePeriodSeconds')
  const policy = asked.query.get('propagationPolicy')
  return {
    ...(grace === null ? {} : { gracePeriodSeconds: Number(grace) }),
    ...(policy === null ? {} : { propagationPolicy: policy }),
    ...body,
    dryRun: asked.query.get('dryRun') === 'All' || (Array.isArray(body.dryRun) && body.dryRun.includes('All')),
  }
}
