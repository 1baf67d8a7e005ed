import type { Step } from '../core/contract.ts'
import type { Engine, Event, RunInfo } from '../core/engine.ts'
import { supersededBy } from '../core/executor/gate.ts'
import type { RunInput } from '../core/executor/world.ts'
import type { Plan } from '../core/plan.ts'
import { ENDED } from '../core/words.ts'
import { Progress } from './render/progress.ts'
import type { Session } from './session.ts'
import { changes } from './wiring/changed-since.ts'
import { LOOK_BACK } from './wiring/events.ts'

/** What the journal says of one run, as far as it matters afterwards. */
export interface Told {
  readonly run: RunInfo
  readonly progress: Progress
  /** Steps that failed and were gone on without, or were fenced, and were not done later in the run. */
  readonly left: ReadonlySet<string>
  /** Those of them that could not be kept away from users. */
  readonly loose: ReadonlySet<string>
  readonly done: ReadonlySet<string>
  /** Steps that were begun, with the command that lifts their effect where that was told. */
  readonly begun: ReadonlyMap<string, string | null>
  /** Steps that count as done by somebody's word, and whose: nothing proved them. */
  readonly byWord: ReadonlyMap<string, string>
  /** Steps that somebody went on without as they asked. */
  readonly without: ReadonlySet<string>
  /** What the run could not do without somebody's word. */
  readonly waits: ReadonlySet<string>
  /** Steps that were begun and came to no end, and what is known of them: where the run is over, it ended in their middle. */
  readonly middle: ReadonlyMap<string, string | null>
  /** Its watch ended early, and why; null: it did not. */
  readonly cutShort: string | null
  /** The number of its last event. */
  readonly last: number
}

export async function readRun(engine: Engine, run: RunInfo): Promise<Told> {
  const progress = new Progress((run.input as unknown as RunInput).plan)
  const told = {
    run,
    progress,
    left: new Set<string>(),
    loose: new Set<string>(),
    done: new Set<string>(),
    begun: new Map<string, string | null>(),
    byWord: new Map<string, string>(),
    without: new Set<string>(),
    waits: new Set<string>(),
    middle: new Map<string, string | null>(),
    cutShort: null as string | null,
    last: 0,
  }
  const failures = new Map<string, string>()
  for await (const event of engine.events(run.id)) {
    progress.see(event)
    told.last = event.seq
    noteSkipped(told, failures, event)
    note(told, event)
    noteMiddle(told.middle, event)
    if (event.type === 'watch-superseded') told.cutShort = supersededBy(event.data)
  }
  return told
}

interface Noting {
  readonly left: Set<string>
  readonly loose: Set<string>
  readonly done: Set<string>
  readonly begun: Map<string, string | null>
  readonly byWord: Map<string, string>
  readonly without: Set<string>
  readonly waits: Set<string>
}

interface Said {
  readonly step?: string
  readonly what?: string
  readonly text?: string
  readonly by?: string
  readonly fenced?: boolean
  readonly data?: { readonly lift?: string; readonly waits?: boolean }
}

function note({ left, loose, done, begun, byWord, without, waits }: Noting, { type, data }: Event): void {
  const { step, what, text, by, fenced, data: more } = (data ?? {}) as Said
  if (type === 'fact' && more?.waits === true && text !== undefined) waits.add(text)
  if (type === 'tolerated' && what !== undefined) left.add(what)
  if (step === undefined) return
  if (type === 'fenced') left.add(step)
  if (type === 'fenced' && fenced === false) loose.add(step)
  if (type === 'fenced' && fenced === true) loose.delete(step)
  if (type === 'step-begun') begun.set(step, null)
  if (type === 'fact' && more?.lift !== undefined) begun.set(step, more.lift)
  if (type === 'step-skipped' && by !== undefined) without.add(step)
  if (type !== 'step-done') return
  done.add(step)
  left.delete(step)
  without.delete(step)
  byWord.delete(step)
  if (by !== undefined) byWord.set(step, by)
}

/** What was fenced is kept from users, and what was skipped is gone on without: both are named as what they are. */
const ENDS = ['step-done', 'step-skipped', 'fenced']

function noteMiddle(middle: Map<string, string | null>, { type, data }: Event): void {
  const { step, why, left } = (data ?? {}) as { step?: string; why?: string; left?: { begun: boolean; why: string } }
  if (step === undefined) return
  if (type === 'step-begun' && !middle.has(step)) middle.set(step, null)
  else if (ENDS.includes(type)) middle.delete(step)
  if (type !== 'step-failed') return
  // Nothing was begun this time: what an earlier time has left stands.
  if (left?.begun === false && middle.get(step) === null) middle.delete(step)
  else if (left?.begun !== false) middle.set(step, left?.why ?? why ?? null)
}

/** Of a step that failed it is the answer that says that it was skipped. */
function noteSkipped(
  { middle, without }: { middle: Map<string, string | null>; without: Set<string> },
  failures: Map<string, string>,
  { type, data }: Event,
): void {
  const { token = '', about, step, do: answer } = (data ?? {}) as Record<string, string | undefined>
  if (type === 'asked' && about === 'failure' && step !== undefined) failures.set(token, step)
  const failed = type === 'answered' && answer === 'skip' ? failures.get(token) : undefined
  if (failed === undefined) return
  middle.delete(failed)
  without.add(failed)
}

