import { join } from 'node:path'
import type { OpenContext } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { type EnvironmentAnswer, environment } from './answers.ts'
import { LifeTime } from './client.ts'
import type { Config } from './config.ts'
import { Deployments } from './deployments.ts'

/** The environments of one component, found once. */
export interface Places {
  readonly target: EnvironmentAnswer
  /** Where earlier versions are deployed from: LifeTime deploys from no environment into itself. Null: there is none. */
  readonly source: EnvironmentAnswer | null
  readonly identity: string
  readonly deployments: Deployments
}

/** One OutSystems environment, as its LifeTime shows it. */
export class Site {
  readonly config: Config
  readonly component: string
  readonly backups: OpenContext['backups']
  readonly lifetime: LifeTime
  /** Is there while Backout has LifeTime hold maintenance mode: its API cannot be asked for it. */
  readonly heldMark: string
  #places: Promise<Places> | null = null

  constructor(config: Config, ctx: OpenContext) {
    this.config = config
    this.component = ctx.component
    this.backups = ctx.backups
    this.lifetime = new LifeTime(config, ctx.baseDir)
    this.heldMark = join(ctx.stateDir, 'maintenance')
  }

  /** Asked for once it was answered, and again where it was not. */
  async places(signal: AbortSignal): Promise<Places> {
    this.#places ??= this.#find(signal)
    try {
      return await this.#places
    } catch (error) {
      this.#places = null
      throw error
    }
  }

  async #find(signal: AbortSignal): Promise<Places> {
    const all = await this.lifetime.list(environment, '/environments/', undefined, signal)
    const named = (name: string) => all.find(e => e.Key === name) ?? all.find(e => e.Name === name)
    const { environment: target, source } = this.config
    const found = named(target)
    if (found === undefined) throw noSuch('environment', target, all)
    const from = source === undefined ? before(found, all) : named(source)
    if (from === undefined) throw noSuch('source', source ?? '', all)
    const host = new URL(this.config.url).host
    return {
      target: found,
      source: from === null || from.Key === found.Key ? null : from,
      identity: `outsystems:${host}:${found.Key}`,
      deployments: new Deployments(this.lifetime, found.Key),
    }
  }
}

/** The environment before it in the order of LifeTime. */
function before(target: EnvironmentAnswer, all: readonly EnvironmentAnswer[]): EnvironmentAnswer | null {
  const earlier = all.filter(e => e.Order < target.Order).toSorted((a, b) => b.Order - a.Order)
  return earlier[0] ?? null
}

function noSuch(setting: string, name: string, all: readonly EnvironmentAnswer[]): BackoutError {
  return new BackoutError({
    code: 'no_such_environment',
    what: `LifeTime has no environment ${name}, which \`${setting}\` names`,
    cause: `the service account sees ${all.map(e => e.Name).join(', ') || 'none'}`,
    next: `correct \`${setting}\`, or let the service account see it`,
    exit: 'usage',
  })
}
