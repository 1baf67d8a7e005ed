import type { Adapter, Target } from '../../core/contract.ts'
import { apply } from './apply.ts'
import { type ComposeConfig, config } from './config.ts'
import { exec, execLeft } from './exec.ts'
import { halt, haltVerdict, isHalt } from './halt.ts'
import { type Host, openHost } from './host.ts'
import { capture, observe } from './observe.ts'
import { type ComposePin, pin } from './pin.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'
import { verify } from './verify.ts'

/** A project of Docker Compose, on this machine or over SSH. */
export const compose: Adapter<ComposeConfig, ComposePin> = {
  kind: 'compose',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => targetOf(openHost(settings, ctx)),
}

function targetOf(host: Host): Target<ComposePin> {
  return {
    rungs: [
      {
        id: 'up',
        tier: 'platform',
        title: 'put the files back, and bring the project up with the images of the release',
      },
      { id: 'recreate', tier: 'module', title: 'remove its containers, and make them again as the release had them' },
    ],
    serves: ['stopped', 'redeployed', 'exec-from'],
    observe: signal => observe(host, signal),
    capture: (observed, act) => capture(host, observed, act),
    propose: question => propose(host, question),
    apply: (step, act) => (isHalt(step) ? halt(host, step, act) : apply(host, step, act)),
    verify: (step, act) => (isHalt(step) ? haltVerdict(host, step, act) : verify(host, step, act)),
    exec: (side, argv, act) => exec(host, side, argv, act),
    execLeft: (idem, signal) => execLeft(host, idem, signal),
    ready: signal => ready(host, signal),
    [Symbol.asyncDispose]: () => host.runner[Symbol.asyncDispose](),
  }
}
