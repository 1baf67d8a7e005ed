/** What one measurement showed. */
export interface Sample {
  /** null: inconclusive. There is no data, which is never a pass. */
  readonly ok: boolean | null
  /** The figure or text that was measured, for the report's curves. */
  readonly value: number | string | null
  /** How long measuring took. Milliseconds. */
  readonly ms: number
  /** One line for people, without secrets. */
  readonly text: string
  /** Further figures by name: p50, p95, p99, errorRate, requests. Times in milliseconds. */
  readonly figures?: Readonly<Record<string, number>>
}

/** A read-only measurement. */
export interface Probe {
  readonly name: string
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
export function line(text: string, max = 300): string {
  const one = text.replaceAll(/\s+/g, ' ').trim()
  return one.length > max ? `${one.slice(0, max - 1)}…` : one
}
