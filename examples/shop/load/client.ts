import { Agent, type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Tally } from './tally.ts'

const LIMIT_MS = 15_000

export interface Asked {
  /** The step of the journey, for the counts. */
  readonly step: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: object
  readonly token?: string
  /** What is wrong with an answer that was served; null where it is right. */
  wrong?(json: Record<string, unknown>): string | null
}

export interface Served {
  readonly json: Record<string, unknown>
  readonly version: string
}

interface Reply {
  readonly status: number
  readonly maintenance: boolean
  readonly version: string
  readonly json: Record<string, unknown>
}

/** Asks as a person's browser would: told of maintenance it waits and asks again; a failure is counted, not repeated. */
export class Client {
  readonly #agent = new Agent({ keepAlive: true })
  readonly #url: URL
  readonly #tally: Tally
  readonly #stop: AbortSignal

  constructor(url: string, tally: Tally, stop: AbortSignal) {
    this.#url = new URL(url)
    this.#tally = tally
    this.#stop = stop
  }

  /** What the shop answered; null where that was not served, or the load is to stop. */
  async ask(asked: Asked): Promise<Served | null> {
    while (!this.#stop.aborted) {
      const sentAt = Date.now()
      const began = performance.now()
      const reply = await this.#send(asked).catch((error: unknown) => error as NodeJS.ErrnoException)
      const sample = { step: asked.step, sentAt, ms: performance.now() - began }
      if (reply instanceof Error) {
        this.#tally.add({ ...sample, outcome: 'failed', version: 'none', reason: reply.code ?? reply.message })
        return null
      }
      const { json, version } = reply
      if (reply.maintenance) {
        this.#tally.add({ ...sample, outcome: 'maintenance', version })
        await this.#wait()
        continue
      }
      const reason = reply.status >= 300 ? String(reply.status) : (asked.wrong?.(json) ?? null)
      this.#tally.add({ ...sample, version, ...(reason === null ? { outcome: 'ok' } : { outcome: 'failed', reason }) })
      return reply.status >= 300 ? null : { json, version }
    }
    return null
  }

  close(): void {
    this.#agent.destroy()
  }

  async #wait(): Promise<void> {
    // Less patient than Retry-After asks, so that a short maintenance is seen from outside as well.
    await sleep(300 + Math.random() * 400, undefined, { signal: this.#stop }).catch(() => undefined)
  }

  #send({ method, path, body, token }: Asked): Promise<Reply> {
    const payload = body === undefined ? '' : JSON.stringify(body)
    const headers: Record<string, string | number> = { 'content-length': Buffer.byteLength(payload) }
    if (body !== undefined) headers['content-type'] = 'application/json'
    if (token !== undefined) headers.authorization = `Bearer ${token}`
    return new Promise((resolve, reject) => {
      const sent = request(new URL(path, this.#url), { agent: this.#agent, method, headers, timeout: LIMIT_MS })
      sent.on('response', response => void replyOf(response).then(resolve, reject))
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
      sent.on('error', reject)
      sent.end(payload)
    })
  }
}

async function replyOf(response: IncomingMessage): Promise<Reply> {
  let text = ''
  response.setEncoding('utf8')
  for await (const chunk of response) text += chunk as string
  return {
    status: response.statusCode ?? 0,
    maintenance: response.statusCode === 503 && response.headers['x-maintenance'] === 'yes',
    version: String(response.headers['x-shop-version'] ?? 'none'),
    json: JSON.parse(text) as Record<string, unknown>,
  }
}
