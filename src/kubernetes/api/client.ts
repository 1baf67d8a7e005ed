import { systemClock } from '../../core/clock.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { Conflict, errorOf, isWarmingUp, type Refusal, refusalOf, unreachable } from './errors.ts'
import type { KubeList, KubeObject } from './objects.ts'
import { type Session, undici } from './session.ts'

export interface PatchOp {
  readonly op: 'test' | 'replace' | 'add' | 'remove'
  readonly path: string
  readonly value?: unknown
}

/** What writes are called as, in `managedFields` and in the API server's audit log. */
export const FIELD_MANAGER = 'backout'

interface Request {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly type?: string
  readonly signal: AbortSignal
}

/** Objects that are asked for at once; the API server pages what is more. */
const PAGE = 500
/** Reads are tried again where the API server was away for a moment. */
const READ_TRIES = 4

/** JSON as the API server has it, unknown fields and all. Writes are never repeated by themselves. */
export class Client {
  readonly session: Session
  readonly #limitMs: number

  constructor(session: Session, limitMs: number) {
    this.session = session
    this.#limitMs = limitMs
  }

  /** null: there is none. */
  async get<T extends KubeObject = KubeObject>(path: string, signal: AbortSignal): Promise<T | null> {
    const answer = await this.#read({ method: 'GET', path, signal })
    if (answer.refusal?.status === 404) return null
    return this.#value(answer, { method: 'GET', path }) as T
  }

  /** All of a collection, in one consistent view. A collection that the server does not have is null. */
  async list(path: string, signal: AbortSignal): Promise<Listed | null> {
    const items: KubeObject[] = []
    let more = ''
    for (;;) {
      const page = `${path}${path.includes('?') ? '&' : '?'}limit=${PAGE}${more}`
      const answer = await this.#read({ method: 'GET', path: page, signal })
      if (answer.refusal?.status === 404) return null
      if (answer.refusal?.status === 410 && more !== '') {
        // The view that was paged is gone: begin anew.
        items.length = 0
        more = ''
        continue
      }
      const list = this.#value(answer, { method: 'GET', path }) as unknown as KubeList
      items.push(...list.items)
      const next = list.metadata.continue
      if (!next) return { items, resourceVersion: list.metadata.resourceVersion ?? '' }
      more = `&continue=${encodeURIComponent(next)}`
    }
  }

  /** Text of a pod's log; null where it is gone, or its node has thrown the container away, which it says with success. */
  async log(path: string, signal: AbortSignal): Promise<string | null> {
    const answer = await this.#read({ method: 'GET', path, signal })
    if (answer.refusal?.status === 404) return null
    if (answer.refusal !== null) throw errorOf({ method: 'GET', path }, answer.refusal, this.session.context)
    return /^unable to retrieve container logs for \S+:\/\/\S+$/.test(answer.body.trim()) ? null : answer.body
  }

