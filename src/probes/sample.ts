import type { Probe as CoreProbe, Sample as CoreSample } from '../core/gate.ts'

/** What one measurement showed. */
export interface Sample extends CoreSample {
  /** Further figures by name: p50, p95, p99, max, errorRate, requests. Times in milliseconds. */
  readonly figures?: Readonly<Record<string, number>>
}

/** A read-only measurement. */
export interface Probe extends CoreProbe {
  readonly kind: string
  /** Never throws for what it finds. Throws the signal's reason when that aborts. */
  measure(signal: AbortSignal): Promise<Sample>
}

/** A sample without its time, as the kinds of probes make it. */
export type Found = Omit<Sample, 'ms'>

export const passed = (text: string, value: Sample['value'] = null): Found => ({ ok: true, value, text: line(text) })
export const failed = (text: string, value: Sample['value'] = null): Found => ({ ok: false, value, text: line(text) })
export const noData = (text: string): Found => ({ ok: null, value: null, text: line(text) })

/** One line of bounded length. */
function line(text: string, max = 300): string {
  const one = text.replaceAll(/\s+/g, ' ').trim()
  return one.length > max ? `${one.slice(0, max - 1)}…` : one
}
