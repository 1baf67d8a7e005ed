import { BackoutError, messageOf } from '../../core/errors.ts'
import type { World } from '../../core/executor/world.ts'
import type { Plan } from '../../core/plan.ts'
import { warmVault } from '../../ledger/vault.ts'
import { captureAll } from './capture.ts'
import type { Environment } from './environment.ts'
import { gateOf } from './gates.ts'
import { type Observed, observeAll } from './observe.ts'
import { makePlan } from './planning.ts'
import type { Targets } from './targets.ts'
import { unprovenOf } from './unproven.ts'

/** Milliseconds for which what the plan was confirmed by is also what the run departs from. */
const FRESH_MS = 30_000

/** What the executor works with, made of the configuration, the adapters and the ledger. */
export function worldOf(environment: Environment, targets: Targets): World {
  const { ledger, clock } = environment
  const goalOf = async ({ to }: Plan) => {
    const release = await ledger.releases.get(to.release)
    const capture = release.captures.find(c => c.id === to.capture)
    if (capture === undefined) throw captureGone(to)
    return { release, capture }
  }
  let last: { readonly observed: Observed; readonly at: number } | null = null
  return {
    clock,
    vault: ledger.vault,
    backups: ledger.backups,
    target: component => targets.get(component),
    gate: async name => gateOf(environment, name),
    async replan(request, signal) {
      const { plan } = request
      const { release, capture } = await goalOf(plan)
      warmVault()
      const at = clock.mono()
      const observed = await observeAll(environment, targets, signal)
      last = { observed, at }
      const made = await makePlan(environment, targets, {
        observed,
        release,
        capture,
        mode: plan.mode,
        parent: request.successor ? plan.hash : plan.parent,
        exclude: request.exclude,
        accepted: request.accepted,
        signal,
      })
      // Where the run itself has come to its release by now, that is not what it goes back from.
      return { ...made, from: plan.from }
    },
    async unproven(request, signal) {
      return unprovenOf(environment, targets, { ...request, ...(await goalOf(request.plan)), signal })
    },
    async departure(runId, signal, without) {
      const release = `departure-${runId}`
      const known = await ledger.releases.find(release)
      if (known !== null) return release
      const fresh = last !== null && clock.mono() - last.at < FRESH_MS
      const observed = fresh ? last?.observed : undefined
      try {
        await captureAll(environment, targets, { release, purpose: 'departure', signal, observed, without })
      } catch (error) {
        signal.throwIfAborted()
        throw uncaptured(error)
      }
      return release
    },
  }
}

/** All that is told of a run that failed is the message: it says the way out too. */
function uncaptured(error: unknown): BackoutError {
  return new BackoutError({
    code: 'departure_uncaptured',
    what: 'nothing was touched, for where the run begins could not be captured, and so not be reverted to; see to it, or go without what cannot be captured (run --emergency)',
    cause: messageOf(error),
    exit: 'failed',
    from: error,
  })
}

function captureGone(to: { release: string; capture: string }): BackoutError {
  return new BackoutError({
    code: 'capture_gone',
    what: `The capture ${to.capture} of ${to.release}, which the plan was made for, is gone`,
    next: 'make a new plan: backout plan',
    exit: 'blocked',
  })
}
