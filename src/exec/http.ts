import { readFile } from 'node:fs/promises'
import { messageOf } from '../core/errors.ts'
import { redact, reveal, type Text } from '../core/secret.ts'

/** One HTTP request as settings describe it. */
export interface HttpCall {
  readonly url: Text
  readonly method?: string
  readonly headers?: Readonly<Record<string, Text>>
  readonly body?: string
  /** From the first byte asked to the last byte read. Milliseconds. */
  readonly limitMs: number
  /** How much of the body is read. Bytes, 1 MiB by default. */
  readonly maxBytes?: number
  /** How many redirects are followed; none by default, for then the redirect is the answer. Another host is not sent the headers. */
  readonly follow?: number | undefined
  /** Path of a file with the certificate authorities to trust, in place of the usual ones. */
  readonly ca?: string | undefined
}

export interface HttpAnswer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** The body was longer than `maxBytes`. */
  readonly cut: boolean
  readonly ms: number
}

/**
 * `refused`: the target, or the way to it, did not give an answer. `no-data`: this machine could not even ask (name not
 * resolved, no route, out of ports or files), so nothing is known about the target.
 */
export type HttpFault = 'refused' | 'no-data'

/** Why there is no answer. The message holds no secret. */
export class HttpError extends Error {
  readonly fault: HttpFault

  constructor(message: string, fault: HttpFault, from?: unknown) {
    super(redact(message), { cause: from })
    this.name = 'HttpError'
    this.fault = fault
  }
}

const COULD_NOT_ASK = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_NODATA',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOENT',
  'EACCES',
  'ERR_INVALID_URL',
])

/**
 * Sends one request over a connection of its own, so that no kept connection leads to a server that traffic has left.
 * Any status is an answer. Throws `HttpError` where there is none, and the signal's reason when it aborts.
 */
export async function http(call: HttpCall, signal?: AbortSignal): Promise<HttpAnswer> {
  signal?.throwIfAborted()
  const limit = AbortSignal.timeout(call.limitMs)
  const both = signal === undefined ? limit : AbortSignal.any([signal, limit])
  try {
    return await exchange(call, both)
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    if (error instanceof HttpError) throw error
    if (limit.aborted) throw new HttpError(`no answer within ${call.limitMs} ms`, 'refused', error)
    throw new HttpError(brief(error), faultOf(error), error)
  }
}

async function exchange(call: HttpCall, signal: AbortSignal): Promise<HttpAnswer> {
  const { Agent, request } = await import('undici')
  const tls = call.ca === undefined ? {} : { ca: await readFile(call.ca, 'utf8') }
  const agent = new Agent({ pipelining: 0, allowH2: false, connect: { timeout: call.limitMs, ...tls } })
  const begun = performance.now()
  try {
    let url = new URL(reveal(call.url))
    let headers = revealed(call.headers ?? {})
    for (let hop = 0; ; hop++) {
      const answer = await request(url, {
        dispatcher: agent,
        signal,
        method: call.method ?? 'GET',
        headers,
        body: call.body ?? null,
      })
      const to = answer.headers.location
      if (call.follow === undefined || !isRedirect(answer.statusCode) || typeof to !== 'string') {
        const { text, cut } = await bounded(answer.body, call.maxBytes ?? 1 << 20)
        const got = Object.fromEntries(Object.entries(answer.headers).map(([k, v]) => [k, String(v)]))
        return { status: answer.statusCode, headers: got, body: text, cut, ms: performance.now() - begun }
      }
      answer.body.on('error', () => {}).destroy()
      if (hop >= call.follow) throw new HttpError(`redirected more than ${call.follow} times`, 'refused')
      const next = new URL(to, url)
      if (next.origin !== url.origin) headers = {}
      url = next
    }
  } finally {
    await agent.destroy().catch(() => {})
  }
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

function revealed(headers: Readonly<Record<string, Text>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), reveal(value)]))
}

async function bounded(body: AsyncIterable<Buffer>, max: number): Promise<{ text: string; cut: boolean }> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    size += chunk.length
    if (size > max) break
  }
  return { text: Buffer.concat(chunks).subarray(0, max).toString('utf8'), cut: size > max }
}

function codes(error: unknown): string[] {
  if (!(error instanceof Error)) return []
  const own = (error as NodeJS.ErrnoException).code
  const inner = error instanceof AggregateError ? error.errors.flatMap(codes) : []
  return [...(typeof own === 'string' ? [own] : []), ...inner, ...codes(error.cause)]
}

function faultOf(error: unknown): HttpFault {
  return codes(error).some(code => COULD_NOT_ASK.has(code)) ? 'no-data' : 'refused'
}

function brief(error: unknown): string {
  const code = codes(error).find(code => !code.startsWith('UND_'))
  const text = messageOf(error)
  return code === undefined || text.includes(code) ? text : `${code}: ${text}`
}

/** A URL that may be shown: without user, password and query; a secret one as it is written in the file. */
export function shownUrl(url: Text): string {
  if (typeof url !== 'string') return url.source
  if (!URL.canParse(url)) return url
  const { origin, pathname } = new URL(url)
  return `${origin}${pathname}`
}
