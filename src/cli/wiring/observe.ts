import { basename } from 'node:path'
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
  const others = Object.keys(environment.config.components).length > 1
  await Promise.all(
    Object.keys(environment.config.components).map(async id => {
      try {
        const observed = await (await targets.get(id)).observe(signal)
        observations.set(id, { ...observed, summary: redact(observed.summary) })
      } catch (error) {
        signal.throwIfAborted()
        const why = messageOf(error)
        const mend =
          (error instanceof BackoutError ? error.next : undefined) ?? 'make it reachable from here, then try again'
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
          remedy: others ? `${mend}; ${without(id, environment)}` : mend,
        })
      }
    }),
  )
  return { observations, findings }
}

/** Nobody but a person says that the others go back without it. */
function without(id: string, { config }: Environment): string {
  const on = Object.values(config.components).some(c => c.dependsOn.includes(id)) ? ', and of `dependsOn`,' : ''
  return `to go back without it, take ${id} out of ${basename(config.file)}${on} for this run: it stays as it is`
}

/** Names of the components whose state is not the same in both. */
export function movedBetween(before: Observed, after: Observed): string[] {
  return [...before.observations].flatMap(([id, was]) => {
    const is = after.observations.get(id)
    return is !== undefined && is.identity === was.identity && sameJson(is.state, was.state) ? [] : [id]
  })
}
