import type { Adapter, OpenContext, Rung, Target } from '../../core/contract.ts'
import { apply, verify } from './apply/index.ts'
import { capture } from './capture.ts'
import { config, type KubernetesConfig } from './config.ts'
import { exec } from './exec.ts'
import { observe } from './observe.ts'
import { type KubernetesPin, pin } from './pin.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'
import { openSite, type SiteConfig } from './site.ts'

/** Deployments, StatefulSets and DaemonSets with what they refer to, through the user's own kubeconfig. */
export const kubernetes: Adapter<KubernetesConfig, KubernetesPin> = {
  kind: 'kubernetes',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => targetOf(settings, ctx),
}

const RUNGS: readonly Rung[] = [
  { id: 'adopt', tier: 'platform', title: 'go back to the revision, which is still there' },
  { id: 'template', tier: 'platform', title: 'put the captured template back, images by digest' },
  { id: 'image', tier: 'release', title: 'set the images of the release on what is there' },
  { id: 'manifest', tier: 'release', title: 'apply the objects as they were captured' },
]

/** Also of adapters for objects that are like them. */
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
    ready: async signal => ready(await site(), signal),
    async [Symbol.asyncDispose]() {
      await (await site().catch(() => null))?.client.session[Symbol.asyncDispose]()
    },
  }
}
