import type { Event } from '../core/engine.ts'
import type { Plan } from '../core/plan.ts'
import { outcomeOf } from './gates.ts'
import { list, type Moment, obj, str } from './read.ts'
import type { StepRow } from './steps.ts'

/** A stretch in which users were not served, as far as something shows it. */
export interface Downtime {
  /** Milliseconds; null: not measured, or not over. */
  readonly ms: number | null
  /** ISO times. */
  readonly from: string | null
  readonly until: string | null
  /** How it was derived, or why it was not. */
  readonly how: string
}

/** From sending users away to having them back, by the steps that do it. */
export function byTraffic(steps: readonly StepRow[], plans: readonly Plan[]): Downtime {
  const away = steps.filter(s => s.phase === 'drain')
  const gone = away.length > 0 ? away : steps.filter(s => s.phase === 'stop')
  const [first] = gone
  if (first === undefined) return none('not measured: no step of this run sent users away')
  const name = away.length > 0 ? 'drain' : 'stop'
  const from = first.begun
  const safe = new Set(plans.flatMap(p => p.safe))
  const done = (s: StepRow) => s.state === 'done' && s.ended !== null
  const backAt = steps.findLastIndex(s => s.phase === 'return' && !safe.has(s.id) && done(s))
  const back = steps[backAt]
  // By their order in the journal: two steps may have begun within one millisecond.
  const again = steps.slice(backAt + 1).findLast(s => safe.has(s.id) && done(s))
  const start = `from the first ${name} step begun (${first.id})`
  if (back === undefined) return { ms: null, from, until: null, how: `${start}; no step brought them back in this run` }
  if (again !== undefined) {
    const how = `${start}; they were brought back by ${back.id}, and sent away again by ${again.id}, not brought back in this run`
    return { ms: null, from, until: null, how }
  }
  const how = `${start} to the last return step done (${back.id}); users may have been served in part in between, so it is the most that it was`
  return { ms: between(from, back.ended), from, until: back.ended, how }
}

/** One time that a gate was asked: in the run, or as evidence of an assessment. */
interface Measured {
  readonly gate: string
  readonly at: string
  readonly ok: boolean | null
}

/** From the first time that a gate was seen failing to its first pass after the last failure. */
export function byGates(moments: readonly Moment[], extra: readonly Event[]): Downtime {
  const all = [...extra.flatMap(evidenceIn), ...moments.flatMap(measuredIn)]
  if (all.length === 0) return none('not measured: no gate was asked')
  const spans = [...new Set(all.map(m => m.gate))].flatMap(gate => spanOf(all.filter(m => m.gate === gate)))
  if (spans.length === 0) {
    const unknown = all.some(m => m.ok === null) ? '; some measurements were inconclusive' : ''
    return none(`not measured: no gate was seen failing${unknown}`)
  }
  const first = spans.reduce((a, b) => (a.from <= b.from ? a : b))
  const open = spans.find(s => s.until === null)
  const start = `from the first failing measurement (gate ${first.gate})`
  if (open !== undefined) {
    return {
      ms: null,
      from: first.from,
      until: null,
      how: `${start}; gate ${open.gate} was not seen passing after its last failure`,
    }
  }
  const last = spans.reduce((a, b) => ((a.until ?? '') >= (b.until ?? '') ? a : b))
  const how = `${start} to the first passing one after the last failure (gate ${last.gate}); what was between measurements is not known`
  return { ms: between(first.from, last.until), from: first.from, until: last.until, how }
}

function spanOf(series: readonly Measured[]): { gate: string; from: string; until: string | null }[] {
  const failing = series.find(m => m.ok === false)
  const last = series.findLastIndex(m => m.ok === false)
  if (failing === undefined) return []
  const well = series.slice(last + 1).find(m => m.ok === true)
  return [{ gate: failing.gate, from: failing.at, until: well?.at ?? null }]
}

function measuredIn(moment: Moment): Measured[] {
  const gate = str(moment.data['gate'])
  if (moment.type !== 'gate' || gate === null) return []
  const ok = { pass: true, fail: false, inconclusive: null, 'not measured': null }[outcomeOf(moment)]
  return [{ gate, at: moment.at, ok }]
}

function evidenceIn(event: Event): Measured[] {
  if (event.type !== 'assessment') return []
  return list(obj(event.data)['evidence']).flatMap(raw => {
    const { what, at, ok, by } = obj(raw)
    const gate = /^gate (.+)$/.exec(str(what) ?? '')?.[1]
    const time = str(at)
    // What a person says of a gate is no measurement.
    if (gate === undefined || time === null || str(by) !== null) return []
    return [{ gate, at: time, ok: typeof ok === 'boolean' ? ok : null }]
  })
}

function between(from: string, until: string | null): number | null {
  return until === null ? null : Date.parse(until) - Date.parse(from)
}

function none(how: string): Downtime {
  return { ms: null, from: null, until: null, how }
}
