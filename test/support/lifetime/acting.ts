import { expect } from 'vitest'
import { LifeTime } from './server.ts'
import { Shop } from './shop.ts'
import { stepAct } from '../../conformance/walk.ts'
import type { Pin } from '../../../src/adapters/outsystems/pin.ts'
import type { Fact, Step, StepAct, Verdict } from '../../../src/core/contract.ts'
import { BackoutError } from '../../../src/core/errors.ts'
import type { Json } from '../../../src/core/json.ts'
import type { Course } from './deployments.ts'
import type { Fault } from './http.ts'

/** One step of one run, applied by one process after another. */
export class Acting implements AsyncDisposable {
  readonly shop: Shop
  readonly facts: Fact[] = []
  readonly #handles = new Map<string, Json>()
  #step: Step | null = null
  #pin: Pin | null = null

  private constructor(shop: Shop) {
    this.shop = shop
  }

  static async open(): Promise<Acting> {
    return new Acting(await Shop.open())
  }

  get lifetime(): LifeTime {
    return this.shop.lifetime
  }
  get step(): Step {
    if (this.#step === null) throw new Error('it was not begun')
    return this.#step
  }
  get pin(): Pin {
    if (this.#pin === null) throw new Error('it was not begun')
    return this.#pin
  }

  /** Captured, upgraded, and planned by that rung; the first step is the one. */
  async begin(rung: string, more: object = {}): Promise<void> {
    this.#pin = await this.shop.captured(more)
    this.shop.upgrade()
    const [first] = await this.shop.steps(this.#pin, rung, more)
    this.#step = first ?? null
  }

  take(step: Step): void {
    this.#step = step
  }

  /** Applies the step once, in a process of its own. Answers the error's code, or null. */
  async apply(more: object = {}, by: Partial<StepAct> = {}): Promise<string | null> {
    const error = await this.failure(more, by)
    if (error instanceof BackoutError) return error.code
    return error === null ? null : `${error.name}: ${error.message}`
  }

  /** The same, with the whole error. */
  async failure(more: object = {}, by: Partial<StepAct> = {}): Promise<Error | null> {
    await using target = await this.shop.target(more)
    const error = await target.apply(this.step, this.#act(by)).then(
      () => null,
      (thrown: unknown) => thrown as Error,
    )
    expect(JSON.stringify(error)).not.toContain(LifeTime.token)
    return error
  }

  async verdict(more: object = {}): Promise<Verdict> {
    await using target = await this.shop.target(more)
    return target.verify(this.step, this.#act())
  }

  fault(on: RegExp, does: Fault['does'], more: Partial<Fault> = {}): void {
    this.lifetime.faults.push({ on, does, ...more })
  }

  /** How the next deployment goes. */
  goes(course: Course): void {
    this.lifetime.courses.push(course)
  }

  #act(more: Partial<StepAct> = {}): StepAct {
    return { ...stepAct(this.step, 'r1', this.#handles), tell: async fact => void this.facts.push(fact), ...more }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shop[Symbol.asyncDispose]()
  }
}
