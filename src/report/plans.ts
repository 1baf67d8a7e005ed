import type { Finding, Impact, Node } from '../core/contract.ts'
import type { RunInfo } from '../core/engine.ts'
import { type ImpactPoint, impactPoints } from '../core/impact-text.ts'
import type { Json } from '../core/json.ts'
import type { Plan } from '../core/plan.ts'
import { type Moment, obj, str } from './read.ts'

/** One plan of the run's chain: the first, then one for each fall to another rung. */
export interface PlanRow {
  readonly hash: string
  readonly parent: string | null
  /** ISO time. */
  readonly at: string
  readonly estimateMs: number
  readonly rungs: readonly { readonly component: string; readonly rung: string; readonly title: string }[]
  readonly impact: Impact
  readonly points: readonly ImpactPoint[]
  readonly findings: readonly Finding[]
  /** False for one that was made after a failure and not run. */
  readonly run: boolean
}

/** The plans that a run had, in their order; none where its input holds none. */
export function plansOf(run: RunInfo, moments: readonly Moment[]): Plan[] {
  const first = asPlan(obj(run.input)['plan'])
  const later = moments.filter(m => m.type === 'plan-successor').map(m => asPlan(m.data['next']))
  return [first, ...later].filter(p => p !== null)
}

function asPlan(value: Json | undefined): Plan | null {
  const { hash, steps, phases, components, impact, to } = obj(value)
  const whole = str(hash) !== null && Array.isArray(phases) && Array.isArray(components)
  return whole && [steps, impact, to].every(v => v !== null && typeof v === 'object')
    ? (value as unknown as Plan)
    : null
}

export function planRows(plans: readonly Plan[], moments: readonly Moment[]): PlanRow[] {
  const begun = new Set(moments.filter(m => m.type === 'phase-begun').map(m => str(m.data['plan'])))
  return plans.map(plan => ({
    hash: plan.hash,
    parent: plan.parent,
    at: plan.made.at,
    estimateMs: plan.estimateMs,
    rungs: plan.components
      .filter(c => c.change !== null)
      .map(({ id, rung, title }) => ({ component: id, rung, title })),
    impact: plan.impact,
    points: impactPoints(plan),
    findings: plan.findings,
    run: begun.has(plan.hash),
  }))
}

/** The plan that the run followed last; null: it came to no phase. */
export function lastRun(plans: readonly Plan[], moments: readonly Moment[]): Plan | null {
  const hash = moments.findLast(m => m.type === 'phase-begun')?.data['plan']
  return plans.findLast(p => p.hash === hash) ?? null
}

/** Steps in the plan's own order; those that only a failing gate or an abort calls for are not among them. */
export function ordered(plan: Plan): string[] {
  return plan.phases.flatMap(({ node }) => stepsIn(node))
}

/** Gates in the plan's own order, each once. */
export function gatesIn(plan: Plan): string[] {
  const walk = (node: Node): string[] => {
    if ('step' in node) return []
    if ('gate' in node) return [node.gate, ...(node.with ?? [])]
    return ('seq' in node ? node.seq : node.par.map(p => p.node)).flatMap(walk)
  }
  return [...new Set(plan.phases.flatMap(({ node }) => walk(node)))]
}

function stepsIn(node: Node): string[] {
  if ('step' in node) return [node.step]
  if ('gate' in node) return []
  return ('seq' in node ? node.seq : node.par.map(p => p.node)).flatMap(stepsIn)
}