  async post<T extends KubeObject = KubeObject>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
    return this.#write({ method: 'POST', path, body, type: 'application/json', signal }) as Promise<T>
  }

  /**
   * A JSON patch that holds only while the object is at this resourceVersion. Throws `Conflict` where it is not any more:
   * the API server says 409, or 422 for the failed test, which it also says of a patch that is wrong.
   */
  async patch<T extends KubeObject>(
    path: string,
    at: KubeObject,
    ops: readonly PatchOp[],
    signal: AbortSignal,
  ): Promise<T> {
    const resourceVersion = at.metadata.resourceVersion
    const guarded = [{ op: 'test', path: '/metadata/resourceVersion', value: resourceVersion }, ...ops]
    const request = { method: 'PATCH', path: managed(path), body: guarded, type: 'application/json-patch+json', signal }
    const answer = await this.#send(request)
    const status = answer.refusal?.status
    if (status === 409) throw new Conflict(answer.refusal?.message)
    if (status === 422) {
      const now = await this.get(path, signal)
      if (now?.metadata.resourceVersion !== resourceVersion) throw new Conflict(answer.refusal?.message)
    }
    return this.#value(answer, request) as T
  }

  /** What the server would say to a JSON patch besides taking it; nothing where it would not take it. Changes nothing. */
  async wouldWarn(path: string, at: KubeObject, ops: readonly PatchOp[], signal: AbortSignal): Promise<string[]> {
    const { resourceVersion } = at.metadata
    const guarded = [{ op: 'test', path: '/metadata/resourceVersion', value: resourceVersion }, ...ops]
    const type = 'application/json-patch+json'
    const answer = await this.#send({
      method: 'PATCH',
      path: managed(`${path}?dryRun=All`),
      body: guarded,
      type,
      signal,
    })
    return answer.refusal === null ? [...answer.warnings] : []
  }

  /** Why the server would not let an object be made; null: it would. Makes none. */
  async wouldRefuse(path: string, body: unknown, signal: AbortSignal): Promise<Refusal | null> {
    const request = { method: 'POST', path: managed(`${path}?dryRun=All`), body, type: 'application/json', signal }
    return (await this.#send(request)).refusal
  }

  /** Server-side apply under Backout's own name; fields that others own are taken over. */
  async apply<T extends KubeObject>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
    const type = 'application/apply-patch+yaml'
    return this.#write({ method: 'PATCH', path: `${managed(path)}&force=true`, body, type, signal }) as Promise<T>
  }

  /** True where it was there. `uid`: only that very one. */
  async remove(
    path: string,
    options: { uid?: string | undefined; propagation?: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(options.propagation === undefined ? {} : { propagationPolicy: options.propagation }),
      ...(options.uid === undefined ? {} : { preconditions: { uid: options.uid } }),
    }
    const request = { method: 'DELETE', path, body, type: 'application/json', signal }
    const answer = await this.#send(request)
    const status = answer.refusal?.status
    // Another one of that name is not the one that was to go.
    if (status === 404 || status === 409) return false
    this.#value(answer, request)
    return true
  }

  async #write(request: Request): Promise<KubeObject> {
    const path = request.method === 'POST' ? managed(request.path) : request.path
    const answer = await this.#send({ ...request, path })
    if (answer.refusal?.status === 409) throw new Conflict(answer.refusal.message)
    return this.#value(answer, request)
  }

  #value(answer: Answer, call: { method: string; path: string }): KubeObject {
    if (answer.refusal !== null) throw errorOf(call, answer.refusal, this.session.context)
    try {
      return JSON.parse(answer.body) as KubeObject
    } catch (error) {
      throw unreachable(
        this.session.server,
        `its answer to ${call.method} ${call.path} is no JSON: ${messageOf(error)}`,
      )
    }
  }

  async #read(request: Request): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const last = attempt === READ_TRIES
      try {
        const answer = await this.#send(request)
        const refusal = answer.refusal
        if (refusal === null || ![429, 500, 502, 503, 504].includes(refusal.status)) return answer
        if (last) throw unreachable(this.session.server, refusal.message)
        await systemClock.sleep((refusal.retryAfter ?? 0.2 * attempt) * 1000, request.signal)
      } catch (error) {
        request.signal.throwIfAborted()
        if (last || !(error instanceof BackoutError && error.code === 'kubernetes_unreachable')) throw error
        await systemClock.sleep(200 * attempt, request.signal)
      }
    }
  }

  async #send(request: Request): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#once(request)
      const status = answer.refusal?.status
      // A token that ran out, or was rotated: asked for anew, once. Nothing was done by what was refused.
      if (status === 401 && attempt === 1) await this.session.renew(answer.generation)
      // Too many at once: nothing was done either. Of an eviction it says that the budget allows none now.
      else if (isTemporary(answer, request) && attempt < 10) {
        await systemClock.sleep((answer.refusal?.retryAfter ?? 1) * 1000, request.signal)
      } else return answer
    }
  }

  async #once({ method, path, body, type, signal }: Request): Promise<Answer> {
    signal.throwIfAborted()
    const { request } = await undici()
    const { headers, dispatcher, generation } = await this.session.credentials()
    const limit = AbortSignal.timeout(this.#limitMs)
    try {
      const answer = await request(`${this.session.server}${path}`, {
        method: method as 'GET',
        dispatcher,
        signal: AbortSignal.any([signal, limit]),
        // Logs are plain text, and are refused to who accepts JSON alone.
        headers: {
          ...headers,
          accept: 'application/json, */*',
          ...(type === undefined ? {} : { 'content-type': type }),
        },
        body: body === undefined ? null : JSON.stringify(body),
      })
      const text = await answer.body.text()
      const ok = answer.statusCode >= 200 && answer.statusCode < 300
      const retryAfter = answer.headers['retry-after']
      const after = typeof retryAfter === 'string' ? retryAfter : undefined
      const refusal = ok ? null : refusalOf(answer.statusCode, text, after)
      return { body: text, refusal, warnings: warningsOf(answer.headers['warning']), generation }
    } catch (error) {
      signal.throwIfAborted()
      const why = limit.aborted ? `no answer within ${this.#limitMs} ms` : messageOf(error)
      throw unreachable(this.session.server, why, error)
    }
  }
}

export interface Listed {
  readonly items: KubeObject[]
  readonly resourceVersion: string
}

interface Answer {
  readonly body: string
  /** null: it was done. */
  readonly refusal: Refusal | null
  readonly warnings: readonly string[]
  /** Of the credentials. */
  readonly generation: number
}

/** `299 - "text"`, as many as there are. */
function warningsOf(header: string | string[] | undefined): string[] {
  const text = [header ?? []].flat().join(', ')
  return [...text.matchAll(/\b299 \S+ "((?:[^"\\]|\\.)*)"/g)].map(([, said = '']) =>
    redact(said.replaceAll(/\\(.)/g, '$1')),
  )
}

function isTemporary({ refusal }: Answer, { path }: Request): boolean {
  return isWarmingUp(refusal) || (refusal?.status === 429 && !path.includes('/eviction'))
}

function managed(path: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}fieldManager=${FIELD_MANAGER}`
}
