import type { HttpAnswer } from '../../exec/http.ts'
import { parsed } from '../../exec/pointer.ts'
import {
  type DeploymentAnswer,
  type Details,
  deployment,
  deploymentKey,
  details,
  type StatusAnswer,
  status,
} from './answers.ts'
import type { LifeTime } from './client.ts'
import { strange } from './errors.ts'
import { several } from './several.ts'

const ALIVE = new Set(['running', 'needs_user_intervention', 'aborting'])
const DAY_MS = 86_400_000
/** How the notes of a deployment that a step makes begin. */
export const NOTES = 'Backout: back to'

/** What a time that never was looks like: 1900-01-01T00:00:00. */
export function neverWas(time: string): boolean {
  return /^(1900-|$)/.test(time)
}

/** Still at it, or able to go on with it. */
export function isAlive({ DeploymentStatus }: Pick<StatusAnswer, 'DeploymentStatus'>): boolean {
  return ALIVE.has(DeploymentStatus)
}

export interface Operation {
  readonly version: string
  readonly zone: string
}

/** The deployments into one environment. */
export class Deployments {
  readonly #lifetime: LifeTime
  readonly #target: string
  /** Those that have ended never begin again. */
  readonly #ended = new Map<string, StatusAnswer>()

  constructor(lifetime: LifeTime, target: string) {
    this.#lifetime = lifetime
    this.#target = target
  }

  /** The newest first, as far back as the settings say. */
  list(signal: AbortSignal): Promise<DeploymentAnswer[]> {
    // A day more: the server's clock, and its idea of a day, may be another.
    const from = new Date(Date.now() - (this.#lifetime.config.lookBack + 1) * DAY_MS).toISOString().slice(0, 10)
    const query = { MinDate: from, TargetEnvironmentKey: this.#target }
    return this.#lifetime.list(deployment, '/deployments/', query, signal)
  }

  async status(key: string, signal: AbortSignal): Promise<StatusAnswer> {
    const known = this.#ended.get(key)
    if (known !== undefined) return known
    const got = await this.#lifetime.one(status, `/deployments/${encodeURIComponent(key)}/status/`, undefined, signal)
    if (!isAlive(got) && got.DeploymentStatus !== 'saved') this.#ended.set(key, got)
    return got
  }

  /** Those that are going on, with how far they are. */
  async alive(signal: AbortSignal): Promise<{ deployment: DeploymentAnswer; status: StatusAnswer }[]> {
    const begun = (await this.list(signal)).filter(d => !neverWas(d.StartedOn))
    const all = await several(begun, async found => ({
      deployment: found,
      status: await this.status(found.Key, signal),
    }))
    return all.filter(d => isAlive(d.status))
  }

  /** Saves a deployment without starting it. Answers its key. */
  async create(source: string, operations: readonly Operation[], notes: string, signal: AbortSignal): Promise<string> {
    const body = {
      Notes: notes,
      SourceEnvironmentKey: source,
      TargetEnvironmentKey: this.#target,
      ApplicationOperations: operations.map(({ version, zone }) => ({
        ApplicationVersionKey: version,
        DeploymentZoneKey: zone,
      })),
    }
    return keyIn(await this.#lifetime.send({ method: 'POST', path: '/deployments/', body }, signal))
  }

  /** LifeTime's own check of a saved deployment: it may take its time, and moves the plan's inner state. */
  details(key: string, signal: AbortSignal): Promise<Details> {
    const { check } = this.#lifetime.config.limits
    return this.#lifetime.one(details, `/deployments/${encodeURIComponent(key)}/`, undefined, signal, check)
  }

  async command(key: string, name: 'start' | 'continue' | 'abort', signal: AbortSignal): Promise<void> {
    const { redeployOutdated } = this.#lifetime.config
    const query = name === 'start' ? { query: { RedeployOutdated: redeployOutdated ? 'true' : 'false' } } : {}
    const path = `/deployments/${encodeURIComponent(key)}/${name}/`
    await this.#lifetime.send({ method: 'POST', path, ...query }, signal)
  }

  /** Deletes one that was saved and never started; one that is gone already is deleted. */
  async remove(key: string, signal: AbortSignal): Promise<void> {
    const path = `/deployments/${encodeURIComponent(key)}/`
    await this.#lifetime.send({ method: 'DELETE', path, also: [404] }, signal)
  }
}

/** The key of a deployment that was created: text, or JSON, as the two published forms have it. */
export function keyIn(answer: HttpAnswer): string {
  const doc = parsed(answer.body)
  const read = deploymentKey.safeParse(doc)
  const key = read.success ? read.data.DeploymentKey : typeof doc === 'string' ? doc : answer.body.trim()
  if (/^[A-Za-z0-9-]{8,64}$/.test(key)) return key
  throw strange({ method: 'POST', path: '/deployments/' }, `it is no key: ${answer.body.slice(0, 100)}`)
}
