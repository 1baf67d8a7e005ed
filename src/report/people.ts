import type { Event, RunInfo } from '../core/engine.ts'
import { span } from '../core/impact-text.ts'
import { signal, whose } from './idle.ts'
import { list, type Moment, num, type Obj, obj, type Question, str, strs } from './read.ts'

/** Something that a person decided. */
export interface DecisionRow {
  /** Number of the event that holds it; null: the run's start was not journalled. */
  readonly seq: number | null
  /** ISO time. */
  readonly at: string
  readonly kind:
    | 'assessment'
    | 'overrule'
    | 'mark'
    | 'start'
    | 'answer'
    | 'approval'
    | 'skip'
    | 'pause'
    | 'resume'
    | 'abort'
    | 'supersede'
  readonly who: string
  readonly what: string
  readonly why: string | null
}

export interface AssessmentRow {
  /** Number of the event that holds it. */
  readonly seq: number
  readonly at: string
  readonly by: string
  readonly severity: string
  readonly dataImpact: string
  /** Milliseconds; null: nobody could say. */
  readonly timeToFixMs: number | null
  readonly affected: {
    readonly systems: readonly string[]
    readonly users: readonly string[]
    readonly functions: readonly string[]
  }
  readonly note: string | null
  readonly answer: string
  readonly then: string | null
  readonly reasons: readonly string[]
  readonly evidence: readonly {
    readonly at: string
    readonly what: string
    readonly ok: boolean | null
    readonly text: string
    readonly by: string | null
  }[]
  readonly overruled: { readonly at: string; readonly by: string; readonly why: string; readonly answer: string } | null
}

export function assessmentsOf(extra: readonly Event[]): AssessmentRow[] {
  return extra.filter(e => e.type === 'assessment').map(assessment)
}

function assessment(event: Event): AssessmentRow {
  const data = obj(event.data)
  const decision = obj(data['decision'])
  const affected = obj(data['affected'])
  return {
    seq: event.seq,
    at: str(data['at']) ?? event.at,
    by: str(data['by']) ?? 'somebody unnamed',
    severity: str(data['severity']) ?? 'not said',
    dataImpact: str(data['dataImpact']) ?? 'not said',
    timeToFixMs: num(data['timeToFixMs']),
    affected: {
      systems: strs(affected['systems']),
      users: strs(affected['users']),
      functions: strs(affected['functions']),
    },
    note: str(data['note']),
    answer: str(decision['answer']) ?? 'not said',
    then: str(decision['then']),
    reasons: strs(decision['reasons']),
    evidence: list(data['evidence']).map(raw => evidence(obj(raw), event.at)),
    overruled: overruling(obj(data['overruled']), event.at),
  }
}

function evidence(raw: Obj, at: string): AssessmentRow['evidence'][number] {
  const ok = typeof raw['ok'] === 'boolean' ? raw['ok'] : null
  return {
    at: str(raw['at']) ?? at,
    what: str(raw['what']) ?? '?',
    ok,
    text: str(raw['text']) ?? '',
    by: str(raw['by']),
  }
}

function overruling(raw: Obj, at: string): AssessmentRow['overruled'] {
  const answer = str(raw['answer'])
  if (answer === null) return null
  const by = str(raw['by']) ?? 'somebody unnamed'
  return { at: str(raw['at']) ?? at, by, why: str(raw['why']) ?? 'no reason given', answer }
}

export function answerText({ answer, then }: Pick<AssessmentRow, 'answer' | 'then'>): string {
  return then === null ? answer : `${answer}, then ${then}`
}

interface Sources {
  readonly run: RunInfo
  readonly started: string
  readonly moments: readonly Moment[]
  readonly questions: readonly Question[]
  readonly assessments: readonly AssessmentRow[]
  readonly extra: readonly Event[]
}

/** Everything that a person decided, in the order in which it was decided. */
export function decisionsOf({ run, started, moments, questions, assessments, extra }: Sources): DecisionRow[] {
  const rows = [
    ...assessments.flatMap(assessed),
    ...extra.flatMap(marked),
    ...start(run, started, moments),
    ...questions.flatMap(answered),
    ...moments.flatMap(signalled),
  ]
  return rows.toSorted((a, b) => (a.seq ?? 0) - (b.seq ?? 0))
}

function assessed(a: AssessmentRow): DecisionRow[] {
  const fix = a.timeToFixMs === null ? 'time to fix unknown' : `time to fix ${span(a.timeToFixMs)}`
  const what = `assessed it as ${a.severity}, data impact ${a.dataImpact}, ${fix}; the matrix says ${answerText(a)}`
  const rows: DecisionRow[] = [{ seq: a.seq, at: a.at, kind: 'assessment', who: a.by, what, why: a.note }]
  const o = a.overruled
  if (o !== null)
    rows.push({ seq: a.seq, at: o.at, kind: 'overrule', who: o.by, what: `overruled it: ${o.answer}`, why: o.why })
  return rows
}

function marked({ seq, type, at, data: raw }: Event): DecisionRow[] {
  const { release, state, by, why } = obj(raw)
  if (type !== 'marked' || str(release) === null) return []
  const who = str(by) ?? 'somebody unnamed'
  return [{ seq, at, kind: 'mark', who, what: `marked ${str(release)} as ${str(state) ?? '?'}`, why: str(why) }]
}

function start(run: RunInfo, at: string, moments: readonly Moment[]): DecisionRow[] {
  const seq = moments.find(m => m.type === 'run-started')?.seq ?? null
  const { by, confirmed, reason } = obj(run.input)
  const how = str(confirmed)
  const what = how === null ? 'started the run' : `started the run, confirmed: ${how}`
  return [{ seq, at, kind: 'start', who: str(by) ?? 'somebody unnamed', what, why: str(reason) }]
}

function answered({ about, of, why: asked, answer }: Question): DecisionRow[] {
  if (answer === null) return []
  const kind = answer.did === 'skip' ? 'skip' : ['approve', 'accept'].includes(answer.did) ? 'approval' : 'answer'
  const what = `said "${answer.did}" when asked about ${of ?? about}${asked === null ? '' : ` (${asked})`}`
  return [{ seq: answer.moment.seq, at: answer.moment.at, kind, who: answer.by, what, why: answer.why }]
}

const SIGNALS: Readonly<Record<string, readonly [DecisionRow['kind'], string]>> = {
  $pause: ['pause', 'paused the run'],
  $resume: ['resume', 'let the run go on'],
  $cancel: ['abort', 'aborted the run'],
  $supersede: ['supersede', 'ended the watch for a new run'],
}

function signalled(moment: Moment): DecisionRow[] {
  const known = SIGNALS[signal(moment) ?? '']
  if (known === undefined) return []
  const [kind, plain] = known
  const upgrade = str(obj(moment.data['value'])['upgrade'])
  const what = kind === 'supersede' && upgrade !== null ? `ended the watch by the upgrade to ${upgrade}` : plain
  return [
    { seq: moment.seq, at: moment.at, kind, who: whose(moment), what, why: str(obj(moment.data['value'])['reason']) },
  ]
}
