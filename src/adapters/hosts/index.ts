import type { Adapter, Target } from '../../core/contract.ts'
import { apply, fence, verify } from './apply.ts'
import { config, type HostsConfig } from './config.ts'
import { exec, execLeft, remembered } from './exec.ts'
import { type Fleet, openFleet } from './fleet.ts'
import { halt, haltVerdict, isHalt } from './halt.ts'
import { membersOf } from './members.ts'
import { capture, observe } from './observe.ts'
import { type HostsPin, pin } from './pin.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'
import { standsOn } from './stands.ts'

/** Releases in folders on this machine or over SSH: behind a symlink, or in two slots. */
export const hosts: Adapter<HostsConfig, HostsPin> = {
  kind: 'hosts',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => targetOf(openFleet(settings, await membersOf(settings, ctx), ctx)),
}

function targetOf(fleet: Fleet): Target<HostsPin> {
  const { strategy, service } = fleet.config
  return {
    rungs: [
      strategy === 'symlink'
        ? { id: 'switch', tier: 'platform', title: 'switch the symlink back to a release folder that is still there' }
        : { id: 'swap', tier: 'platform', title: 'swap back to the slot that still holds the release' },
    ],
    serves: service === undefined ? ['exec-from'] : ['stopped', 'redeployed', 'exec-from'],
    observe: signal => observe(fleet, signal),
    capture: (observed, act) => capture(fleet, observed, act),
    propose: question => propose(fleet, question),
    apply: (step, act) => (isHalt(step) ? halt(fleet, step, act) : apply(fleet, step, act)),
    verify: (step, act) => (isHalt(step) ? haltVerdict(fleet, step, act) : verify(fleet, step, act)),
    exec: (side, argv, act) => exec(fleet, side, argv, act),
    execLeft: (idem, signal) => execLeft(fleet, idem, signal),
    fence: (step, act) => fence(fleet, step, act),
    standsOn: (step, steps, act) => standsOn(fleet, step, steps, act),
    ready: signal => ready(fleet, signal),
    remembered: signal => remembered(fleet, signal),
    async [Symbol.asyncDispose]() {
      await Promise.all(fleet.hosts.map(host => host.runner[Symbol.asyncDispose]()))
    },
  }
}
