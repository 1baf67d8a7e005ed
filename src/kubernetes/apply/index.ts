import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import type { Site } from '../site.ts'
import { argsOf, type StepArgs } from '../steps.ts'
import { halt, isHaltDone } from './halt.ts'
import { roll, rolled } from './roll.ts'
import { bound, isBound, isConfigThere, isPointed, isStopped, point, putConfig, stop } from './small.ts'
import { isSuspended, suspend } from './suspend.ts'

type Do = StepArgs['do']
type ArgsOf<D extends Do> = Extract<StepArgs, { do: D }>

/** What each kind of step does, and how its target is asked what became of it. */
const STEPS: {
  readonly [D in Do]: {
    readonly apply: (site: Site, args: ArgsOf<D>, act: StepAct) => Promise<void>
    readonly verify: (site: Site, args: ArgsOf<D>, act: StepAct) => Promise<Verdict>
  }
} = {
  roll: { apply: roll, verify: rolled },
  halt: { apply: halt, verify: isHaltDone },
  stop: { apply: stop, verify: isStopped },
  config: { apply: putConfig, verify: isConfigThere },
  service: { apply: point, verify: isPointed },
  autoscaler: { apply: bound, verify: isBound },
  suspend: { apply: suspend, verify: isSuspended },
}

function stepOf<D extends Do>(args: ArgsOf<D>) {
  return STEPS[args.do as D]
}

export async function apply(site: Site, step: Step, act: StepAct): Promise<void> {
  act.signal.throwIfAborted()
  const args = argsOf(step)
  await stepOf(args).apply(site, args as never, act)
}

/** Asks the API server what became of a step. */
export async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  return stepOf(args).verify(site, args as never, act)
}
