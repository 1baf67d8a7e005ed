import type { Target } from '../../src/core/contract.ts'
import type { Lock, Store } from '../../src/engine/store.ts'

const never = <T>(): Promise<T> => new Promise(() => {})

/**
 * A process that dies at the nth point that it passes, as SIGKILL has it: nothing that it was about to do happens, nothing
 * that it waits for comes back, its locks are free.
 */
export class Mortal {
  /** Points passed so far. */
  points = 0
  alive = true
  readonly #dieAt: number
  readonly #locks: Lock[] = []
  #onDeath: () => void = () => {}

  constructor(dieAt = Infinity) {
    this.#dieAt = dieAt
  }

  /** Resolves with the death. */
  get death(): Promise<void> {
    return this.alive ? new Promise(resolve => (this.#onDeath = resolve)) : Promise.resolve()
  }

  /** False where the process is dead from here on. */
  pass(): boolean {
    if (this.alive && ++this.points >= this.#dieAt) {
      this.alive = false
      for (const lock of this.#locks) lock.release()
      this.#onDeath()
    }
    return this.alive
  }

  async #step<T>(work: () => Promise<T>): Promise<T> {
    if (!this.pass()) return never()
    const value = await work()
    return this.pass() ? value : never()
  }

  store(inner: Store): Store {
    return {
      ...inner,
      write: change => this.#step(() => inner.write(change)),
      durable: () => (this.alive ? inner.durable() : never()),
      lock: (name, owner) => {
        const lock = inner.lock(name, owner)
        this.#locks.push(lock)
        return lock
      },
    }
  }

  target(inner: Target): Target {
    return {
      ...inner,
      apply: (step, act) =>
        this.#step(() => inner.apply(step, { ...act, guard: () => this.#guard(() => act.guard()) })),
      verify: (step, act) => this.#step(() => inner.verify(step, act)),
    }
  }

  #guard(guard: () => void): void {
    if (!this.pass()) throw new Error('dead')
    guard()
  }
}
