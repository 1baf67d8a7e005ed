import type { Plan } from '../core/plan.ts'
import { list, type Moment, obj, type Question, str, strs } from './read.ts'

/** The run went on by another way back, or wanted to. */
export interface FallRow {
  /** ISO time. */
  readonly at: string
  readonly component: string
  readonly from: string
  /** Null: no way back was left. */
  readonly to: string | null
  /** Why the earlier one failed. */
  readonly why: string | null
  /** Who decided on it; "policy" where nobody was asked. */
  readonly by: string
  /** What went beyond what was approved; empty: nothing did. */
  readonly beyond: readonly string[]
  readonly approvedBy: string | null
  readonly blockers: readonly string[]
  /** False: the plan was made, but not run. */
  readonly taken: boolean
}

export function fallsOf(moments: readonly Moment[], plans: readonly Plan[], questions: readonly Question[]): FallRow[] {
  return moments.flatMap((m, i) => {
    if (m.type !== 'plan-successor') return []
    const failed = list(m.data['exclude']).at(-1)
    const component = str(obj(failed)['component']) ?? '?'
    const next = plans.find(p => p.hash === m.data['plan'])
    const before = moments.slice(0, i)
    const failure = before.findLast(b => b.type === 'phase-failed')
    const decided = questions.find(q => q.answer !== null && q.answer.did === 'next-rung' && since(q, failure, m))
    const approval = questions.find(q => q.about === 'approval' && q.asked.seq > m.seq)
    const taken = moments.slice(i).some(n => n.type === 'phase-begun' && n.data['plan'] === m.data['plan'])
    const asked = strs(m.data['outside']).length > 0
    return [
      {
        at: m.at,
        component,
        from: str(obj(failed)['rung']) ?? '?',
        to: next?.components.find(c => c.id === component)?.rung ?? null,
        why: str(failure?.data['why']),
        by: decided?.answer?.by ?? 'policy',
        beyond: strs(m.data['outside']),
        approvedBy: asked && approval?.answer?.did === 'approve' ? approval.answer.by : null,
        blockers: strs(m.data['blockers']),
        taken,
      },
    ]
  })
}

function since(q: Question, failure: Moment | undefined, until: Moment): boolean {
  return q.asked.seq > (failure?.seq ?? 0) && q.asked.seq < until.seq
}
