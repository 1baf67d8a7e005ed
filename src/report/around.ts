import type { Event } from '../core/engine.ts'

/** The run's own events, and those outside runs that belong to its story. */
export interface Around {
  readonly events: readonly Event[]
  readonly extra: readonly Event[]
}

/**
 * Picks them from the whole journal: what happened outside runs from the upgrade before the run on (from the run before
 * it, where no upgrade was told) until another run or upgrade begins.
 */
export function around(journal: readonly Event[], run: string): Around {
  const events = journal.filter(e => e.run === run)
  const first = events[0]?.seq ?? Infinity
  const last = events.at(-1)?.seq ?? Infinity
  const before = journal.filter(e => e.seq < first)
  const since = before.findLast(e => e.type === 'upgrade-begun') ?? before.findLast(e => e.type === 'run-ended')
  const next = journal.find(e => e.seq > last && (e.type === 'upgrade-begun' || e.type === 'run-started'))
  const [from, until] = [since?.seq ?? 0, next?.seq ?? Infinity]
  return { events, extra: journal.filter(e => e.run.startsWith('-') && e.seq >= from && e.seq < until) }
}