/** What a run that was aborted was in the middle of, for machines: nothing of it where the run was not aborted. */
export function middleIn({ run, middle }: Told): { middle?: string[] } {
  return run.state === 'aborted' ? { middle: [...middle.keys()] } : {}
}

/** What a run that was aborted was in the middle of, for people. */
export function middleOf({ run, progress, middle }: Told): string[] {
  if (run.state !== 'aborted') return []
  const { steps } = progress.plan
  return [...middle].map(([id, why]) => `${steps[id]?.title ?? id} (${why ?? 'nobody looked what became of it'})`)
}

/** A target that a run left on what it should have left. */
export interface LeftStep {
  readonly run: string
  /** The release that it is not on. */
  readonly release: string
  readonly step: Step
  /** All of its component, of all runs that wanted the same. */
  readonly steps: readonly Step[]
  /** It could not be kept away from users. */
  readonly loose: boolean
  /** What happened since, so that nobody can tell any more what belongs there; null: nothing. */
  readonly since: string | null
}

/** A step whose effect may outlive its run. */
export interface LastingStep {
  readonly run: string
  readonly step: Step
  readonly lift: string | null
}

export interface LeftBehind {
  readonly fenced: readonly LeftStep[]
  readonly lasting: readonly LastingStep[]
}

/**
 * What the newest run and those before it may have left behind. Of what was fenced: as far back as they wanted the same
 * release and nothing was deployed or captured since. Of what lasts: until somebody saw that it was lifted.
 */
export async function leftBehind(session: Session, engine: Engine, newest: Told): Promise<LeftBehind> {
  const told = await look(session, engine, newest)
  const lasting = await lastingOf(session, engine, told, newest)
  const wanting = told.filter(t => t.begun.size > 0)
  const release = wanting[0]?.progress.plan.to.release
  const end = wanting.findIndex(t => t.progress.plan.to.release !== release)
  const same = end < 0 ? wanting : wanting.slice(0, end)
  return { lasting, fenced: same.some(t => t.left.size > 0) ? await fencedOf(session, engine, same) : [] }
}

/** The newest run, and those before it that have anything to say, newest first. */
async function look({ environment }: Session, engine: Engine, newest: Told): Promise<Told[]> {
  const runs = await engine.list({ exclusive: environment.config.environment })
  const before = runs.filter(run => ENDED.has(run.state) && run.id !== newest.run.id).slice(-LOOK_BACK)
  const told = [newest]
  let release = newest.begun.size > 0 ? newest.progress.plan.to.release : null
  let same = true
  for (const run of before.toReversed()) {
    const { plan } = run.input as unknown as RunInput
    if (!same && !lastsIn(plan)) continue
    const one = await readRun(engine, run)
    told.push(one)
    if (one.begun.size === 0) continue
    release ??= plan.to.release
    same &&= plan.to.release === release
  }
  return told
}

function lastsIn({ steps }: Plan): boolean {
  return Object.values(steps).some(step => step.lasts === true)
}

async function fencedOf(session: Session, engine: Engine, runs: readonly Told[]): Promise<LeftStep[]> {
  const seen = new Set<string>()
  const fenced: LeftStep[] = []
  const all = runs.flatMap(({ progress }) => Object.values(progress.plan.steps))
  const changedSince = await changes(session, engine)
  for (const [i, { run, progress, left, loose, done, last }] of runs.entries()) {
    const since = changedSince({ run, last })
    // Older ones are as good as forgotten: what was deployed since is what counts.
    if (since !== null && i > 0) break
    for (const id of left) {
      const step = progress.plan.steps[id]
      if (step === undefined || seen.has(id)) continue
      const steps = all.filter(s => s.component === step.component)
      const { release } = progress.plan.to
      fenced.push({ run: run.id, release, step, steps, loose: loose.has(id), since })
    }
    for (const id of [...left, ...done]) seen.add(id)
  }
  return fenced
}

/** Each step once, of the newest run that began it. */
async function lastingOf(
  { environment }: Session,
  engine: Engine,
  runs: readonly Told[],
  newest: Told,
): Promise<LastingStep[]> {
  const found = new Map<string, LastingStep>()
  const lifted = await liftedIn(engine)
  for (const { run, progress, begun } of runs) {
    for (const step of Object.values(progress.plan.steps)) {
      if (step.lasts !== true || !begun.has(step.id) || found.has(step.id)) continue
      if (run.id !== newest.run.id && environment.config.components[step.component] === undefined) continue
      found.set(step.id, { run: run.id, step, lift: begun.get(step.id) ?? null })
    }
  }
  return [...found.values()].filter(l => l.run === newest.run.id || !lifted.has(`${l.run} ${l.step.id}`))
}

/** What was seen to be lifted once is not asked for again: whoever holds it since, it is not that run. */
async function liftedIn(engine: Engine): Promise<Set<string>> {
  const lifted = new Set<string>()
  for await (const { data } of engine.events('*', { type: 'lifted' })) {
    const { run, step } = data as { run: string; step: string }
    lifted.add(`${run} ${step}`)
  }
  return lifted
}
