import type { OpenContext, Rung, Target } from '../core/contract.ts'
import { apply, verify } from './apply/index.ts'
import { capture } from './capture.ts'
import { exec, execLeft } from './exec.ts'
import { observe } from './observe.ts'
import type { KubernetesPin } from './pin.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'
import type { SiteConfig } from './settings.ts'
import { openSite } from './site.ts'

const RUNGS: readonly Rung[] = [
  { id: 'adopt', tier: 'platform', title: 'go back to the revision, which is still there' },
  { id: 'template', tier: 'platform', title: 'put the captured template back, images by digest' },
  { id: 'image', tier: 'release', title: 'set the images of the release on what is there' },
  { id: 'manifest', tier: 'release', title: 'apply the objects as they were captured' },
]

/** What is common to workloads and to what other controllers make of them, such as Rollouts. */
export function targetOf(settings: SiteConfig, ctx: OpenContext): Target<KubernetesPin> {
  const site = openSite(settings, ctx)
  return {
    rungs: RUNGS,
    serves: ['stopped', 'redeployed', 'exec-from'],
    observe: async signal => observe(await site(), signal),
    capture: async (observed, act) => capture(await site(), observed, act),
    propose: async question => propose(await site(), question),
    apply: async (step, act) => apply(await site(), step, act),
    verify: async (step, act) => verify(await site(), step, act),
    exec: async (side, argv, act) => exec(await site(), side, argv, act),
    execLeft: async (idem, signal) => execLeft(await site(), idem, signal),
    ready: async signal => ready(await site(), signal),
    [Symbol.asyncDispose]: () => site.close(),
  }
}
