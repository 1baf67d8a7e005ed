import type { Finding, Observation } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { sameJson } from '../../core/json.ts'
import { redact } from '../../core/secret.ts'
import type { Environment } from './environment.ts'
import type { Targets } from './targets.ts'

export interface Observed {
  readonly observations: ReadonlyMap<string, Observation>
  /** Components that could not be asked. */
  readonly findings: readonly Finding[]
}

/** Observes every component at the same time. What cannot be asked is a blocker, never left out. */
export async function observeAll(environment: Environment, targets: Targets, signal: AbortSignal): Promise<Observed> {
  const observations = new Map<string, Observation>()
  const findings: Finding[] = []
  await Promise.all(
    Object.keys(environment.config.components).map(async id => {
      try {
        const observed = await (await targets.get(id)).observe(signal)
        observations.set(id, { ...observed, summary: redact(observed.summary) })
      } catch (error) {
        signal.throwIfAborted()
        const why = messageOf(error)
        observations.set(id, {
          identity: 'unknown',
          state: null,
          detail: null,
          summary: `cannot be observed: ${why}`,
          inFlight: [],
        })
        findings.push({
          level: 'blocker',
          code: 'cannot_observe',
          component: id,
          what: `${id} cannot be observed: ${why}`,
          remedy:
            (error instanceof BackoutError ? error.next : undefined) ?? 'make it reachable from here, then try again',
        })
      }
    }),
  )
  return { observations, findings }
}

/** Names of the components whose state is not the same in both. */
export function movedBetween(before: Observed, after: Observed): string[] {
  return [...before.observations].flatMap(([id, was]) => {
    const is = after.observations.get(id)
    return is !== undefined && is.identity === was.identity && sameJson(is.state, was.state) ? [] : [id]
  })
}
