import type { Adapter, Step, StepAct, Target, Verdict } from '../../core/contract.ts'
import { unknownFor } from '../../core/unheard.ts'
import { capture } from './capture.ts'
import { type Config, config } from './config.ts'
import { deploy, verifyDeploy } from './deploy.ts'
import { applyMaintenance, verifyMaintenance } from './maintenance.ts'
import { observe } from './observe.ts'
import { type Pin, pin } from './pin.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'
import { settle, verifySettle } from './settle.ts'
import { Site } from './site.ts'
import type { Args } from './steps.ts'

/** Applications of an OutSystems environment, through the API of LifeTime. */
export const outsystems: Adapter<Config, Pin> = {
  kind: 'outsystems',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => target(new Site(settings, ctx)),
}

function target(site: Site): Target<Pin> {
  return {
    rungs: [
      { id: 'applications', tier: 'platform', title: 'deploy the earlier versions one by one, from the bottom up' },
      { id: 'together', tier: 'release', title: 'deploy the earlier versions of all that changed at once' },
      { id: 'solution', tier: 'module', title: 'publish the solution package of the whole environment' },
    ],
    serves: [],
    observe: signal => observe(site, signal),
    capture: (observed, act) => capture(site, observed, act),
    propose: question => propose(site, question),
    apply: (step, act) => apply(site, step, act),
    verify: (step, act) => verify(site, step, act),
    ready: signal => ready(site, signal),
    [Symbol.asyncDispose]: async () => {},
  }
}

function apply(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = step.args as unknown as Args
  if (args.do === 'settle') return settle(site, args, act)
  if (args.do === 'maintenance') return applyMaintenance(site, args.on, act)
  return deploy(site, step, args, act)
}

async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = step.args as unknown as Args
  try {
    if (args.do === 'settle') return await verifySettle(site, args, act)
    if (args.do === 'maintenance') return verifyMaintenance(site, args.on, act)
    return await verifyDeploy(site, args, act)
  } catch (error) {
    if (act.signal.aborted) throw act.signal.reason
    return unknownFor(error)
  }
}
