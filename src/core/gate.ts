import type { Clock } from './clock.ts'
import { messageOf } from './errors.ts'

/** What one probe measured once. `ok: null` = inconclusive: no data, which is never a pass. */
export interface Sample {
  readonly ok: boolean | null
  readonly value: number | string | null
  readonly ms: number
  /** One line for people, without secrets. */
  readonly text: string
}

export interface Probe {
  readonly name: string
  measure(signal: AbortSignal): Promise<Sample>
}

export interface GateRule {
  readonly name: string
  /** How often it is asked at the most. */
  readonly attempts: number
  readonly intervalMs: number
  /** So many passes in a row make it pass. */
  readonly pass: number
  /** Per attempt; a probe that takes longer is inconclusive. */
  readonly timeoutMs: number
}

export interface GateResult {
  readonly gate: string
  readonly outcome: 'pass' | 'fail' | 'inconclusive'
  readonly attempts: number
  readonly ms: number
  /** Epoch milliseconds of its end. */
  readonly at: number
  /** The last attempt's samples, by probe. */
  readonly samples: Readonly<Record<string, Sample>>
}

/** Asks the probes until so many passes in a row were seen, or the attempts are used up. */
export async function askGate(
  rule: GateRule,
  probes: readonly Probe[],
  clock: Clock,
  signal: AbortSignal,
): Promise<GateResult> {
  const began = clock.mono()
  let samples: Record<string, Sample> = {}
  let outcome: GateResult['outcome'] = 'inconclusive'
  let inRow = 0
  let attempt = 0
  while (attempt < rule.attempts && inRow < rule.pass) {
    if (attempt > 0) await clock.sleep(rule.intervalMs, signal)
    attempt++
    samples = await measureAll(probes, rule.timeoutMs, signal)
    outcome = judge(Object.values(samples))
    inRow = outcome === 'pass' ? inRow + 1 : 0
    if (inRow + rule.attempts - attempt < rule.pass) break
  }
  // Passes that were too few are no pass.
  if (outcome === 'pass' && inRow < rule.pass) outcome = 'inconclusive'
  return { gate: rule.name, outcome, attempts: attempt, ms: Math.round(clock.mono() - began), at: clock.now(), samples }
}

function judge(samples: readonly Sample[]): GateResult['outcome'] {
  if (samples.some(s => s.ok === false)) return 'fail'
  return samples.length > 0 && samples.every(s => s.ok === true) ? 'pass' : 'inconclusive'
}

/** One measurement of every probe, at the same time. */
export async function measureAll(
  probes: readonly Probe[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Record<string, Sample>> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  // A probe that does not listen is not waited for either.
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => {})
  const stop = () => over.reject(limit.reason)
  if (limit.aborted) stop()
  limit.addEventListener('abort', stop, { once: true })
  const all = await Promise.all(
    probes.map(async (probe): Promise<[string, Sample]> => {
      try {
        return [probe.name, await Promise.race([probe.measure(limit), over.promise])]
      } catch (error) {
        if (signal.aborted) throw error
        const text = limit.aborted ? `no answer within ${timeoutMs} ms` : messageOf(error)
        return [probe.name, { ok: null, value: null, ms: timeoutMs, text }]
      }
    }),
  ).finally(() => limit.removeEventListener('abort', stop))
  return Object.fromEntries(all)
}

/** What did not pass, in one line. */
export function whyNot(result: GateResult): string {
  const bad = Object.entries(result.samples).filter(([, s]) => s.ok !== true)
  return bad.map(([name, s]) => `${name}: ${s.ok === null ? 'inconclusive, ' : ''}${s.text}`).join('; ')
}
