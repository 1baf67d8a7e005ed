import type { Plan } from '../core/plan.ts'
import { type Answer, type Moment, num, type Question, str } from './read.ts'

/** One execution of a step. A phase that is tried again executes its steps again. */
export interface StepRow {
  readonly id: string
  readonly component: string | null
  readonly title: string
  readonly phase: string | null
  /** ISO times. */
  readonly begun: string
  readonly ended: string | null
  readonly state: 'done' | 'failed' | 'skipped' | 'fenced' | 'unfinished'
  /** Milliseconds between begun and ended, retries and waiting for people included. */
  readonly tookMs: number | null
  readonly estimateMs: number | null
  readonly retries: number
  /** It cannot be undone. */
  readonly destructive: boolean
  /** It was there already and was not applied again. */
  readonly found: boolean
  readonly why: string | null
  /** Who decided in place of the target, or skipped it, and why. */
  readonly said: { readonly did: string; readonly by: string; readonly why: string | null } | null
}

type Open = { -readonly [K in keyof StepRow]: StepRow[K] }

const ENDS: Readonly<Record<string, StepRow['state']>> = {
  'step-done': 'done',
  'step-failed': 'failed',
  'step-skipped': 'skipped',
  fenced: 'fenced',
}

export function stepsOf(moments: readonly Moment[], plans: readonly Plan[], questions: readonly Question[]): StepRow[] {
  const rows: Open[] = []
  const open = new Map<string, Open>()
  const answers = new Map(questions.flatMap(q => (q.answer === null ? [] : [[q.answer.moment.seq, q] as const])))
  for (const m of moments) {
    const id = str(m.data['step'])
    const question = answers.get(m.seq)
    if (m.type === 'step-begun' && id !== null) {
      const row = begin(id, m, plans)
      rows.push(row)
      open.set(id, row)
      continue
    }
    const row = open.get(question?.of ?? id ?? '')
    if (row === undefined) continue
    if (question !== undefined) hear(row, question)
    else if (m.type === 'step-retry') row.retries++
    else if (ENDS[m.type] !== undefined) end(row, m)
  }
  return rows
}

function begin(id: string, m: Moment, plans: readonly Plan[]): Open {
  const planned = plans.find(p => p.steps[id] !== undefined)?.steps[id]
  return {
    id,
    component: planned?.component ?? null,
    title: str(m.data['title']) ?? planned?.title ?? id,
    phase: m.phase,
    begun: m.at,
    ended: null,
    state: 'unfinished',
    tookMs: null,
    estimateMs: num(m.data['estimateMs']) ?? planned?.estimateMs ?? null,
    retries: 0,
    destructive: planned?.destructive === true,
    found: false,
    why: null,
    said: null,
  }
}

function end(row: Open, m: Moment): void {
  row.state = ENDS[m.type] ?? row.state
  row.ended = m.at
  row.tookMs = m.ms - Date.parse(row.begun)
  row.found = m.data['found'] === true
  row.why = str(m.data['why'])
}

/** A person's word on a step: instead of the target's, or that it is left out after it failed. */
function hear(row: Open, { about, answer }: Question): void {
  if (answer === null) return
  row.said = saidBy(answer)
  if (about === 'failure' && answer.did === 'skip') row.state = 'skipped'
}

export function saidBy({ did, by, why }: Answer): { did: string; by: string; why: string | null } {
  return { did, by, why }
}
