import { type ServerResponse } from 'node:http'
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Stream,
} from 'node:http2'
import { type AddressInfo, type Socket } from 'node:net'
import { type Api } from '../api.ts'
import { podSecurityWarnings } from '../pod-security.ts'
import { ApiError, noSuchPath, unauthorized } from '../status.ts'
import { forbiddenBy, type Trouble } from '../trouble.ts'
import { type Fields, type Obj } from '../types.ts'
import { review } from './access.ts'
import { discovery, versionOf } from './discovery.ts'
import { type Lists } from './lists.ts'
import { openapi } from './openapi.ts'
import { type Asked, accessOf, readRequest, type Target, targetOf, watches } from './request.ts'
import { selection, Verbs } from './verbs.ts'
import { type Watches } from './watch.ts'

export interface ApiParts {
  readonly api: Api
  readonly lists: Lists
  readonly watches: Watches
  readonly trouble: Trouble
  readonly token: string
  readonly user: string
  readonly tls: { key: string; cert: string }
  /** Answers `pods/log`; undefined where it is none of its paths. */
  readonly logs: (target: Target, query: URLSearchParams, response: Http2ServerResponse) => void
}

/** The API server as clients see it: HTTPS on loopback, HTTP/2 for who can, as a real one is. */
export class ApiServer {
  readonly #parts: ApiParts
  readonly #verbs: Verbs
  readonly #sockets = new Set<Socket>()
  #server: Http2SecureServer | null = null
  #port = 0

  constructor(parts: ApiParts) {
    this.#parts = parts
    this.#verbs = new Verbs(parts.api, parts.lists, parts.trouble)
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`
  }

  /** Listens on a free port; after `close` on the same one again. */
  async listen(): Promise<void> {
    const server = createSecureServer(
      { ...this.#parts.tls, allowHTTP1: true },
      (request, response) => void this.#serve(request, response),
    )
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** Refuses connections from now on and cuts those that are there. */
  async close(): Promise<void> {
    const server = this.#server
    this.#server = null
    if (server === null) return
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async #serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    try {
      await this.#handle(await readRequest(request), response)
    } catch (error) {
      if (isGone(response)) return
      const known =
        error instanceof ApiError
          ? error
          : new ApiError(500, 'InternalError', `Internal error occurred: ${String(error)}`)
      send(response, known.code, known.body())
    }
  }

  async #handle(asked: Asked, response: Http2ServerResponse): Promise<void> {
    const { api, trouble, token, user } = this.#parts
    if (!trouble.letsIn(asked.authorization, token)) throw unauthorized()
    const fixed = this.#fixed(asked)
    if (fixed !== undefined) return send(response, asked.method === 'POST' ? 201 : 200, fixed)
    const target = targetOf(asked.path, api.resources)
    const access = accessOf(asked, target)
    trouble.onRequest(access)
    if (trouble.denies(access, asked.authorization)) throw forbiddenBy(user, target.resource, access)
    if (access.verb === 'watch' || (access.verb === 'get' && watches(asked)))
      return this.#watch(asked, target, response)
    if (target.subresource === 'log') return this.#parts.logs(target, asked.query, response)
    const { code, body } = this.#verbs.answer(asked, target)
    // Answered is what was read; whoever writes in between does so before the client has it.
    if (access.verb === 'get') await trouble.onRead(target.resource, target.name ?? '', () => body as unknown as Obj)
    if (trouble.losesReply(access)) cut(response)
    else
      send(
        response,
        code,
        body,
        access.verb === 'get' ? [] : podSecurityWarnings(this.#parts.api, body as unknown as Obj),
      )
  }

  #fixed(asked: Asked): Fields | undefined {
    const [root] = asked.path
    if (root === 'version') return versionOf(this.#parts.api.resources.minor)
    if (root === 'healthz' || root === 'readyz' || root === 'livez') return { ok: true }
    if (root === 'openapi') {
      const found = openapi(asked.path, this.#parts.api.resources)
      if (found === undefined) throw noSuchPath()
      return found
    }
    if (asked.method === 'GET') return discovery(asked.path, this.#parts.api.resources)
    return asked.method === 'POST' ? review(asked, this.#parts.trouble, this.#parts.user) : undefined
  }

  #watch(asked: Asked, target: Target, response: Http2ServerResponse): void {
    const { query } = asked
    this.#parts.watches.start(
      {
        resource: target.resource,
        namespace: target.namespace,
        matches: selection(asked, target),
        resourceVersion: query.get('resourceVersion'),
        bookmarks: query.get('allowWatchBookmarks') === 'true',
        initialEvents: query.get('sendInitialEvents') === 'true',
        timeoutMs: Number(query.get('timeoutSeconds') ?? 1800) * 1000,
      },
      response,
    )
  }
}

/** What a response lies on with HTTP/2; none with HTTP/1. */
function streamOf({ stream }: { stream?: ServerHttp2Stream }): ServerHttp2Stream | undefined {
  return stream
}

function isGone(response: Http2ServerResponse): boolean {
  return (streamOf(response) ?? (response as unknown as ServerResponse)).destroyed
}

/** The connection with all that goes over it, as where the server dies. */
function cut(response: Http2ServerResponse): void {
  ;(streamOf(response)?.session ?? response).destroy()
}

function send(response: Http2ServerResponse, code: number, body: Fields, warnings: readonly string[] = []): void {
  const text = `${JSON.stringify(body)}\n`
  if (warnings.length > 0)
    response.setHeader(
      'warning',
      warnings.map(one => `299 - ${JSON.stringify(one)}`),
    )
  response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}
