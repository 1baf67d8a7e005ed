import type { AckedOrder, Latency, Outcome, Period, Second, Snapshot, Summary } from './messages.ts'

/** One request, once it is over. */
export interface Sample {
  readonly step: string
  readonly outcome: Outcome
  /** The release that answered, or "none". */
  readonly version: string
  /** When it was sent, milliseconds since the epoch. */
  readonly sentAt: number
  readonly ms: number
  /** What was wrong, for a failure. */
  readonly reason?: string
}

type Tallied = ReturnType<typeof emptyPeriod>

/** Counts requests by period and by second, and keeps every order that was acknowledged. */
export class Tally {
  readonly #periods: Tallied[]
  readonly #seconds = new Map<number, Second>()
  readonly #orders = new Map<number, AckedOrder>()
  users = 0

  constructor(period: string) {
    this.#periods = [emptyPeriod(period, Date.now())]
  }

  /** From now on requests belong to a period of this name. */
  mark(name: string): void {
    this.#periods.push(emptyPeriod(name, Date.now()))
  }

  add(sample: Sample): void {
    const period = this.#periods.findLast(({ from }) => from <= sample.sentAt) ?? this.#periods[0]
    const counts = [period?.counts, this.#second(sample.sentAt + sample.ms)]
    for (const each of counts) {
      if (each === undefined) continue
      each[sample.outcome] += 1
      bump(each.versions, sample.version)
    }
    if (sample.outcome === 'failed') {
      bump(period?.failedBy, sample.version)
      bump(period?.reasons, `${sample.step}: ${sample.reason ?? 'failed'}`)
    }
    if (sample.version === 'none') return
    for (const step of [sample.step, 'all']) (period?.ms[step] ?? keep(period, step)).push(sample.ms)
  }

  acknowledge(order: AckedOrder): void {
    this.#orders.set(order.id, order)
  }

  paid(id: number): void {
    const order = this.#orders.get(id)
    if (order !== undefined) this.#orders.set(id, { ...order, paid: true })
  }

  snapshot(): Snapshot {
    const now = Date.now()
    const sum = (of: Outcome) => this.#periods.reduce((total, { counts }) => total + counts[of], 0)
    return {
      at: iso(now),
      requests: { ok: sum('ok'), maintenance: sum('maintenance'), failed: sum('failed') },
      periods: this.#periods.map((period, i) => shown(period, this.#periods[i + 1]?.from ?? now)),
      acknowledged: this.#orders.size,
      discounts: [...this.#orders.values()].filter(order => order.discount > 0).length,
    }
  }

  summary(): Summary {
    return {
      ...this.snapshot(),
      seconds: [...this.#seconds.values()],
      orders: [...this.#orders.values()],
      users: this.users,
    }
  }

  #second(at: number): Second {
    const second = Math.floor(at / 1000)
    const known = this.#seconds.get(second)
    if (known !== undefined) return known
    const made = { at: iso(second * 1000), ...noCounts() }
    this.#seconds.set(second, made)
    return made
  }
}

function noCounts(): Record<Outcome, number> & { versions: Record<string, number> } {
  return { ok: 0, maintenance: 0, failed: 0, versions: {} }
}

function emptyPeriod(name: string, from: number) {
  const none = { failedBy: {} as Record<string, number>, reasons: {} as Record<string, number> }
  return { name, from, counts: noCounts(), ...none, ms: {} as Record<string, number[]> }
}

function keep(period: Tallied | undefined, step: string): number[] {
  const list: number[] = []
  if (period !== undefined) period.ms[step] = list
  return list
}

function bump(counts: Record<string, number> | undefined, key: string): void {
  if (counts !== undefined) counts[key] = (counts[key] ?? 0) + 1
}

function shown(period: Tallied, to: number): Period {
  const { name, from, counts, failedBy, reasons, ms } = period
  const latency = Object.fromEntries(Object.entries(ms).map(([step, list]) => [step, latencyOf(list)]))
  return { name, from: iso(from), to: iso(to), ...counts, failedBy, reasons, latency }
}

function latencyOf(list: readonly number[]): Latency {
  const sorted = [...list].sort((a, b) => a - b)
  const at = (share: number) => rounded(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
  return { count: sorted.length, min: at(0), p50: at(0.5), p95: at(0.95), max: at(1) }
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
