import { join } from 'node:path'
import type { ComponentConfig } from '../../config/load.ts'
import type { Proposal, Target } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import type { Environment } from './environment.ts'
import { HOOKS, hooksTarget } from './hooks.ts'

/** The opened components of one process, each opened once, on first use. */
export class Targets implements AsyncDisposable {
  readonly #environment: Environment
  readonly #open = new Map<string, Promise<Target<Json>>>()

  constructor(environment: Environment) {
    this.#environment = environment
  }

  get(component: string): Promise<Target<Json>> {
    let target = this.#open.get(component)
    if (target === undefined) {
      target = this.#make(component)
      this.#open.set(component, target)
      // What could not be opened is tried again: a long run must not end over what was mended meanwhile.
      target.catch(() => this.#open.delete(component))
    }
    return target
  }

  async #make(component: string): Promise<Target<Json>> {
    const { config, ledger } = this.#environment
    if (component === HOOKS) return hooksTarget(config)
    const made = config.components[component]
    if (made === undefined) {
      throw new BackoutError({
        code: 'component_unknown',
        what: `There is no component ${component} in ${config.file}`,
        next: `name one that is there (${Object.keys(config.components).join(', ')}); where a plan needs it, put it back or plan anew`,
        exit: 'usage',
      })
    }
    const target = await made.adapter.open(made.settings, {
      environment: config.environment,
      component,
      baseDir: config.baseDir,
      stateDir: join(ledger.folder, 'state', component),
      backups: ledger.backups,
      vault: ledger.vault,
    })
    return limited(target as Target<Json>, made.limits)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#open.values())
    const targets = opened.flatMap(o => (o.status === 'fulfilled' ? [o.value] : []))
    const closed = await Promise.allSettled(targets.map(async target => target[Symbol.asyncDispose]()))
    const failed = closed.find(c => c.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
}

/** The same target with the user's own limits on its steps. */
function limited(target: Target<Json>, limits: ComponentConfig['limits']): Target<Json> {
  if (limits.step === undefined && limits.retries === undefined) return target
  const change = (proposal: Proposal): Proposal => ({
    ...proposal,
    steps: proposal.steps.map(step => ({
      ...step,
      limitMs: limits.step ?? step.limitMs,
      retries: limits.retries ?? step.retries,
    })),
  })
  return new Proxy(target, {
    get(inner, name) {
      if (name === 'propose') return async (q: Parameters<Target<Json>['propose']>[0]) => change(await inner.propose(q))
      const value: unknown = Reflect.get(inner, name, inner)
      return typeof value === 'function' ? (value.bind(inner) as unknown) : value
    },
  })
}
