import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { type Sender, senderTo } from '../client.ts'
import { certificate, writeKubeconfig } from '../kubeconfig.ts'
import { ApiError, unauthorized } from '../status.ts'
import { type Access, Trouble } from '../trouble.ts'
import type { Obj } from '../types.ts'

/**
 * The way to a real API server, which a test can cut, and on which the stand-in's bad luck happens: what goes through is the
 * real server's, and so is all that comes of it.
 */
export interface Wire {
  /** Leads through here. */
  readonly kubeconfig: string
  readonly token: string
  readonly trouble: Trouble
  goAway(): Promise<void>
  comeBack(): Promise<void>
  /** Open watches end with 410 Gone, and so does the next one of each collection. */
  forget(): void
  close(): Promise<void>
}

export async function openWire(kubeconfig: string): Promise<Wire> {
  const tls = await certificate()
  const token = randomBytes(24).toString('hex')
  const relay = new Relay(await senderTo(kubeconfig), token)
  let port = 0
  const sockets = new Set<Socket>()
  const listen = async () => {
    const server = createServer(
      { key: tls.key, cert: tls.cert },
      (request, response) => void relay.answer(request, response),
    )
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    })
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
    return server
  }
  let server = await listen()
  const goAway = async () => {
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  const url = `https://127.0.0.1:${port}`
  const who = { context: 'wire', user: 'backout', token, namespace: 'default' }
  return {
    kubeconfig: await writeKubeconfig({ certificate: tls, url, ...who }),
    token,
    trouble: relay.trouble,
    goAway,
    async comeBack() {
      server = await listen()
    },
    forget: () => relay.forget(),
    async close() {
      await goAway()
      relay.close()
      await rm(tls.dir, { recursive: true, force: true })
    },
  }
}

class Relay {
  readonly trouble = new Trouble()
  readonly #upstream: Sender
  readonly #token: string
  readonly #watches = new Map<ServerResponse, string>()
  #forgotten = new Set<string>()

  constructor(upstream: Sender, token: string) {
    this.#upstream = upstream
    this.#token = token
  }

  forget(): void {
    for (const [response, path] of this.#watches) {
      this.#forgotten.add(path)
      response.end(`${JSON.stringify({ type: 'ERROR', object: GONE.body() })}\n`)
    }
    this.#watches.clear()
  }

  close(): void {
    this.#upstream.close()
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#relay(request, response)
    } catch (error) {
      if (response.headersSent) return void response.destroy()
      const known = error instanceof ApiError ? error : new ApiError(502, 'InternalError', String(error))
      response.writeHead(known.code, { 'content-type': 'application/json' }).end(JSON.stringify(known.body()))
    }
  }

  async #relay(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { trouble } = this
    const url = new URL(request.url ?? '/', 'http://localhost')
    const method = request.method ?? 'GET'
    if (!trouble.letsIn(request.headers.authorization, this.#token)) throw unauthorized()
    const access = accessAt(method, url)
    trouble.onRequest(access)
    if (access.verb === 'watch' && this.#forgotten.delete(url.pathname)) throw GONE
    const named = { group: access.group, plural: access.resource }
    const writes = ['update', 'patch', 'delete'].includes(access.verb)
    if (writes && access.name !== undefined) trouble.beforeWrite(named, access.name)
    const type = request.headers['content-type'] ?? ''
    const answer = await this.#upstream.send(method, request.url ?? '/', await buffer(request), type)
    if (access.verb === 'watch') return this.#stream(answer, response, url.pathname)
    const body = await buffer(answer)
    if (access.verb === 'get' && answer.statusCode === 200 && access.subresource === undefined)
      await trouble.onRead(named, access.name ?? '', () => JSON.parse(body.toString()) as Obj)
    if (trouble.losesReply(access)) return void response.destroy()
    response.writeHead(answer.statusCode ?? 502, passed(answer)).end(body)
  }

  #stream(answer: IncomingMessage, response: ServerResponse, path: string): void {
    this.#watches.set(response, path)
    response.on('close', () => {
      this.#watches.delete(response)
      answer.destroy()
    })
    response.writeHead(answer.statusCode ?? 502, passed(answer))
    response.flushHeaders()
    answer.on('data', (chunk: Buffer) => void (response.writableEnded || response.write(chunk)))
    answer.on('end', () => response.end())
    answer.on('error', () => response.destroy())
  }
}

const GONE = new ApiError(410, 'Expired', 'too old resource version')

function passed(answer: IncomingMessage): Record<string, string> {
  const names = ['content-type', 'retry-after', 'warning']
  return Object.fromEntries(
    names.flatMap(name => [[name, answer.headers[name]]]).filter(([, value]) => typeof value === 'string'),
  )
}

const VERBS: Record<string, string> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' }

function accessAt(method: string, url: URL): Access {
  const [root, ...rest] = url.pathname.split('/').filter(Boolean).map(decodeURIComponent)
  const group = root === 'apis' ? (rest.shift() ?? '') : ''
  rest.shift()
  const inNamespace = rest[0] === 'namespaces' && rest.length > 2
  const [resource = '', name, ...sub] = inNamespace ? rest.slice(2) : rest
  const watched = ['1', 'true'].includes(url.searchParams.get('watch') ?? '')
  const verb = VERBS[method] ?? (watched ? 'watch' : name === undefined ? 'list' : 'get')
  return {
    verb,
    group,
    resource,
    ...(name === undefined ? {} : { name }),
    ...(sub.length === 0 ? {} : { subresource: sub.join('/') }),
    ...(inNamespace ? { namespace: rest[1] } : {}),
  } as Access
}
