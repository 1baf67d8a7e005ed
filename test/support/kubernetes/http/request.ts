import { type Http2ServerRequest } from 'node:http2'
import { buffer } from 'node:stream/consumers'
import { parse } from 'yaml'
import { type Resource, type Resources } from '../resources.ts'
import { badRequest, noSuchPath, unsupportedMedia } from '../status.ts'
import { type Access } from '../trouble.ts'
import { decodeProtobuf, PROTOBUF } from './protobuf.ts'

/** What a request is about: one resource, maybe one object, maybe a part of it. */
export interface Target {
  readonly resource: Resource
  readonly namespace: string | undefined
  readonly name: string | undefined
  readonly subresource: string | undefined
}

export interface Asked {
  readonly method: string
  readonly path: readonly string[]
  readonly query: URLSearchParams
  readonly body: Buffer
  readonly type: string
  readonly agent: string
  readonly authorization: string
}

export async function readRequest(request: Http2ServerRequest): Promise<Asked> {
  const url = new URL(request.url ?? '/', 'http://localhost')
  return {
    method: request.method ?? 'GET',
    path: url.pathname
      .split('/')
      .filter(part => part !== '')
      .map(decodeURIComponent),
    query: url.searchParams,
    body: await buffer(request),
    type: (request.headers['content-type'] ?? 'application/json').split(';')[0]?.trim() ?? '',
    agent: request.headers['user-agent'] ?? 'unknown',
    authorization: request.headers.authorization ?? '',
  }
}

export function targetOf(path: readonly string[], resources: Resources): Target {
  const [root, ...rest] = path
  if (root !== 'api' && root !== 'apis') throw noSuchPath()
  const group = root === 'api' ? '' : (rest.shift() ?? '')
  const version = rest.shift() ?? ''
  const inNamespace = rest[0] === 'namespaces' && rest.length > 2 && !['status', 'finalize'].includes(rest[2] ?? '')
  const namespace = inNamespace ? rest[1] : undefined
  const [plural = '', name, ...sub] = inNamespace ? rest.slice(2) : rest
  const resource = resources.of(group, version, plural)
  if (resource.namespaced !== inNamespace && (resource.namespaced ? name !== undefined : true)) throw noSuchPath()
  const subresource = sub.length === 0 ? undefined : sub.join('/')
  if (subresource !== undefined && !resource.subresources.includes(subresource)) throw noSuchPath()
  return { resource, namespace, name, subresource }
}

const VERBS: Record<string, string> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete', GET: 'get' }

export function accessOf(asked: Asked, target: Target): Access {
  const plain = VERBS[asked.method] ?? 'get'
  const collection = target.name === undefined
  const verb =
    plain === 'get' && collection
      ? watches(asked)
        ? 'watch'
        : 'list'
      : plain === 'delete' && collection
        ? 'deletecollection'
        : plain
  return {
    verb,
    group: target.resource.group,
    resource: target.resource.plural,
    ...(target.subresource === undefined ? {} : { subresource: target.subresource }),
    ...(target.namespace === undefined ? {} : { namespace: target.namespace }),
    ...(target.name === undefined ? {} : { name: target.name }),
  }
}

export function watches(asked: Asked): boolean {
  const value = asked.query.get('watch')
  return value === 'true' || value === '1'
}

/** The body as data. Throws the API server's own errors. */
export function decoded(asked: Asked): unknown {
  if (asked.body.length === 0) return undefined
  if (asked.type === PROTOBUF) return decodeProtobuf(asked.body)
  try {
    if (asked.type.endsWith('json')) return JSON.parse(asked.body.toString()) as unknown
    if (asked.type.endsWith('yaml')) return parse(asked.body.toString()) as unknown
  } catch (error) {
    throw badRequest(`error decoding the body: ${(error as Error).message}`)
  }
  throw unsupportedMedia(['application/json', 'application/yaml', PROTOBUF])
}
