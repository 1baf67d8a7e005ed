import type { Engine, Event, RunInfo } from '../core/engine.ts'
import { chainKey } from '../engine/chain.ts'
import { alteredIn, isSealed, runAltered } from '../engine/seals.ts'
import type { Environment } from './wiring/environment.ts'
import { eventsOf } from './wiring/events.ts'

/** What became of comparing all runs with what their events tell. */
export interface Compared {
  /** The first one that is not as it was written, in words; null: none. */
  readonly altered: string | null
  /** Runs of an older Backout, whose events carry no seal of what they began with. */
  readonly uncovered: readonly string[]
}

/** Compares each run of the home with its events, and what the events tell with the runs that are there. */
export function comparedRuns({ ledger }: Environment, runs: readonly RunInfo[], events: readonly Event[]): Compared {
  const key = chainKey(ledger.keys.chain)
  const ofRun = Map.groupBy(events, e => e.run)
  const own = (id: string) => ofRun.get(id) ?? []
  const wrong = runs.flatMap(run => {
    const why = alteredIn(key, run, own(run.id))
    return why === null ? [] : [`run ${run.id}: ${why}`]
  })
  const there = new Set(runs.map(run => run.id))
  const gone = events.find(e => e.type === 'run-started' && !there.has(e.run))
  if (gone !== undefined) wrong.push(`run ${gone.run}, which event ${gone.seq} tells of, is gone`)
  const uncovered = runs.filter(run => !isSealed(own(run.id))).map(run => run.id)
  return { altered: wrong[0] ?? null, uncovered }
}

export function uncoveredLines(uncovered: readonly string[]): string[] {
  if (uncovered.length === 0) return []
  const some = uncovered.slice(0, 5).join(', ')
  const more = uncovered.length > 5 ? ` and ${uncovered.length - 5} more` : ''
  return [`Not covered: plan, person and outcome of ${some}${more}, begun by an older Backout.`]
}

/** Nothing is reported of a run that is not as its events tell. Throws `run_altered`. */
export async function refuseAltered({ ledger }: Environment, engine: Engine, run: RunInfo): Promise<void> {
  const why = alteredIn(chainKey(ledger.keys.chain), run, await eventsOf(engine, run.id))
  if (why !== null) throw runAltered(run.id, why)
}
