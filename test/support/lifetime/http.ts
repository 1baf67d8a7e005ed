import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

/** What may be done to a request, in place of or besides answering it. */
export interface Fault {
  /** Tried on "METHOD /path?query". */
  readonly on: RegExp
  /**
   * A status: refused with it, and nothing is done. `cut`: the connection breaks and nothing is done. `lose-reply`: it is done,
   * and the connection breaks. `late`: the connection breaks, and it is done a moment later. `hang`: nothing is done, and no answer comes. `silent`: it is done, and no answer comes.
   */
  readonly does: number | 'cut' | 'lose-reply' | 'late' | 'hang' | 'silent'
  readonly says?: string
  readonly headers?: Record<string, string>
  /** How often; once, if not given. */
  times?: number
}

export interface Request {
  readonly method: string
  /** Below `/lifetimeapi/rest/v2`, without the query. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

export interface Answer {
  readonly status: number
  /** JSON; or text as it is. */
  readonly json?: unknown
  readonly text?: string
  readonly bytes?: Buffer
}

/** The shape of every error: the definition `Exception` of the Swagger file. */
export function exception(status: number, ...Errors: string[]): Answer {
  return { status, json: { Errors, StatusCode: status } }
}

export interface Listening extends AsyncDisposable {
  readonly url: string
  readonly origin: string
  readonly faults: Fault[]
  /** "METHOD /path?query" of all that came. */
  readonly requests: string[]
}

const BASE = '/lifetimeapi/rest/v2'
const LATE_MS = 150

export async function listen(handle: (request: Request) => Answer): Promise<Listening> {
  const faults: Fault[] = []
  const requests: string[] = []
  const server = createServer((req, res) => void serve(req, res).catch(() => res.destroy()))
  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '/', 'http://lifetime')
    const path = url.pathname.startsWith(BASE) ? url.pathname.slice(BASE.length) : `?${url.pathname}`
    const line = `${req.method} ${path}${url.search}`
    requests.push(line)
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    const { method = 'GET', headers } = req
    const request = { method, path, query: url.searchParams, headers, body: Buffer.concat(chunks) }
    const fault = faults.find(f => f.on.test(line))
    if (fault === undefined) return reply(res, handle(request))
    fault.times = (fault.times ?? 1) - 1
    if (fault.times <= 0) faults.splice(faults.indexOf(fault), 1)
    if (typeof fault.does === 'number') {
      return reply(res, exception(fault.does, fault.says ?? `It failed with ${fault.does}`), fault.headers)
    }
    if (fault.does === 'lose-reply' || fault.does === 'silent') handle(request)
    if (fault.does === 'hang' || fault.does === 'silent') return
    if (fault.does === 'late') setTimeout(() => handle(request), LATE_MS)
    res.destroy()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    url: origin,
    faults,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function reply(res: ServerResponse, answer: Answer, headers: Record<string, string> = {}): void {
  const { status, json, text, bytes } = answer
  if (bytes !== undefined) {
    res.writeHead(status, { 'content-type': 'application/octet-stream', 'content-length': bytes.length }).end(bytes)
  } else if (json !== undefined) {
    res.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers }).end(JSON.stringify(json))
  } else {
    res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text ?? '')
  }
}

/** The parts of a path that a pattern such as "/environments/:/applications/" leaves open; null where it does not fit. */
export function fits(pattern: string, path: string): string[] | null {
  const found = new RegExp(`^${pattern.replaceAll(':', '([^/]+)').replace(/\/$/, '/?')}$`).exec(path)
  return found === null ? null : found.slice(1).map(decodeURIComponent)
}
