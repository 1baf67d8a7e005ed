import type { Step, StepAct, Verdict } from '../../../core/contract.ts'
import type { Site } from '../site.ts'
import { argsOf } from '../steps.ts'
import { roll, rolled } from './roll.ts'
import {
  bound,
  halt,
  isBound,
  isConfigThere,
  isHaltDone,
  isPointed,
  isStopped,
  point,
  putConfig,
  stop,
} from './small.ts'
import { isSuspended, suspend } from './suspend.ts'

export async function apply(site: Site, step: Step, act: StepAct): Promise<void> {
  act.signal.throwIfAborted()
  const args = argsOf(step)
  switch (args.do) {
    case 'roll':
      return roll(site, args, act)
    case 'halt':
      return halt(site, args, act)
    case 'stop':
      return stop(site, args, act)
    case 'config':
      return putConfig(site, args, act)
    case 'service':
      return point(site, args, act)
    case 'autoscaler':
      return bound(site, args, act)
    case 'suspend':
      return suspend(site, args, act)
  }
}

/** Asks the API server what became of a step. */
export async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  switch (args.do) {
    case 'roll':
      return rolled(site, args, act)
    case 'halt':
      return isHaltDone(site, args, act)
    case 'stop':
      return isStopped(site, args, act)
    case 'config':
      return isConfigThere(site, args, act)
    case 'service':
      return isPointed(site, args, act)
    case 'autoscaler':
      return isBound(site, args, act)
    case 'suspend':
      return isSuspended(site, args, act)
  }
}
