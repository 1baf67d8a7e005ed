import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { defineRollback, ROLLBACK } from '../../src/core/executor/rollback.ts'
import { Runtime } from '../../src/engine/runtime.ts'
import { sqliteStore } from '../../src/engine/sqlite/store.ts'
import type { Store } from '../../src/engine/store.ts'
import { fleet, runInput } from './fleet.ts'
import { timed } from './measure.ts'

let homes = 0

/** A journal on disk in a home of its own. */
export function freshStore(dir: string): Store {
  return sqliteStore({ home: join(dir, `home-${++homes}`), key: randomBytes(32) })
}

export async function openEngine(store: Store): Promise<Runtime> {
  const engine = new Runtime(store)
  await engine.open({ worker: true })
  return engine
}

/** Rolls a fleet back on a journal on disk, from the confirmed plan to the end of the run. Answers milliseconds. */
export async function rollBack(store: Store, shape: Parameters<typeof fleet>[0]): Promise<number> {
  const { world, plan } = fleet(shape)
  const engine = await openEngine(store)
  defineRollback(engine, world)
  const input = runInput(await plan())
  const began = performance.now()
  await engine.start(ROLLBACK, 'r1', input, { exclusive: 'bench' })
  const run = await engine.settled('r1')
  const took = performance.now() - began
  await engine.close()
  if (run.state !== 'succeeded') throw new Error(`the run ended as ${run.state}: ${run.error}`)
  return took
}

/** What a loop takes that waits as long as the steps do, as many at a time, in the same order: their own time, on this machine now. */
export function plainLoop(shape: Parameters<typeof fleet>[0]): Promise<number> {
  return timed(fleet(shape).plainly)
}
