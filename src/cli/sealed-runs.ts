import type { Engine, Event, RunInfo } from '../core/engine.ts'
import { chainKey } from '../engine/chain.ts'
import { alteredIn, isSealed, runAltered } from '../engine/seals.ts'
import type { Environment } from './wiring/environment.ts'
import { eventsOf } from './wiring/events.ts'

/** How often is looked again for a moment in which no run begins or ends: what never stands still is compared as it is. */
const LOOKS = 10

/**
 * All runs, and all events up to then. What begins or ends while they are read would look as if somebody had altered it: so
 * the runs are listed before and after the last events.
 */
export async function wholeJournal(engine: Engine): Promise<{ runs: readonly RunInfo[]; events: readonly Event[] }> {
  const events = await eventsOf(engine, '*')
  let runs = await engine.list()
  for (let look = 1; ; look++) {
    for await (const event of engine.events('*', { after: events.at(-1)?.seq ?? 0 })) events.push(event)
    const now = await engine.list()
    if (look === LOOKS || stoodStill(runs, now)) return { runs: now, events }
    runs = now
  }
}

function stoodStill(before: readonly RunInfo[], now: readonly RunInfo[]): boolean {
  return before.length === now.length && before.every((run, i) => isAt(run, now[i]))
}

function isAt(before: RunInfo, now: RunInfo | undefined): boolean {
  return now?.id === before.id && now.state === before.state && now.updatedAt === before.updatedAt
}

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

/**
 * The run, and the journal up to then, where it is as its events tell. Nothing is reported of another one. Throws
 * `run_altered`.
 */
export async function intactRun(
  { ledger }: Environment,
  engine: Engine,
  before: RunInfo,
  read: () => Promise<Event[]>,
): Promise<{ run: RunInfo; events: readonly Event[] }> {
  let run = before
  for (let look = 1; ; look++) {
    const events = await read()
    const now = (await engine.get(run.id)) ?? run
    if (look < LOOKS && !isAt(run, now)) {
      run = now
      continue
    }
    const own = events.filter(e => e.run === run.id)
    const why = alteredIn(chainKey(ledger.keys.chain), now, own)
    if (why !== null) throw runAltered(run.id, why)
    return { run: now, events }
  }
}
