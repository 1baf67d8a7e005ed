import { BackoutError } from '../../core/errors.ts'
import type { World } from '../../core/executor/world.ts'
import { captureAll } from './capture.ts'
import type { Environment } from './environment.ts'
import { gateOf } from './gates.ts'
import { makePlan } from './planning.ts'
import type { Targets } from './targets.ts'

/** What the executor works with, made of the configuration, the adapters and the ledger. */
export function worldOf(environment: Environment, targets: Targets): World {
  const { ledger, clock } = environment
  return {
    clock,
    vault: ledger.vault,
    backups: ledger.backups,
    target: component => targets.get(component),
    gate: async name => gateOf(environment, name),
    async replan(request, signal) {
      const { plan } = request
      const release = await ledger.releases.get(plan.to.release)
      const capture = release.captures.find(c => c.id === plan.to.capture)
      if (capture === undefined) throw captureGone(plan.to)
      return makePlan(environment, targets, {
        release,
        capture,
        mode: plan.mode,
        parent: request.successor ? plan.hash : plan.parent,
        exclude: request.exclude,
        accepted: request.accepted,
        signal,
      })
    },
    async departure(runId, signal) {
      const release = `departure-${runId}`
      const known = await ledger.releases.find(release)
      if (known === null) await captureAll(environment, targets, { release, purpose: 'departure', signal })
      return release
    },
  }
}

function captureGone(to: { release: string; capture: string }): BackoutError {
  return new BackoutError({
    code: 'capture_gone',
    what: `The capture ${to.capture} of ${to.release}, which the plan was made for, is gone`,
    next: 'make a new plan: backout plan',
    exit: 'blocked',
  })
}
