import type { Clock } from '../../src/core/clock.ts'
import type { Event } from '../../src/core/engine.ts'
import { defineRollback, ROLLBACK } from '../../src/core/executor/rollback.ts'
import type { RunOutput, World } from '../../src/core/executor/world.ts'
import { toJson } from '../../src/core/json.ts'
import type { Plan } from '../../src/core/plan.ts'
import { firstBreak } from '../../src/engine/chain.ts'
import { memoryStore } from '../../src/engine/memory/store.ts'
import { Runtime } from '../../src/engine/runtime.ts'
import { sqliteStore } from '../../src/engine/sqlite/store.ts'
import type { Store } from '../../src/engine/store.ts'
import { type MemoryEnvironment, memoryWorld } from './memory-world.ts'
import type { Mortal } from './mortal.ts'

/** A clock on which a second passes in ten milliseconds. */
export function fastClock(factor = 100): Clock {
  const zero = performance.now()
  const mono = () => (performance.now() - zero) * factor
  return {
    mono,
    now: () => Date.parse('2026-01-01T00:00:00Z') + Math.round(mono()),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const timer = setTimeout(resolve, ms / factor)
        signal?.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true })
      }),
    after: (ms, call) => {
      const timer = setTimeout(call, ms / factor)
      return () => clearTimeout(timer)
    },
  }
}

export interface RollbackOptions {
  readonly change?: (plan: Plan) => Plan
  readonly world?: (world: World) => World
  readonly clock?: Clock
  /** As an older Backout began it. */
  readonly old?: boolean
  /** Shared by the processes that follow one another. */
  readonly store?: () => Store
}

interface Asked {
  readonly token: string
  readonly about: string
  readonly step: string
  readonly why: string
  readonly answers: readonly string[]
}

export type Rollback = Awaited<ReturnType<typeof rollback>>

/** A rollback over variables, in as many processes as the test likes, one after the other. */
export async function rollback(env: MemoryEnvironment, options: RollbackOptions = {}) {
  const clock = options.clock ?? fastClock()
  const shared = memoryStore()
  const open = options.store ?? (() => ({ ...shared, close: async () => {} }))
  const { world: plain, plan } = memoryWorld(env, clock)
  const world = options.world?.(plain) ?? plain
  const made = (options.change ?? (p => p))(await plan())
  const input = toJson({ plan: made, by: 'me', reason: null, confirmed: '--yes', ...(options.old ? {} : { order: 2 }) })
  let engine = new Runtime(open(), { pollMs: 2, clock })

  async function begin(): Promise<void> {
    await engine.open({ worker: true })
    defineRollback(engine, world)
    await engine.start(ROLLBACK, 'r1', input, { exclusive: 'test' })
  }
  async function events(): Promise<Event[]> {
    const out: Event[] = []
    for await (const event of engine.events('r1')) out.push(event)
    return out
  }
  async function asked(): Promise<Asked> {
    const event = (await events()).findLast(e => e.type === 'asked')
    if (event === undefined) throw new Error('nothing was asked')
    return event.data as unknown as Asked
  }
  let signals = 0
  const signal = (name: string) => engine.signal('r1', name, { by: 'ann' }, `${name}-${++signals}`)

  return {
    plan: made,
    begin,
    events,
    asked,
    signal,
    settled: () => engine.settled('r1'),
    types: async () => (await events()).map(e => e.type),
    of: async (type: string) =>
      (await events()).filter(e => e.type === type).map(e => e.data as Record<string, unknown>),
    async output(): Promise<RunOutput> {
      return (await engine.settled('r1')).output as unknown as RunOutput
    },
    async answer(say: string): Promise<void> {
      const { token } = await asked()
      await engine.signal('r1', `answer:${token}`, { do: say, by: 'ann', reason: 'looked' }, `${token}-${++signals}`)
    },
    /** The process dies and another one goes on; what is said in between is said while nobody is at work. */
    async die(meanwhile: (engine: Runtime) => Promise<unknown> = async () => {}): Promise<void> {
      await engine.close()
      engine = new Runtime(open(), { pollMs: 2, clock })
      await meanwhile(engine)
      await begin()
    },
    close: () => engine.close(),
  }
}

/** Resolves once the condition holds. Throws after two seconds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await holds()) return
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  throw new Error('it never came true')
}

/** A promise and the way to resolve it. */
export function latch(): { readonly opened: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

/** Rejects once the signal aborts: an act that waits and can be told to stop. */
export function untilStopped(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}

/** A journal on disk, and the processes that work on it one after the other. */
export class Journal {
  readonly #home: string
  readonly #key = Buffer.alloc(32, 7)

  constructor(home: string) {
    this.#home = home
  }

  /** Goes on with the run until it ends (true) or the process dies (false). */
  async process(life: Mortal, world: World, plan: Plan): Promise<boolean> {
    const inner = sqliteStore({ home: this.#home, key: this.#key })
    const engine = new Runtime(life.store(inner), { pollMs: 3, clock: world.clock })
    const input = toJson({ plan, by: 'me', reason: null, confirmed: '--yes', order: 2 })
    const death = life.death
    const run = async () => {
      await engine.open({ worker: true })
      defineRollback(engine, world)
      await engine.start(ROLLBACK, 'r1', input, { exclusive: 'test' })
      return engine.settled('r1')
    }
    const ended = await Promise.race([run().then(() => true), death.then(() => false)])
    if (ended) await engine.close()
    else await inner.close()
    return ended
  }

  /** Said by another process; heard by the one at work within a few milliseconds. */
  async signal(name: string): Promise<void> {
    const engine = new Runtime(sqliteStore({ home: this.#home, key: this.#key }))
    await engine.signal('r1', name, { by: 'ann' }, name)
    await engine.close()
    await new Promise(resolve => setTimeout(resolve, 10))
  }

  async read() {
    const store = sqliteStore({ home: this.#home, key: this.#key })
    const events = store.events({ run: null, after: 0, limit: 10_000 })
    const state = store.run('r1')?.state
    const broken = firstBreak(this.#key, events)
    await store.close()
    const done = events.flatMap(e => {
      const { step, found } = e.data as { step: string; found: boolean }
      return e.type === 'step-done' && !found ? [step] : []
    })
    return { state, broken, done }
  }
}
