import { z } from 'zod'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { type Json, sameJson } from '../../core/json.ts'
import { redact, reveal, type Text } from '../../core/secret.ts'
import { type HttpAnswer, type HttpCall, HttpError, http, shownUrl } from '../../exec/http.ts'
import { at, parsed } from '../../exec/pointer.ts'
import { lastLines } from '../../exec/words.ts'
import type { Config, Place } from './config.ts'
import { type Weights } from './weights.ts'

/** What the switch says of itself at one moment. */
export interface Reading extends Place {
  readonly etag: string | null
  /** Requests open on live sides; null where the settings do not say how to know. */
  readonly open: number | null
}

const numbers = z.record(z.string(), z.number().nonnegative())

/** Talks to the switch as the settings say. Every method throws `BackoutError` where the switch does not answer as expected. */
export class Switch {
  readonly config: Config

  constructor(config: Config) {
    this.config = config
  }

  async read(signal: AbortSignal): Promise<Reading> {
    const { read, maintenance, drained } = this.config
    const answer = await this.#send(read, signal)
    const doc = this.#json(read.url, answer)
    const weights = read.weights === undefined ? null : this.#weights(doc, read.weights)
    const flag = typeof maintenance === 'string' ? null : this.#need(read.url, doc, maintenance.read)
    const counted = drained?.url === undefined ? doc : await this.#ask(drained.url, signal)
    return {
      weights,
      maintenance: typeof maintenance === 'string' ? null : sameJson(flag, maintenance.onValue),
      etag: answer.headers['etag'] ?? null,
      open: drained === undefined ? null : this.#open(counted, drained.open),
    }
  }

  /** True where the switch took it, false where the state had changed since it was read. */
  async putWeights(weights: Weights, etag: string | null, signal: AbortSignal): Promise<boolean> {
    const { write } = this.config
    if (write === undefined) throw new Error('weights of a switch that has none')
    const body = reveal(write.body)
      .replaceAll('{weights}', JSON.stringify(weights))
      .replaceAll(/\{weight:([^}]+)\}/g, (_, side: string) => String(weights[side] ?? 0))
    return this.#write({ ...write, body }, etag, signal)
  }

  /** As `putWeights`, for the maintenance mode. */
  async putMaintenance(on: boolean, etag: string | null, signal: AbortSignal): Promise<boolean> {
    const { maintenance } = this.config
    if (typeof maintenance === 'string') throw new Error('maintenance mode of a switch that has none')
    const { body, ...request } = on ? maintenance.on : maintenance.off
    return this.#write({ ...request, ...(body === undefined ? {} : { body: reveal(body) }) }, etag, signal)
  }

  async #write(call: Omit<HttpCall, 'limitMs'>, etag: string | null, signal: AbortSignal): Promise<boolean> {
    const guard = this.config.ifMatch && etag !== null ? { 'if-match': etag } : {}
    const json =
      call.body === undefined || named(call.headers, 'content-type') ? {} : { 'content-type': 'application/json' }
    const answer = await this.#send({ ...call, headers: { ...json, ...call.headers, ...guard } }, signal)
    if (answer.status === 412) return false
    if (!ok(answer)) throw refused(call.url, answer)
    return true
  }

  async #ask(url: Text, signal: AbortSignal): Promise<Json> {
    return this.#json(url, await this.#send({ url, headers: this.config.read.headers }, signal))
  }

  async #send(call: Omit<HttpCall, 'limitMs'>, signal: AbortSignal): Promise<HttpAnswer> {
    try {
      return await http({ ...call, limitMs: this.config.timeout }, signal)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw new BackoutError({
        code: 'switch_unreachable',
        what: `The traffic switch at ${shownUrl(call.url)} did not answer`,
        cause: error instanceof HttpError ? error.message : redact(messageOf(error)),
        next: 'look whether it is up and can be reached from here, then run the command again',
        exit: 'failed',
        from: error,
      })
    }
  }

  #json(url: Text, answer: HttpAnswer): Json {
    if (!ok(answer)) throw refused(url, answer)
    const doc = parsed(answer.body)
    if (doc === undefined) throw strange(url, `it is no JSON: ${lastLines(redact(answer.body), 100)}`)
    return doc
  }

  #need(url: Text, doc: Json, pointer: string): Json {
    const found = at(doc, pointer)
    if (found === undefined) throw strange(url, `there is nothing at ${pointer}`)
    return found
  }

  #weights(doc: Json, pointer: string): Record<string, number> {
    const found = numbers.safeParse(at(doc, pointer))
    if (found.success && Object.keys(found.data).length > 0) return found.data
    throw strange(this.config.read.url, `${pointer} is no object of side and weight`)
  }

  #open(doc: Json, pointer: string): number {
    const found = at(doc, pointer)
    if (typeof found === 'number') return found
    const { live, maintenance, drained, read } = this.config
    const bySide = numbers.safeParse(found)
    if (!bySide.success)
      throw strange(drained?.url ?? read.url, `${pointer} is no number, nor an object of side and number`)
    const counts = bySide.data
    const sides = live === undefined ? Object.keys(counts).filter(side => side !== maintenance) : [live].flat()
    const unknown = sides.filter(side => counts[side] === undefined)
    // A side that is not counted may be full of users.
    if (unknown.length > 0) throw strange(drained?.url ?? read.url, `${pointer} does not count ${unknown.join(', ')}`)
    return sides.reduce((sum, side) => sum + (counts[side] ?? 0), 0)
  }
}

function named(headers: HttpCall['headers'], name: string): boolean {
  return Object.keys(headers ?? {}).some(key => key.toLowerCase() === name)
}

function ok({ status }: HttpAnswer): boolean {
  return status >= 200 && status < 300
}

function refused(url: Text, { status, body }: HttpAnswer): BackoutError {
  const said = lastLines(redact(body), 200)
  return new BackoutError({
    code: 'switch_refused',
    what: `The traffic switch at ${shownUrl(url)} answered ${status}`,
    cause: said === '' ? undefined : said,
    next:
      status === 401 || status === 403
        ? 'correct the credentials in `headers`'
        : 'look at the switch, and at `read` and `write`',
    exit: 'failed',
  })
}

function strange(url: Text, why: string): BackoutError {
  return new BackoutError({
    code: 'switch_answer',
    what: `The answer of the traffic switch at ${shownUrl(url)} is not as the settings say`,
    cause: why,
    next: 'correct the JSON pointers in the settings',
    exit: 'failed',
  })
}
