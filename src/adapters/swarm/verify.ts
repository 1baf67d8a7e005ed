import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { asPlanned, configVerdict } from './configs.ts'
import { foundNothing, haltVerdict } from './halt.ts'
import { leftBy, lookAt, lookAtSwarm, type Swarm, type View } from './look.ts'
import { settledOf } from './settled.ts'
import type { Site } from './site.ts'
import { STEP } from './spec.ts'
import { argsOf, type BringArgs, type StopArgs } from './steps.ts'
import { isStopped } from './stopped.ts'
import type { Service, Spec } from './types.ts'

/** Whether the service has the specification of the step, be it with Backout's own settings for the time of the update. */
export function atWork(site: Site, { Spec: spec }: Service, args: BringArgs, { idem }: Pick<StepAct, 'idem'>): boolean {
  if (args.anew && spec.Labels?.[STEP] !== idem) return false
  if (args.force !== null && (spec.TaskTemplate.ForceUpdate ?? 0) < args.force) return false
  return isGoal(site, spec, args)
}

function isGoal(site: Site, spec: Spec, args: BringArgs): boolean {
  if (spec.TaskTemplate.ContainerSpec.Image !== args.goal.image.ref) return false
  const shape = site.shape(asPlanned(spec, args.goal.renamed.made))
  return shape === args.goal.shape || shape === args.goal.careful
}

/** Whether it is wholly the release's, and Swarm's own rollback of it would be harmless. */
export function leadsBack(site: Site, service: Service, args: BringArgs): boolean {
  const { shape, renamed } = args.goal
  if (site.shape(asPlanned(service.Spec, renamed.made)) !== shape) return false
  return service.PreviousSpec === undefined || isGoal(site, service.PreviousSpec, args)
}

/** Asks Swarm what became of a step. */
export async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  const swarm = await lookAtSwarm(site, act.signal)
  if (args.do === 'stop') return stopVerdict(site, swarm, args, act)
  if (args.do === 'config') return configVerdict(site, args, act)
  const view = await lookAt(site, swarm, args.service, act.signal)
  if (args.do === 'halt') return haltVerdict(site, view, act)
  if (view === null) return { is: 'not-done', why: 'there is no such service' }
  if (!atWork(site, view.service, args, act)) return { is: 'not-done', why: otherwise(view) }
  const old = args.do === 'recreate' ? removedBy(args, act) : null
  const left = old === null || old === view.service.ID ? null : await leftVerdict(site, swarm, old, act.signal)
  if (left !== null) return left
  const settled = settledOf(view, swarm, args.goal.image, site.config.limits)
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

export async function stopVerdict(
  site: Site,
  swarm: Swarm,
  { service: name, expect }: StopArgs,
  act: Pick<StepAct, 'signal' | 'handle'>,
): Promise<Verdict> {
  const { signal } = act
  const view = await lookAt(site, swarm, name, signal)
  if (view !== null && !isStopped(view.service.Spec)) return { is: 'not-done', why: 'it is not told to stop' }
  const id = view?.service.ID ?? expect?.id ?? null
  const left = id === null ? null : await leftVerdict(site, swarm, id, signal)
  if (left !== null) return left
  if (view !== null) return { is: 'done', why: 'none of its tasks is left' }
  // Asked after its run, one that was removed since holds nobody up any more.
  return { is: foundNothing(act) ? 'done' : 'not-done', why: 'there is no such service' }
}

/** The id of the service that a step removes, by what it kept, or by what the plan found; null: there was none. */
export function removedBy({ expect }: BringArgs, { handle }: Pick<StepAct, 'handle'>): string | null {
  return (handle as { service?: string } | null)?.service ?? expect?.id ?? null
}

/** null: nothing of it is left. */
async function leftVerdict(site: Site, swarm: Swarm, id: string, signal: AbortSignal): Promise<Verdict | null> {
  const { running, silent } = await leftBy(site, swarm, id, signal)
  if (running > 0) return { is: 'running', why: `${running} of its tasks still run` }
  return silent > 0 ? { is: 'unknown', why: `${silent} of its tasks are on nodes that do not answer` } : null
}
