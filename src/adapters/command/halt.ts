import { setTimeout as sleep } from 'node:timers/promises'
import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Config } from './config.ts'
import { looked, type Run } from './read.ts'

const LOOK_MS = 250

/** What is in flight is what `observe` says. */
export async function haltVerdict({ observe }: Config, { component }: Step, read: Run, act: StepAct): Promise<Verdict> {
  if (observe === undefined) return { is: 'unknown', why: 'there is no observe command to ask any more' }
  const { inFlight } = await looked(observe, component, read, act.signal)
  if (inFlight.length === 0) return { is: 'done', why: 'nothing is under way' }
  return { is: 'not-done', why: `under way: ${inFlight.map(op => op.what).join(', ')}` }
}

/** After the command that ends it: until `observe` no longer says that something is under way. */
export async function untilHalted(config: Config, step: Step, read: Run, act: StepAct): Promise<void> {
  const until = performance.now() + config.readLimit
  for (;;) {
    const { is, why } = await haltVerdict(config, step, read, act)
    if (is === 'done') return
    if (performance.now() > until) {
      throw new BackoutError({
        code: 'still_in_flight',
        what: `What is under way in ${step.component} goes on, though \`halt\` ended with exit 0`,
        cause: why,
        next: 'end it by hand, then resume',
        exit: 'failed',
      })
    }
    act.progress({ text: why })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}
