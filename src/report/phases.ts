import type { Plan } from '../core/plan.ts'
import type { IdleSpan } from './idle.ts'
import { type Moment, num, str } from './read.ts'

export interface PhaseRow {
  readonly phase: string
  readonly plan: string | null
  /** ISO times. */
  readonly begun: string
  readonly ended: string | null
  readonly state: 'done' | 'unfinished'
  /** Milliseconds between the two, waiting for people included. */
  readonly tookMs: number | null
  /** What of it the run was asking, paused or without a process. */
  readonly idleMs: number
  readonly estimateMs: number | null
  readonly failures: readonly { readonly at: string; readonly what: string; readonly why: string }[]
}

export function phasesOf(moments: readonly Moment[], idle: readonly IdleSpan[], plans: readonly Plan[]): PhaseRow[] {
  const rows: PhaseRow[] = []
  for (const [i, m] of moments.entries()) {
    if (m.type !== 'phase-begun') continue
    const phase = str(m.data['phase']) ?? '?'
    const next = moments.findIndex((n, at) => at > i && n.type === 'phase-begun')
    const own = moments.slice(i, next < 0 ? undefined : next)
    const end = own.find(n => n.type === 'phase-ended' && n.data['phase'] === m.data['phase'])
    const plan = str(m.data['plan'])
    rows.push({
      phase,
      plan,
      begun: m.at,
      ended: end?.at ?? null,
      state: end === undefined ? 'unfinished' : 'done',
      tookMs: end === undefined ? null : end.ms - m.ms,
      idleMs: end === undefined ? 0 : idleWithin(idle, m.ms, end.ms),
      estimateMs:
        num(m.data['estimateMs']) ??
        plans.find(p => p.hash === plan)?.phases.find(p => p.phase === phase)?.estimateMs ??
        null,
      failures: own.filter(n => n.type === 'phase-failed').map(failure),
    })
  }
  return rows
}

function failure({ at, data }: Moment): PhaseRow['failures'][number] {
  return { at, what: str(data['what']) ?? '?', why: str(data['why']) ?? '?' }
}

/** Milliseconds of a stretch in which the run was idle. */
function idleWithin(idle: readonly IdleSpan[], from: number, until: number): number {
  const overlap = (s: IdleSpan) => Math.min(until, s.untilMs ?? until) - Math.max(from, s.fromMs)
  return idle.reduce((sum, s) => sum + Math.max(0, overlap(s)), 0)
}
