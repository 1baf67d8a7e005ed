import { type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Upstream, Upstreams } from './upstreams.ts'
import type { Side, Weights } from './weights.ts'

const MOST_BYTES = 64 * 1024
const LIMIT_MS = 15_000
/** These belong to one connection and are never passed on. */
const OWN_HEADERS = ['connection', 'keep-alive', 'transfer-encoding', 'te', 'upgrade', 'proxy-connection']

export interface Proxy {
  readonly handle: (asked: IncomingMessage, response: ServerResponse) => void
  /** Requests in flight on each side. */
  readonly active: Readonly<Record<Side, number>>
}

export function proxyOf(weights: Weights, upstreams: Upstreams): Proxy {
  const active = { live: 0, maintenance: 0 }
  return {
    active,
    handle(asked, response) {
      const side = weights.next()
      active[side] += 1
      response.once('close', () => (active[side] -= 1))
      if (side === 'maintenance') {
        asked.resume()
        maintenance(asked, response)
        return
      }
      void bodyOf(asked).then(
        body => forward(asked, body, response, upstreams.inTurn()),
        () => refuse(response, 413, 'the request is too large'),
      )
    },
  }
}

function maintenance(asked: IncomingMessage, response: ServerResponse): void {
  const html = (asked.headers.accept ?? '').includes('text/html')
  const text = 'The shop is being looked after and will be back in a moment.'
  response.writeHead(503, {
    'retry-after': '1',
    'x-maintenance': 'yes',
    'cache-control': 'no-store',
    'content-type': html ? 'text/html; charset=utf-8' : 'application/json',
  })
  response.end(
    html
      ? `<!doctype html><html lang="en"><title>Back soon</title><h1>Back soon</h1><p>${text}</p></html>\n`
      : `${JSON.stringify({ maintenance: true, message: text })}\n`,
  )
}

async function bodyOf(asked: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of asked as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MOST_BYTES) throw new Error('too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Tries the next instance only where this one refused the connection: then it cannot have done anything yet. */
function forward(asked: IncomingMessage, body: Buffer, response: ServerResponse, turn: readonly Upstream[]): void {
  const [upstream, ...others] = turn
  if (upstream === undefined) return refuse(response, 502, 'no instance accepts connections')
  const headers = { ...passed(asked.headers), 'content-length': body.length }
  const { method = 'GET', url: path = '/' } = asked
  const sent = request({ ...upstream.options, method, path, headers, timeout: LIMIT_MS })
  sent.on('response', answer => {
    // An instance that closes its connections is about to stop.
    if (answer.headers.connection === 'close') upstream.up = false
    response.writeHead(answer.statusCode ?? 502, passed(answer.headers))
    answer.pipe(response)
    answer.on('error', () => response.destroy())
  })
  sent.on('timeout', () => sent.destroy(new Error(`${upstream.name} did not answer in time`)))
  sent.on('error', (error: NodeJS.ErrnoException) => {
    if (response.headersSent) return void response.destroy()
    if (error.code !== 'ECONNREFUSED') return refuse(response, 502, `${upstream.name}: ${error.message}`)
    upstream.up = false
    forward(asked, body, response, others)
  })
  response.once('close', () => {
    if (!response.writableFinished) sent.destroy()
  })
  sent.end(body)
}

function passed(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OWN_HEADERS.includes(name)))
}

function refuse(response: ServerResponse, status: number, error: string): void {
  if (response.destroyed) return
  response.writeHead(status, { 'content-type': 'application/json', 'x-balancer': 'failed' })
  response.end(`${JSON.stringify({ error })}\n`)
}
