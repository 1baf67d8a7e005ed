import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { haltVerdict } from './halt.ts'
import { alive, lookAt, lookAtSwarm, type View } from './look.ts'
import { settledOf } from './settled.ts'
import type { Site } from './site.ts'
import { argsOf, type BringArgs } from './steps.ts'
import type { Service, Spec } from './types.ts'

const NOWHERE = 'node.id==stopped-by-backout'

/** A specification by which no task runs. */
export function stoppedSpec(spec: Spec): Spec {
  if (spec.Mode.Replicated !== undefined) return { ...spec, Mode: { Replicated: { Replicas: 0 } } }
  const { TaskTemplate: template } = spec
  const others = (template.Placement?.Constraints ?? []).filter(c => c !== NOWHERE)
  return {
    ...spec,
    TaskTemplate: { ...template, Placement: { ...template.Placement, Constraints: [...others, NOWHERE] } },
  }
}

/** Whether the service has the specification of the step, be it with Backout's own settings for the time of the update. */
export function atWork(site: Site, { Spec: spec }: Service, args: BringArgs): boolean {
  if (args.force !== null && (spec.TaskTemplate.ForceUpdate ?? 0) < args.force) return false
  return isGoal(site, spec, args)
}

function isGoal(site: Site, spec: Spec, args: BringArgs): boolean {
  if (spec.TaskTemplate.ContainerSpec.Image !== args.goal.image.ref) return false
  return site.shape(spec) === args.goal.shape || careful(site, spec, args)
}

/** The same but for what is done when an update fails. */
function careful(site: Site, spec: Spec, { goal }: BringArgs): boolean {
  if (spec.UpdateConfig?.FailureAction !== 'pause') return false
  return ACTIONS.some(action => site.shape(withAction(spec, action)) === goal.shape)
}

/** What a specification may say there; without an entry it has none at all. */
const ACTIONS = ['rollback', 'continue', 'none', 'bare'] as const

function withAction(spec: Spec, action: (typeof ACTIONS)[number]): Spec {
  const { UpdateConfig: config = {}, ...rest } = spec
  if (action === 'none') return rest as Spec
  const { FailureAction: _, ...others } = config
  return { ...spec, UpdateConfig: action === 'bare' ? others : { ...others, FailureAction: action } }
}

/** Whether it is wholly the release's, and Swarm's own rollback of it would be harmless. */
export function leadsBack(site: Site, service: Service, args: BringArgs): boolean {
  if (site.shape(service.Spec) !== args.goal.shape) return false
  return service.PreviousSpec === undefined || isGoal(site, service.PreviousSpec, args)
}

/** Asks Swarm what became of a step. */
export async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  const swarm = await lookAtSwarm(site, act.signal)
  const view = await lookAt(site, swarm, args.service, act.signal)
  if (args.do === 'stop') return stopVerdict(view)
  if (args.do === 'halt') return haltVerdict(site, view)
  if (view === null) return { is: 'not-done', why: 'there is no such service' }
  if (!atWork(site, view.service, args)) return { is: 'not-done', why: otherwise(view) }
  const settled = settledOf(view, swarm, args.goal.image, site.config.limits.update)
  if (settled.is === 'moving') return { is: 'running', why: settled.why }
  if (settled.is === 'stuck') return { is: 'not-done', why: settled.why }
  if (settled.is === 'unproven') return { is: 'unknown', why: settled.why }
  if (leadsBack(site, view.service, args)) return { is: 'done', why: settled.why }
  return { is: 'not-done', why: "its tasks are the release's; its settings for updates are not yet" }
}

function otherwise({ service }: View): string {
  const { State: state, Message: message } = service.UpdateStatus ?? {}
  const said = state === undefined ? '' : ` (Swarm says ${state}${message === undefined ? '' : `: ${message}`})`
  return `it has another specification, with ${service.Spec.TaskTemplate.ContainerSpec.Image}${said}`
}

function stopVerdict(view: View | null): Verdict {
  if (view === null) return { is: 'done', why: 'there is no such service' }
  const { Spec: spec } = view.service
  const told =
    spec.Mode.Replicated?.Replicas === 0 || spec.TaskTemplate.Placement?.Constraints?.includes(NOWHERE) === true
  if (!told) return { is: 'not-done', why: 'it is not told to stop' }
  const silent = view.tasks.filter(t => t.silent && alive(t.task))
  const left = view.tasks.filter(t => alive(t.task) && !t.silent)
  if (left.length > 0) return { is: 'running', why: `${left.length} of its tasks still run` }
  if (silent.length > 0) return { is: 'unknown', why: `${silent.length} of its tasks are on nodes that do not answer` }
  return { is: 'done', why: 'none of its tasks is left' }
}
