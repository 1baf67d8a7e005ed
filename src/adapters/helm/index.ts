import type { Adapter, OpenContext, Target } from '../../core/contract.ts'
import { apply, verify } from './apply.ts'
import { config, type HelmConfig } from './config.ts'
import { openPlace } from './look.ts'
import { capture, observe } from './observe.ts'
import { type HelmPin, pin } from './pin.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'

/** A release of Helm, through the user's own helm. */
export const helm: Adapter<HelmConfig, HelmPin> = {
  kind: 'helm',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => targetOf(settings, ctx),
}

function targetOf(settings: HelmConfig, ctx: OpenContext): Target<HelmPin> {
  const place = openPlace(settings, ctx)
  return {
    rungs: [{ id: 'rollback', tier: 'platform', title: 'helm rollback to the newest revision that was good' }],
    serves: ['redeployed'],
    observe: async signal => observe(await place(), signal),
    capture: async (observed, act) => capture(await place(), observed, act),
    propose: async question => propose(await place(), question),
    apply: async (step, act) => apply(await place(), step, act),
    verify: async (step, act) => verify(await place(), step, act),
    ready: async signal => ready(await place(), signal),
    async [Symbol.asyncDispose]() {
      await (await place().catch(() => null))?.site.client.session[Symbol.asyncDispose]()
    },
  }
}
