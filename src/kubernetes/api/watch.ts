import { systemClock } from '../../core/clock.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Client } from './client.ts'
import { errorOf, refusalOf, unreachable } from './errors.ts'
import type { KubeObject } from './objects.ts'
import { undici } from './session.ts'

type Items = ReadonlyMap<string, KubeObject>

/** The server ends a watch after this; a new one goes on from where it was. What it was cut off from shows by then. */
const WATCH_S = 60
const TICK_MS = 250
const QUICK_MS = 200

interface Following {
  readonly client: Client
  readonly signal: AbortSignal
  /** How long the API server may be away. */
  readonly awayMs: number
}

/**
 * Follows collections until `check` answers something else than null. A watch that is closed goes on from where it was; where
 * the server has forgotten that (410) everything is listed again. `check` is asked after each change, and
 * now and then without one.
 */
export async function until<T>(
  { client, signal, awayMs }: Following,
  paths: readonly string[],
  check: (...collections: KubeObject[][]) => T | null | Promise<T | null>,
): Promise<T> {
  const over = new AbortController()
  const both = AbortSignal.any([signal, over.signal])
  let wake = Promise.withResolvers<void>()
  const changed = () => wake.resolve()
  const followers = paths.map(path => new Follower(client, path, awayMs, changed))
  const failed = Promise.all(followers.map(f => f.run(both))).then((): never => {
    throw new Error('a watch ended by itself')
  })
  failed.catch(() => {})
  try {
    for (;;) {
      if (followers.every(f => f.listed)) {
        const answer = await check(...followers.map(f => [...f.items.values()]))
        if (answer !== null) return answer
      }
      const tick = systemClock.sleep(TICK_MS, both)
      tick.catch(() => {})
      await Promise.race([wake.promise, tick, failed])
      wake = Promise.withResolvers<void>()
    }
  } finally {
    over.abort(null)
  }
}

/** One collection, kept as the server has it. */
class Follower {
  readonly #client: Client
  readonly #path: string
  readonly #awayMs: number
  readonly #changed: () => void
  readonly #items = new Map<string, KubeObject>()
  #version = ''
  #listed = false

  constructor(client: Client, path: string, awayMs: number, changed: () => void) {
    this.#client = client
    this.#path = path
    this.#awayMs = awayMs
    this.#changed = changed
  }

  get items(): Items {
    return this.#items
  }

  get listed(): boolean {
    return this.#listed
  }

  /** Until the signal aborts. Throws where the server was away for too long. */
  async run(signal: AbortSignal): Promise<void> {
    let awaySince: number | null = null
    let failures = 0
    const seen = () => {
      awaySince = null
      failures = 0
    }
    while (!signal.aborted) {
      try {
        if (this.#version === '') await this.#list(signal)
        await this.#watch(signal, seen)
      } catch (error) {
        if (signal.aborted) return
        awaySince ??= systemClock.mono()
        if (!this.#passes(error) || systemClock.mono() - awaySince > this.#awayMs) throw error
        failures++
        await systemClock.sleep(Math.min(2_000, 100 * 2 ** failures), signal).catch(() => {})
      }
    }
  }

  /** An API server that just came back may not know for a moment what somebody may do who did the same before. */
  #passes(error: unknown): boolean {
    if (!(error instanceof BackoutError)) return false
    const knowsNobody = ['kubernetes_forbidden', 'kubernetes_unauthorized'].includes(error.code)
    return error.code === 'kubernetes_unreachable' || (this.#listed && knowsNobody)
  }

  async #list(signal: AbortSignal): Promise<void> {
    const list = await this.#client.list(this.#path, signal)
    this.#items.clear()
    for (const item of list?.items ?? []) this.#items.set(keyOf(item), item)
    this.#version = list?.resourceVersion ?? ''
    this.#listed = true
    this.#changed()
  }

  /** `seen`: it answers. */
  async #watch(signal: AbortSignal, seen: () => void): Promise<void> {
    const began = systemClock.mono()
    for await (const event of events(this.#client, this.#path, this.#version, { signal, seen })) {
      if (event.type === 'ERROR') return this.#lost(event.object)
      this.#version = event.object.metadata.resourceVersion ?? this.#version
      if (event.type === 'BOOKMARK') continue
      if (event.type === 'DELETED') this.#items.delete(keyOf(event.object))
      else this.#items.set(keyOf(event.object), event.object)
      this.#changed()
    }
    // A server that closes every watch at once is not to be asked without end.
    if (systemClock.mono() - began < QUICK_MS) await systemClock.sleep(QUICK_MS, signal)
  }

  #lost(status: KubeObject): void {
    // 410: what came after our version is forgotten. Whatever else it is, listing again is right.
    this.#version = ''
    const { code, message } = status as { code?: number; message?: string }
    if (code !== 410) throw unreachable(this.#client.session.server, message ?? 'the watch failed')
  }
}

function keyOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`
}

interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  readonly object: KubeObject
}

async function* events(
  client: Client,
  path: string,
  version: string,
  { signal, seen }: { signal: AbortSignal; seen: () => void },
): AsyncGenerator<WatchEvent> {
  const { request } = await undici()
  const { server, context } = client.session
  const query = `watch=1&allowWatchBookmarks=true&timeoutSeconds=${WATCH_S}&resourceVersion=${encodeURIComponent(version)}`
  const url = `${server}${path}${path.includes('?') ? '&' : '?'}${query}`
  const { headers, dispatcher, generation } = await client.session.credentials()
  try {
    const limits = { headersTimeout: 30_000, bodyTimeout: (WATCH_S + 10) * 1000 }
    const answer = await request(url, { dispatcher, headers, signal, ...limits })
    if (answer.statusCode !== 200) {
      const refusal = refusalOf(answer.statusCode, await answer.body.text(), undefined)
      if (refusal.status === 410) {
        yield { type: 'ERROR', object: { metadata: { name: '' }, code: 410 } }
        return
      }
      if (refusal.status === 401) {
        await client.session.renew(generation)
        throw unreachable(server, refusal.message)
      }
      if (refusal.status === 429 || refusal.status >= 500) throw unreachable(server, refusal.message)
      throw errorOf({ method: 'WATCH', path }, refusal, context)
    }
    seen()
    yield* lines(answer.body)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof BackoutError) throw error
    throw unreachable(server, messageOf(error), error)
  }
}

async function* lines(body: AsyncIterable<Buffer>): AsyncGenerator<WatchEvent> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) if (part.trim() !== '') yield JSON.parse(part) as WatchEvent
  }
}
