import { type Plan, uncapturedIn } from '../core/plan.ts'
import type { RunState } from '../core/words.ts'
import type { GateRow } from './gates.ts'
import { gatesIn, ordered } from './plans.ts'
import { type Moment, str } from './read.ts'
import type { StepRow } from './steps.ts'

/** Something that is not as the plan wanted it when the run ended. */
export interface LeftRow {
  /** The step or gate. */
  readonly what: string
  readonly is:
    | 'skipped'
    | 'not verified'
    | 'fenced'
    | 'not fenced'
    | 'tolerated'
    | 'failed'
    | 'inconclusive'
    | 'unfinished'
    | 'not begun'
    | 'not asked'
    | 'not captured'
  readonly why: string | null
  readonly by: string | null
}

interface Sources {
  readonly moments: readonly Moment[]
  readonly steps: readonly StepRow[]
  readonly gates: readonly GateRow[]
  /** The plan that was followed last. */
  readonly plan: Plan | null
  /** Of a run that goes on, what is not done may be yet to come. */
  readonly over: boolean
  readonly state: RunState
}

export function leftOf({ moments, steps, gates, plan, over, state }: Sources): LeftRow[] {
  const rows = new Map<string, LeftRow>()
  for (const row of [...moments.flatMap(toldIn), ...gatesLeft(gates, over)]) {
    if (!rows.has(row.what)) rows.set(row.what, row)
  }
  const last = new Map(steps.map(s => [s.id, s]))
  for (const step of last.values()) {
    // What belongs to a plan that was fallen from is told with the fall: another way back took its place.
    const ours = plan === null || plan.steps[step.id] !== undefined
    if (step.state === 'done') rows.delete(step.id)
    if (ours && isLeft(step, over && !rows.has(step.id))) rows.set(step.id, stepLeft(step))
  }
  const never = plan === null || !over ? [] : ordered(plan).filter(id => !last.has(id))
  return [
    ...rows.values(),
    ...never.map((what): LeftRow => ({ what, is: 'not begun', why: null, by: null })),
    ...(plan === null || !over || state === 'succeeded' ? [] : neverAsked(plan, gates)),
    ...(plan === null ? [] : uncapturedIn(plan).map(uncaptured)),
  ]
}

/** The release has no pin of it, so nobody can tell whether it is on it. */
function uncaptured(what: string): LeftRow {
  return { what, is: 'not captured', why: 'the release was captured without it, so it was left as it was', by: null }
}

/** What a run that did not succeed never measured. */
function neverAsked(plan: Plan, gates: readonly GateRow[]): LeftRow[] {
  const asked = new Set(gates.map(g => g.gate))
  const never = gatesIn(plan).filter(gate => !asked.has(gate))
  return never.map(gate => ({ what: `gate ${gate}`, is: 'not asked', why: null, by: null }))
}

/** @param untold Nothing else tells of it, and the run is over. */
function isLeft({ state, said }: StepRow, untold: boolean): boolean {
  if (state === 'done') return said?.did === 'done'
  return state === 'skipped' || untold
}

/** Of what is done only a word that stands in place of the target's is told. */
function stepLeft({ id, state, why, said }: StepRow): LeftRow {
  return { what: id, is: state === 'done' ? 'not verified' : state, why: said?.why ?? why, by: said?.by ?? null }
}

function toldIn({ type, data }: Moment): LeftRow[] {
  const why = str(data['why'])
  if (type === 'fenced') return [{ what: str(data['step']) ?? '?', is: fence(data['fenced'] === true), why, by: null }]
  return type === 'tolerated' ? [{ what: str(data['what']) ?? '?', is: 'tolerated', why, by: null }] : []
}

function fence(ok: boolean): LeftRow['is'] {
  return ok ? 'fenced' : 'not fenced'
}

function gatesLeft(gates: readonly GateRow[], over: boolean): LeftRow[] {
  const last = new Map(gates.map(g => [g.gate, g]))
  return [...last.values()].flatMap(({ gate, skipped, outcome, samples }): LeftRow[] => {
    const what = `gate ${gate}`
    if (skipped !== null) return [{ what, is: 'skipped', why: skipped.why, by: skipped.by }]
    if (!over || outcome === 'pass') return []
    const bad = samples.filter(s => s.ok !== true).map(s => `${s.probe}: ${s.text}`)
    return [{ what, is: outcome === 'fail' ? 'failed' : 'inconclusive', why: bad.join('; ') || null, by: null }]
  })
}
