import type { Adapter, Target } from '../../core/contract.ts'
import { apply } from './apply.ts'
import { config, type SwarmConfig } from './config.ts'
import { exec, execLeft } from './exec.ts'
import { capture, observe } from './observe.ts'
import { pin, type SwarmPin } from './pin.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'
import { remembered } from './remembered.ts'
import { openSite, type Site } from './site.ts'
import { verify } from './verify.ts'

/** Services of a Docker Swarm, through the Engine API of one of its managers. */
export const swarm: Adapter<SwarmConfig, SwarmPin> = {
  kind: 'swarm',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => targetOf(openSite(settings, ctx)),
}

function targetOf(site: Site): Target<SwarmPin> {
  return {
    rungs: [
      { id: 'previous', tier: 'platform', title: "Swarm's own rollback, where it leads to the release" },
      { id: 'update', tier: 'platform', title: 'update to the specification and image of the release' },
      { id: 'recreate', tier: 'module', title: 'remove the service, and make it again as the release had it' },
    ],
    serves: ['stopped', 'redeployed', 'exec-from'],
    observe: signal => observe(site, signal),
    capture: (observed, act) => capture(site, observed, act),
    propose: question => propose(site, question),
    apply: (step, act) => apply(site, step, act),
    verify: (step, act) => verify(site, step, act),
    exec: (side, argv, act) => exec(site, side, argv, act),
    execLeft: (idem, signal) => execLeft(site, idem, signal),
    ready: signal => ready(site, signal),
    remembered: signal => remembered(site, signal),
    [Symbol.asyncDispose]: () => site.engine[Symbol.asyncDispose](),
  }
}
