import { resolve } from 'node:path'
import { z } from 'zod'
import { systemClock } from '../../core/clock.ts'
import { BackoutError } from '../../core/errors.ts'
import { redact, remember, reveal } from '../../core/secret.ts'
import { type HttpAnswer, http } from '../../exec/http.ts'
import { parsed } from '../../exec/pointer.ts'
import { lastLines } from '../../exec/words.ts'
import type { Config } from './config.ts'
import { refused, strange, unreachable } from './errors.ts'

const BASE = '/lifetimeapi/rest/v2'
/** Of an infrastructure with thousands of modules, all lists stay below this. */
const MAX_BYTES = 64 << 20
const BACKOFF_MS = [250, 1000, 3000, 8000]
const LONGEST_PAUSE_MS = 60_000

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** That of one request, if not given. Milliseconds. */
  readonly limitMs?: number
  /** Statuses that are an answer besides those of the two hundreds: the caller knows what they mean. */
  readonly also?: readonly number[]
}

/** Talks to LifeTime. Throws `BackoutError` for whatever is not an answer as published. Nothing here changes anything by itself. */
export class LifeTime {
  readonly config: Config
  readonly ca: string | undefined
  #free = Promise.resolve()
  #remembered = false

  constructor(config: Config, baseDir: string) {
    this.config = config
    this.ca = config.ca === undefined ? undefined : resolve(baseDir, config.ca)
  }

  /** A list; LifeTime answers 204 where it is empty. */
  async list<T extends z.ZodType>(schema: T, path: string, query: Call['query'], signal: AbortSignal) {
    const call: Call = { method: 'GET', path, ...(query === undefined ? {} : { query }) }
    const answer = await this.send(call, signal)
    return answer.status === 204 || answer.body.trim() === '' ? [] : this.#as(z.array(schema), call, answer)
  }

  async one<T extends z.ZodType>(schema: T, path: string, query: Call['query'], signal: AbortSignal, limitMs?: number) {
    const call: Call = {
      method: 'GET',
      path,
      ...(query === undefined ? {} : { query }),
      ...(limitMs === undefined ? {} : { limitMs }),
    }
    return this.#as(schema, call, await this.send(call, signal))
  }

  /** As `one`; null where LifeTime says that it does not have it, or does not offer it here. */
  async perhaps<T extends z.ZodType>(
    schema: T,
    path: string,
    query: Call['query'],
    signal: AbortSignal,
    none: number[],
  ) {
    const call: Call = { method: 'GET', path, ...(query === undefined ? {} : { query }), also: none }
    const answer = await this.send(call, signal)
    return none.includes(answer.status) ? null : this.#as(schema, call, answer)
  }

  /** Sends; what only reads is tried again where no answer came or LifeTime failed. What writes is never sent twice. */
  async send(call: Call, signal: AbortSignal): Promise<HttpAnswer> {
    const tries = call.method === 'GET' ? this.config.limits.tries : 1
    for (let tried = 1; ; tried++) {
      await this.#turn(signal)
      const got = await this.#once(call, signal)
      if (!(got instanceof BackoutError)) {
        if (got.status === 429) {
          if (tried >= Math.max(tries, this.config.limits.tries)) throw refused(call, got, this.config)
          await systemClock.sleep(pauseOf(got, tried), signal)
          continue
        }
        if ((got.status >= 200 && got.status < 300) || call.also?.includes(got.status) === true) return got
        if (got.status < 500 || tried >= tries) throw refused(call, got, this.config)
      } else if (tried >= tries) throw got
      await systemClock.sleep(BACKOFF_MS[Math.min(tried, BACKOFF_MS.length) - 1] ?? 250, signal)
    }
  }

  /** Its value is hidden from then on in whatever is shown, also where the settings hold it as plain text. */
  bearer(): string {
    const token = reveal(this.config.token)
    if (!this.#remembered) remember(token)
    this.#remembered = true
    return `Bearer ${token}`
  }

  addressOf(path: string, query: Call['query'] = {}): string {
    const url = new URL(`${this.config.url}${BASE}${path}`)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url.href
  }

  async #once(call: Call, signal: AbortSignal): Promise<HttpAnswer | BackoutError> {
    const json = call.body === undefined ? {} : { 'content-type': 'application/json' }
    const authorization = this.bearer()
    try {
      const answer = await http(
        {
          url: this.addressOf(call.path, call.query),
          method: call.method,
          headers: { accept: 'application/json, text/plain', ...json, authorization },
          ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
          limitMs: call.limitMs ?? this.config.limits.request,
          maxBytes: MAX_BYTES,
          ca: this.ca,
        },
        signal,
      )
      return answer.cut ? strange(call, `it is longer than ${MAX_BYTES} bytes`) : answer
    } catch (error) {
      if (signal.aborted) throw signal.reason
      return unreachable(call, this.config.url, error)
    }
  }

  #as<T extends z.ZodType>(schema: T, call: Call, answer: HttpAnswer): z.output<T> {
    const doc = parsed(answer.body)
    if (doc === undefined) throw strange(call, `it is no JSON: ${lastLines(redact(answer.body), 100)}`)
    const read = schema.safeParse(doc)
    if (read.success) return read.data
    throw strange(call, z.prettifyError(read.error))
  }

  /** Requests one after the other where a pace is set. */
  async #turn(signal: AbortSignal): Promise<void> {
    const { pace } = this.config.limits
    signal.throwIfAborted()
    if (pace === 0) return
    const mine = this.#free
    this.#free = mine.then(() => systemClock.sleep(pace))
    await mine
    signal.throwIfAborted()
  }
}

function pauseOf({ headers }: HttpAnswer, tried: number): number {
  const said = Number(headers['retry-after'])
  const ms = Number.isFinite(said) && said > 0 ? said * 1000 : (BACKOFF_MS[Math.min(tried, BACKOFF_MS.length) - 1] ?? 0)
  return Math.min(ms, LONGEST_PAUSE_MS)
}
