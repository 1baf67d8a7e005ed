/** What the load's process and the one that started it tell each other, and what it all comes down to. */

export interface LoadOptions {
  /** The balancer, where users come in. */
  readonly url: string
  /** How many users there are at any moment. 8 by default. */
  readonly users?: number
  /** Milliseconds that a user thinks between two steps, on average. 150 by default. */
  readonly thinkMs?: number
  /** Equal seeds make equal choices. 1 by default. */
  readonly seed?: number
  /** Name of the first period. "before" by default. */
  readonly period?: string
  /** Every order asks for it; whether a release grants it is the release's business. LAUNCH40 by default. */
  readonly coupon?: string
}

/** An order that the shop said it has taken. */
export interface AckedOrder {
  readonly id: number
  /** Cents, as the shop answered. */
  readonly total: number
  readonly discount: number
  readonly paid: boolean
  /** The release that took it. */
  readonly version: string
  readonly at: string
}

/** ok: answered as it should. maintenance: told to come back later. failed: anything else, a wrong total too. */
export type Outcome = 'ok' | 'maintenance' | 'failed'

interface Counts extends Record<Outcome, number> {
  /** Requests answered by each release; "none" where nobody answered, or the balancer itself. */
  readonly versions: Record<string, number>
}

export interface Second extends Counts {
  /** Start of the second, ISO. */
  readonly at: string
}

export interface Latency {
  readonly count: number
  /** Milliseconds. */
  readonly min: number
  readonly p50: number
  readonly p95: number
  readonly max: number
}

/** A request belongs to the period in which it was sent. */
export interface Period extends Counts {
  readonly name: string
  readonly from: string
  readonly to: string
  /** Failures by the release that answered. */
  readonly failedBy: Record<string, number>
  /** Failures by what was wrong: "order: 500", "order: wrong total", "pay: ECONNRESET". */
  readonly reasons: Record<string, number>
  /** Of requests that were served, by step of the journey; "all" for all of them. */
  readonly latency: Record<string, Latency>
}

export interface Snapshot {
  readonly at: string
  readonly requests: Record<Outcome, number>
  readonly periods: readonly Period[]
  readonly acknowledged: number
  readonly discounts: number
}

export interface Summary extends Snapshot {
  readonly seconds: readonly Second[]
  readonly orders: readonly AckedOrder[]
  readonly users: number
}

export type ToLoad = { readonly ask: 'snapshot' | 'stop'; readonly n: number } | MarkMessage
interface MarkMessage {
  readonly ask: 'mark'
  readonly n: number
  readonly name: string
}
export interface FromLoad {
  readonly n: number
  readonly answer: Snapshot | Summary | null
}
