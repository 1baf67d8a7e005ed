import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../src/core/clock.ts'
import type { Step, StepAct, Target } from '../../src/core/contract.ts'
import type { Act } from '../../src/core/engine.ts'
import { type Tried, tryStep } from '../../src/core/executor/attempt.ts'
import type { World } from '../../src/core/executor/world.ts'
import type { Json } from '../../src/core/json.ts'

/** Tries a step as the executor does, on the clock of the day. `progress` is told what the step says of itself. */
async function tried(
  target: Target,
  step: Step,
  { backups, vault }: Pick<StepAct, 'backups' | 'vault'>,
  attempt: number,
  progress: (data: Json) => void = () => {},
): Promise<Tried> {
  const world = { clock: systemClock, backups, vault, target: async () => target } as unknown as World
  const { signal } = new AbortController()
  const act: Act = { signal, guard() {}, handle: null, note: async () => {}, progress, tell: async () => {} }
  return tryStep(world, step, act, { attempt, verifyFirst: attempt > 1, accepted: [], runId: 'r1' })
}

/** Tries it twice, and the first time its server goes away as soon as it loads, and is back a second later. */
export async function triedOverRestart(
  target: Target,
  step: Step,
  kept: Pick<StepAct, 'backups' | 'vault'>,
  server: { goes(): Promise<void>; comes(): Promise<void> },
): Promise<{ readonly first: Tried; readonly second: Tried }> {
  const restart = async () => {
    await server.goes()
    await sleep(1_200)
    await server.comes()
  }
  const restarted: Promise<void>[] = []
  const first = await tried(target, step, kept, 1, said => {
    if (JSON.stringify(said).includes('loading') && restarted.length === 0) restarted.push(restart())
  })
  await Promise.all(restarted)
  return { first, second: await tried(target, step, kept, 2) }
}
