import { measureAll } from '../../core/gate.ts'
import { openProbe } from '../../probes/index.ts'
import type { Environment } from '../wiring/environment.ts'
import { type Check, saying } from './check.ts'

const say = saying('probes')
const LIMIT_MS = 30_000

/** Every probe is asked once. What fails now may be the very release that is to be left, so it is no problem. */
export async function probeChecks({ config }: Environment): Promise<Check[]> {
  const probes = Object.entries(config.probes).map(([name, probe]) => openProbe(name, probe as never, config.baseDir))
  const samples = await measureAll(probes, LIMIT_MS, new AbortController().signal)
  return Object.entries(samples).map(([name, { ok, text }]) => {
    if (ok === true) return say('ok', 'probe', `${name}: ${text}`)
    const remedy = 'if the system is well right now, correct the probe: it would hold every run'
    if (ok === false) return say('warning', 'probe_failing', `${name} fails: ${text}`, remedy)
    return say(
      'warning',
      'probe_inconclusive',
      `${name} is inconclusive: ${text}`,
      'no data is never a pass: mend the probe',
    )
  })
}
