import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OpenContext, Proposal, Question, Step, Target } from '../../../src/core/contract.ts'
import { config } from '../../../src/adapters/outsystems/config.ts'
import { outsystems } from '../../../src/adapters/outsystems/index.ts'
import type { Pin } from '../../../src/adapters/outsystems/pin.ts'
import { ordered, stepAct } from '../../conformance/walk.ts'
import { LifeTime } from './server.ts'

const signal = new AbortController().signal

/** A shop of three applications: Shop uses Orders, both use Core. `1` is the good release, `2` the bad one. */
export class Shop implements AsyncDisposable {
  readonly lifetime: LifeTime
  readonly #state = mkdtempSync(join(tmpdir(), 'backout-lifetime-'))

  private constructor(lifetime: LifeTime) {
    this.lifetime = lifetime
  }

  static async open(): Promise<Shop> {
    const lifetime = await LifeTime.open()
    for (const name of ['Development', 'Quality', 'Production']) lifetime.environment(name)
    const everywhere = ['Development', 'Quality', 'Production']
    lifetime.release({ application: 'Service Center', label: '11', system: true }, ...everywhere)
    for (const name of APPLICATIONS) {
      lifetime.release({ application: name, label: '1', columns: [`${name}.Id`] }, ...everywhere)
      lifetime.release({ application: name, label: '2', columns: [`${name}.Id`, `${name}.New`] }, 'Development')
    }
    return new Shop(lifetime)
  }

  /** The bad release comes to these applications of production; all three, if not said. */
  upgrade(...names: readonly string[]): void {
    for (const name of names.length === 0 ? APPLICATIONS : names) {
      this.lifetime.release({ application: name, label: '2' }, 'Quality', 'Production')
    }
  }

  /** Versions that production runs, of Core, Orders and Shop. */
  get versions(): (string | null)[] {
    return APPLICATIONS.map(name => this.lifetime.running('Production', name))
  }

  get serves(): 'A' | 'B' | 'other' {
    const seen = new Set(this.versions)
    const [only] = seen.size === 1 ? seen : []
    return only === '1' ? 'A' : only === '2' ? 'B' : 'other'
  }

  settings(more: object = {}): object {
    return {
      url: this.lifetime.url,
      token: LifeTime.token,
      environment: 'Production',
      producers: { Shop: ['Orders', 'Core'], Orders: ['Core'] },
      ...more,
      limits: { request: '5s', poll: '10ms', deployment: '10s', settle: '1s', ...(more as { limits?: object }).limits },
    }
  }

  target(more: object = {}): Promise<Target<Pin>> {
    const { backups, vault } = stepAct()
    const ctx: OpenContext = {
      environment: 'test',
      component: 'apps',
      baseDir: '/',
      stateDir: this.#state,
      backups,
      vault,
    }
    return outsystems.open(config.parse(this.settings(more)), ctx)
  }

  async captured(more: object = {}): Promise<Pin> {
    await using target = await this.target(more)
    return target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'good' })
  }

  async proposed(pin: Pin, rung: string, more: object = {}, mode: 'full' | 'emergency' = 'full'): Promise<Proposal> {
    await using target = await this.target(more)
    return target.propose({ ...question(await target.observe(signal), pin, rung), mode })
  }

  /** The steps of a rung that nothing stands in the way of. */
  async steps(pin: Pin, rung: string, more: object = {}): Promise<Step[]> {
    const proposal = await this.proposed(pin, rung, more)
    const blockers = proposal.findings.filter(f => f.level === 'blocker').map(f => f.what)
    if (blockers.length > 0) throw new Error(`it is blocked: ${blockers.join('; ')}`)
    return ordered(proposal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lifetime[Symbol.asyncDispose]()
    await rm(this.#state, { recursive: true, force: true })
  }
}

/** For conditions that are waited for, on a machine that is busy with other things. */
export const SOON = { timeout: 30_000, interval: 10 }

const APPLICATIONS = ['Core', 'Orders', 'Shop']

function question(from: Question<Pin>['from'], to: Pin, rung: string): Question<Pin> {
  const none = { needs: [], dependents: [], dependencies: [], upgradedAt: null }
  return { from, to, release: 'good', rung, ...none, mode: 'full', signal }
}

/** Level and code of each finding. */
export function codes(proposal: Proposal): string[] {
  return proposal.findings.map(f => `${f.level} ${f.code}`)
}
