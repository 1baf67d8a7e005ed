import type { Step } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import type { Difference } from './compare.ts'
import type { Config } from './config.ts'
import type { Application, Flight, SolutionPackage } from './pin.ts'
import { shown } from './running.ts'

export type RungId = 'applications' | 'together' | 'solution'

/** What a step needs besides the settings. */
export type Args =
  /** A deployment of somebody else, stopped or waited for. */
  | { do: 'settle'; deployment: string; stop: boolean }
  | { do: 'deploy'; release: string; applications: Record<string, Application> }
  | { do: 'publish'; release: string; applications: Record<string, Application>; solution: SolutionPackage }
  | { do: 'maintenance'; on: boolean }

const MINUTE_MS = 60_000

/** Makes steps of one component by one rung. */
export class Steps {
  readonly #config: Config
  readonly #component: string
  readonly #rung: RungId

  constructor(config: Config, component: string, rung: RungId) {
    this.#config = config
    this.#component = component
    this.#rung = rung
  }

  settle({ key, what }: Flight): Step {
    const stop = this.#config.inFlight === 'stop'
    const title = `${stop ? 'stop' : 'wait for'} ${what}`
    const { deployment } = this.#config.limits
    return this.#step(`settle/${key}`, title, { do: 'settle', deployment: key, stop }, deployment, 2 * MINUTE_MS)
  }

  deploy(release: string, back: readonly Difference[], id: string): Step {
    const title = `deploy ${back.map(d => shown(d.to)).join(', ')}`
    const args: Args = { do: 'deploy', release, applications: byKey(back) }
    return this.#step(`deploy/${id}`, title, args, this.#deploying(), 5 * MINUTE_MS)
  }

  publish(release: string, applications: Record<string, Application>, solution: SolutionPackage): Step {
    const args: Args = { do: 'publish', release, applications, solution }
    const title = `publish the solution package of ${release}`
    const limit = this.#deploying() + this.#config.limits.transfer
    return this.#step('publish', title, args, limit, 10 * MINUTE_MS)
  }

  /** Harmless twice. The rung is in its name: what was told on another one counts for nothing. */
  maintenance(id: 'hold' | 'hold-again' | 'let-go'): Step {
    const on = id !== 'let-go'
    const title = `${on ? 'put the environment into' : 'take the environment out of'} maintenance mode`
    const { request } = this.#config.limits
    const step = this.#step(`${id}/${this.#rung}`, title, { do: 'maintenance', on }, request * 2, 1000)
    return { ...step, ...(on ? { lasts: true } : {}), retries: 2, onUnknown: 'repeat' }
  }

  #deploying(): number {
    const { deployment, settle } = this.#config.limits
    return deployment + settle
  }

  #step(id: string, title: string, args: Args, limitMs: number, estimateMs: number): Step {
    const component = this.#component
    const what = { id: `${component}/${id}`, component, title, args: args as unknown as Json }
    return { ...what, limitMs, retries: 1, estimateMs, onUnknown: 'ask' }
  }
}

function byKey(back: readonly Difference[]): Record<string, Application> {
  return Object.fromEntries(back.map(({ key, to }) => [key, to]))
}

/** A part of a step's id: the application's name, where it is fit for one and nobody else's. */
export function idsOf(back: readonly Difference[]): Map<string, string> {
  const plain = (name: string) => name.replaceAll(/[^A-Za-z0-9_-]+/g, '-')
  const count = new Map<string, number>()
  for (const { to } of back) count.set(plain(to.name), (count.get(plain(to.name)) ?? 0) + 1)
  return new Map(
    back.map(({ key, to }) => {
      const name = plain(to.name)
      return [key, count.get(name) === 1 ? name : `${name}-${key.slice(0, 8)}`]
    }),
  )
}
