import type { Finding, Observation, Readiness } from '../../core/contract.ts'
import { clocksIn, skewFinding } from './clocks.ts'
import type { Fleet } from './fleet.ts'
import { observe, statesOf } from './observe.ts'

/** Which hosts answer, and whose clocks are wrong. */
export async function ready(fleet: Fleet, signal: AbortSignal): Promise<Readiness> {
  const seen = await observe(fleet, signal)
  const answering = Object.values(statesOf(seen)).filter(state => !('unreachable' in state)).length
  const well = `${answering} of ${fleet.hosts.length} host${fleet.hosts.length > 1 ? 's' : ''} of ${fleet.component} answer`
  return { well: [well], findings: skews(fleet, seen) }
}

function skews(fleet: Fleet, seen: Observation): Finding[] {
  const finding = skewFinding(fleet, clocksIn(seen))
  return finding === null ? [] : [finding]
}
