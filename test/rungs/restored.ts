import type { Step } from '../../src/core/contract.ts'
import { carriesForward } from '../../src/data/carry/open.ts'
import type { OpenedSource } from '../../src/data/carry/step.ts'
import type { Job } from '../../src/data/engine.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import { proposed, signal, type World } from './world.ts'

export const job: Job = { signal, guard() {}, progress() {} }

/** Opens what a run left, as `backout data` does. */
export async function sourceOf(world: World, run = 'back'): Promise<OpenedSource & AsyncDisposable> {
  const target = await world.open()
  if (!carriesForward(target)) throw new Error('it carries nothing forward')
  const source = await target.carrying(run, world.pin.backup ?? '', job)
  const close = async () => {
    await source[Symbol.asyncDispose]()
    await target[Symbol.asyncDispose]()
  }
  return { ...source, [Symbol.asyncDispose]: close }
}

/** All steps of a restore but for carrying; that one is answered. */
export async function restored(world: World, run = 'back'): Promise<Step> {
  const steps = ordered(await proposed(world, 'restore'))
  for (const step of steps.filter(s => !s.id.endsWith('/carry'))) {
    await using target = await world.open()
    await target.apply(step, stepAct(step, run))
  }
  return steps.find(s => s.id.endsWith('/carry')) as Step
}
