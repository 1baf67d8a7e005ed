import type { Plan, PlanComponent } from '../core/plan.ts'
import { ordered } from './plans.ts'
import type { StepRow } from './steps.ts'

/** What became of one component. */
export interface ComponentRow {
  readonly component: string
  /** What it was when the run began. */
  readonly from: string
  /** What it was to become; null: it was to stay as it was. */
  readonly to: string | null
  readonly rung: string
  /** By the steps of the plan that was followed last; `no step` where none was needed. */
  readonly is: 'done' | 'partly done' | 'not begun' | 'no step'
}

/** Each component of the plans that were followed, in their order. `plan`: the one that was followed last. */
export function componentsOf(plans: readonly Plan[], plan: Plan | null, steps: readonly StepRow[]): ComponentRow[] {
  const first = plans[0]
  if (first === undefined) return []
  const last = plan ?? first
  const followed = plans.slice(0, plans.indexOf(last) + 1)
  const states = new Map(steps.map(s => [s.id, s.state]))
  return last.components.map(({ id, observed }) => {
    const all = followed.flatMap(p => p.components.filter(c => c.id === id))
    const changes = all.flatMap(c => (c.change === null ? [] : [{ ...c.change, rung: c.rung }]))
    return {
      component: id,
      from: changes[0]?.from ?? (all[0] ?? { observed }).observed.summary,
      to: changes.at(-1)?.to ?? null,
      rung: changes.at(-1)?.rung ?? '',
      is: stateOf(id, followed, states),
    }
  })
}

function stateOf(
  id: PlanComponent['id'],
  followed: readonly Plan[],
  states: ReadonlyMap<string, StepRow['state']>,
): ComponentRow['is'] {
  const own = followed.map(plan => ordered(plan).filter(step => plan.steps[step]?.component === id))
  const wanted = own.findLast(list => list.length > 0) ?? []
  if (wanted.length === 0) return 'no step'
  const done = wanted.filter(step => states.get(step) === 'done').length
  if (done === wanted.length) return 'done'
  return wanted.some(step => states.has(step)) ? 'partly done' : 'not begun'
}
