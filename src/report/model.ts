import { iso } from '../core/clock.ts'
import type { Event, Head, RunInfo } from '../core/engine.ts'
import { ENDED, type RunState } from '../core/words.ts'
import { type ComponentRow, componentsOf } from './components.ts'
import { byGates, byTraffic, type Downtime } from './downtime.ts'
import { type FactRow, factsOf, type SideEffect, sideEffectsOf } from './effects.ts'
import { type FallRow, fallsOf } from './falls.ts'
import { type GateRow, gatesOf } from './gates.ts'
import { type IdleSpan, idleOf, type PauseRow, pausesOf, type ResumeRow, resumesOf } from './idle.ts'
import { type LeftRow, leftOf } from './left.ts'
import { type AssessmentRow, assessmentsOf, type DecisionRow, decisionsOf } from './people.ts'
import { type PhaseRow, phasesOf } from './phases.ts'
import { lastRun, type PlanRow, planRows, plansOf } from './plans.ts'
import { type Moment, momentsOf, obj, questionsOf, str, strs } from './read.ts'
import { type StepRow, stepsOf } from './steps.ts'
import { type TimelineRow, timelineOf } from './timeline.ts'

/** What is known of one run, from its journal and nothing else. This is also the JSON of `backout report --json`. */
export interface Report {
  readonly format: 1
  readonly run: string
  readonly environment: string | null
  readonly mode: 'full' | 'emergency' | null
  /** The versions: what was left, what was gone back to. */
  readonly from: string | null
  readonly to: string | null
  readonly state: RunState
  /** Why it ended as it did. */
  readonly why: string | null
  /** ISO times. */
  readonly made: string
  readonly started: string
  readonly ended: string | null
  /** Milliseconds from start to end, or to now while it goes on. */
  readonly durationMs: number
  /** Of the plan that was confirmed. Milliseconds. */
  readonly estimateMs: number | null
  readonly startedBy: { readonly by: string | null; readonly confirmed: string | null; readonly reason: string | null }
  readonly plans: readonly PlanRow[]
  /** What an emergency left out. */
  readonly omitted: readonly string[]
  readonly components: readonly ComponentRow[]
  /** What had changed since the plan; the run then touched nothing. */
  readonly moved: readonly string[]
  readonly downtime: {
    /** Milliseconds. */
    readonly plannedMs: number | null
    readonly traffic: Downtime
    readonly gates: Downtime
  }
  readonly facts: readonly FactRow[]
  readonly left: readonly LeftRow[]
  readonly sideEffects: readonly SideEffect[]
  readonly decisions: readonly DecisionRow[]
  readonly assessments: readonly AssessmentRow[]
  readonly phases: readonly PhaseRow[]
  readonly steps: readonly StepRow[]
  readonly gates: readonly GateRow[]
  readonly idle: readonly IdleSpan[]
  readonly pauses: readonly PauseRow[]
  readonly resumes: readonly ResumeRow[]
  readonly falls: readonly FallRow[]
  /** Where the run started, and how to get back there; null: it ended before its first effect. */
  readonly departure: { readonly release: string; readonly revert: string } | null
  readonly timeline: readonly TimelineRow[]
  readonly chain: {
    /** Of the whole journal when this was made. */
    readonly length: number
    readonly mac: string
    /** The events of this run. */
    readonly events: number
    readonly first: number | null
    readonly last: number | null
  }
}

export interface ReportInput {
  readonly run: RunInfo
  /** All of that run, in order. */
  readonly events: readonly Event[]
  /** Events outside runs that belong to the story: `assessment`, `marked`, `upgrade-begun`. */
  readonly extra: readonly Event[]
  readonly head: Head
  /** Epoch milliseconds. */
  readonly now: number
}

/** Puts the report together. Pure; whatever the events do not say is null or said to be not measured. */
export function buildReport({ run, events, extra, head, now }: ReportInput): Report {
  const moments = momentsOf(events)
  const plans = plansOf(run, moments)
  const first = plans[0] ?? null
  const last = lastRun(plans, moments)
  const questions = questionsOf(moments)
  const times = timesOf(run, moments, now)
  const idle = idleOf(moments)
  const steps = stepsOf(moments, plans, questions)
  const gates = gatesOf(moments, questions)
  const facts = factsOf(moments)
  const assessments = assessmentsOf(extra)
  const input = obj(run.input)
  return {
    format: 1,
    run: run.id,
    environment: first?.environment ?? run.exclusive,
    mode: first?.mode ?? null,
    from: first?.from ?? null,
    to: first?.to.release ?? null,
    state: run.state,
    why: str(obj(run.output)['why']) ?? run.error,
    made: iso(now),
    ...times,
    estimateMs: first?.estimateMs ?? null,
    startedBy: { by: str(input['by']), confirmed: str(input['confirmed']), reason: str(input['reason']) },
    plans: planRows(plans, moments),
    omitted: (last ?? first)?.omitted ?? [],
    components: componentsOf(plans, last, steps),
    moved: moments.filter(m => m.type === 'plan-moved').flatMap(m => strs(m.data['differences'])),
    downtime: {
      plannedMs: first?.impact.downtimeMs ?? null,
      traffic: byTraffic(steps, plans),
      gates: byGates(moments, extra),
    },
    facts,
    left: leftOf({ moments, steps, gates, plan: last, over: times.ended !== null, state: run.state }),
    sideEffects: sideEffectsOf(last, facts, assessments.at(-1)),
    decisions: decisionsOf({ run, started: times.started, moments, questions, assessments, extra }),
    assessments,
    phases: phasesOf(moments, idle, plans),
    steps,
    gates,
    idle,
    pauses: pausesOf(moments),
    resumes: resumesOf(moments, idle),
    falls: fallsOf(moments, plans, questions),
    departure: departureOf(run, moments),
    timeline: timelineOf([...extra, ...events], Date.parse(times.started)),
    chain: { ...head, events: events.length, first: events[0]?.seq ?? null, last: events.at(-1)?.seq ?? null },
  }
}

function timesOf(run: RunInfo, moments: readonly Moment[], now: number) {
  const started = moments.find(m => m.type === 'run-started')?.at ?? run.createdAt
  const end = moments.findLast(m => m.type === 'run-ended')?.at ?? (ENDED.has(run.state) ? run.updatedAt : null)
  const until = end === null ? now : Date.parse(end)
  return { started, ended: end, durationMs: until - Date.parse(started) }
}

function departureOf(run: RunInfo, moments: readonly Moment[]): Report['departure'] {
  const release = str(moments.findLast(m => m.type === 'departure')?.data['release'])
  return release === null ? null : { release, revert: `backout revert ${run.id}` }
}
