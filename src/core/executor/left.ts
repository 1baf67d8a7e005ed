import type { Node, Proposal } from '../contract.ts'
import type { Plan } from '../plan.ts'
import type { ComponentId, Phase, StepId } from '../words.ts'
import { stepsIn } from './still.ts'

/** What of a component a run went on without. */
export interface Left {
  readonly component: ComponentId
  /** What stands side by side with others and was left, with all that was to be done there: hosts, objects. */
  readonly items: readonly string[]
  /** Phases in which a step was left that stands side by side with nothing: the others hang on it. */
  readonly phases: readonly Phase[]
}

/** Phases that bring a component to its release, and bring users to it. */
const BRINGING: readonly Phase[] = ['data', 'config', 'code', 'flags', 'return']

/** By component. Of a step, the plan that it stands in last says what else was left with it. */
export function leftIn(plans: readonly Plan[], ids: readonly StepId[]): Left[] {
  const left = new Map<ComponentId, { items: string[]; phases: Phase[] }>()
  for (const id of ids) {
    const plan = plans.findLast(p => p.steps[id] !== undefined)
    const component = plan?.steps[id]?.component
    if (plan === undefined || component === undefined) continue
    // What was never begun, for it comes after what failed, is named by its item alone.
    const of = left.get(component) ?? { items: ids.filter(other => !isStep(plans, other)), phases: [] }
    left.set(component, of)
    for (const [phase, node] of Object.entries(phasesOf(plan, component))) {
      if (!stepsIn(node).includes(id)) continue
      const item = itemOf(node, id)
      if (item === null) of.phases.push(phase as Phase)
      else of.items.push(item)
    }
  }
  return [...left].map(([component, of]) => ({ component, ...of }))
}

function isStep(plans: readonly Plan[], id: string): boolean {
  return plans.some(plan => plan.steps[id] !== undefined)
}

/** What a component proposed, out of the plan that was put together from all of them. */
export function phasesOf(plan: Plan, component: ComponentId): Proposal['phases'] {
  const own = plan.phases.flatMap(({ phase, node }) => {
    const pars = ('seq' in node ? node.seq : [node]).flatMap(inner => ('par' in inner ? inner.par : []))
    const item = pars.find(({ id }) => id === component)
    return item === undefined ? [] : [[phase, item.node] as const]
  })
  return Object.fromEntries(own)
}

/** The outermost of what stands side by side that has the step in it. */
function itemOf(node: Node, id: StepId): string | null {
  if ('seq' in node) {
    const holding = node.seq.find(inner => stepsIn(inner).includes(id))
    return holding === undefined ? null : itemOf(holding, id)
  }
  return 'par' in node ? (node.par.find(item => stepsIn(item.node).includes(id))?.id ?? null) : null
}

/** The steps that bring a component to its release, without what was left and what hangs on that. */
export function besides({ items, phases: gone }: Left, phases: Proposal['phases']): StepId[] {
  const among = (node: Node): StepId[] => {
    if ('seq' in node) return node.seq.flatMap(among)
    if (!('par' in node)) return stepsIn(node)
    return node.par.filter(({ id }) => !items.includes(id)).flatMap(item => stepsIn(item.node))
  }
  return BRINGING.filter(phase => !gone.includes(phase)).flatMap(phase => {
    const node = phases[phase]
    return node === undefined ? [] : among(node)
  })
}
