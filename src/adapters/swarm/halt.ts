import type { StepAct, Verdict } from '../../core/contract.ts'
import { quote } from '../../exec/ssh-script.ts'
import { alive, type TaskView, type View } from './look.ts'
import { SWARMS_OWN } from './pace.ts'
import { MOVING, PAUSED } from './settled.ts'
import { type Site, stands } from './site.ts'
import { HALTED, LIFT } from './spec.ts'
import type { ContainerSpec, Pace, Service, Spec, Task } from './types.ts'

/**
 * The Engine API has no way to pause an update, but Swarm pauses one by itself whose new task fails. So it is given one that
 * cannot be started, before any other is stopped: no image has this program.
 */
const NO_PROGRAM = '/update-stopped-by-backout'
const DAY_NS = 86_400e9
const SWARMS_DELAY_NS = 5e9

/**
 * The specification of a service, changed so that its update goes no further. What that changes is written beside it: Swarm's
 * own previous specification has it only until the next update.
 */
export function haltedSpec(spec: Spec): Spec {
  const { ContainerSpec, ...template } = spec.TaskTemplate
  const { Args: _, ...container } = ContainerSpec
  const before = beforeOf(spec)
  return {
    ...spec,
    Labels: { ...spec.Labels, [HALTED]: JSON.stringify(before), [LIFT]: liftText(spec.Name, before) },
    TaskTemplate: {
      ...template,
      // An init would be started, and count as a task that runs.
      ContainerSpec: { ...container, Command: [NO_PROGRAM], Init: false },
      // As the engine gives it back: what stands there is told by comparing.
      RestartPolicy: { Condition: 'any', Delay: DAY_NS, MaxAttempts: 0 },
    },
    UpdateConfig: { ...spec.UpdateConfig, ...PAUSING },
  }
}

const PAUSING = { Parallelism: 1, Order: 'start-first', FailureAction: 'pause', MaxFailureRatio: 0, Monitor: 5e9 }

/** What a halt replaces, as the service had it. */
interface Before {
  readonly Command?: readonly string[]
  readonly Args?: readonly string[]
  readonly Init?: boolean
  readonly RestartPolicy?: { Condition?: string; Delay?: number; MaxAttempts?: number; Window?: number }
  readonly UpdateConfig?: Pace
}

function beforeOf(spec: Spec): Before {
  if (cannotStart(spec.TaskTemplate.ContainerSpec)) return noted(spec)
  const { ContainerSpec: container, RestartPolicy } = spec.TaskTemplate
  const { Command, Args, Init } = container as Before
  return { Command, Args, Init, RestartPolicy, UpdateConfig: spec.UpdateConfig } as Before
}

/** What was written down when it was stopped; nothing where that is gone, or was an older Backout's. */
function noted({ Labels: labels }: Spec): Before {
  try {
    const before: unknown = JSON.parse(labels?.[HALTED] ?? '')
    return typeof before === 'object' && before !== null ? before : {}
  } catch {
    return {}
  }
}

/** Its specification still has what stopped its update, whoever wrote to it since: no task that it makes can start. */
export function isHeld({ TaskTemplate: template }: Spec): boolean {
  return cannotStart(template.ContainerSpec)
}

/** What it was before its update was stopped, with all that others wrote since. */
export function unhalted(spec: Spec): Spec {
  if (!isHeld(spec)) return spec
  const { ContainerSpec, RestartPolicy: _, ...template } = spec.TaskTemplate
  const { Command: __, Args: ___, Init: ____, ...container } = ContainerSpec
  const { UpdateConfig: _____, ...rest } = spec
  const { RestartPolicy, UpdateConfig, ...own } = noted(spec)
  return {
    ...rest,
    TaskTemplate: {
      ...template,
      ContainerSpec: { ...container, ...own } as ContainerSpec,
      ...(RestartPolicy === undefined ? {} : { RestartPolicy }),
    },
    ...(UpdateConfig === undefined ? {} : { UpdateConfig }),
  }
}

/** What a person types: arguments may be secret, so that the command itself is on the service alone. */
export function lifting(service: string): string {
  return `docker service inspect --format '{{index .Spec.Labels "${LIFT}"}}' ${service} | sh`
}

/** Swarm's own rollback would do right after the halt, but bring it back again once somebody has written to the service. */
function liftText(
  service: string,
  { Command, Args, Init, RestartPolicy: again = {}, UpdateConfig: pace = SWARMS_OWN }: Before,
): string {
  const words = (list: readonly string[] = []) => list.map(quote).join(' ')
  const options = {
    entrypoint: words(Command),
    args: words(Args),
    ...(Init === undefined ? {} : { init: Init }),
    'restart-condition': again.Condition ?? 'any',
    'restart-delay': `${again.Delay ?? SWARMS_DELAY_NS}ns`,
    'restart-max-attempts': again.MaxAttempts ?? 0,
    ...(again.Window === undefined ? {} : { 'restart-window': `${again.Window}ns` }),
    'update-parallelism': pace.Parallelism ?? 0,
    'update-delay': `${pace.Delay ?? 0}ns`,
    'update-failure-action': pace.FailureAction ?? 'pause',
    'update-monitor': `${pace.Monitor ?? 0}ns`,
    'update-max-failure-ratio': pace.MaxFailureRatio ?? 0,
    'update-order': pace.Order ?? 'stop-first',
  }
  const given = Object.entries(options).map(([name, value]) => `--${name}=${quote(String(value))}`)
  return `docker service update ${given.join(' ')} --label-rm ${HALTED} --label-rm ${LIFT} ${service}`
}

/** Its update was stopped by Backout, and nobody has changed anything but its image since. */
export function isHalted(site: Site, service: Service): boolean {
  return service.Spec.Labels?.[HALTED] !== undefined && stands(site, service)
}

/** An update that goes on, and that was not stopped. */
export function goesOn(site: Site, { service }: View): boolean {
  return MOVING.has(service.UpdateStatus?.State ?? '') && !isHalted(site, service)
}

/** A step that had nothing to do says so: asked later, what is not there was lifted. */
export const NOTHING_THERE = { nothing: true }

export function foundNothing({ handle }: Pick<StepAct, 'handle'>): boolean {
  return (handle as { nothing?: boolean } | null)?.nothing === true
}

export function haltVerdict(site: Site, view: View | null, act: Pick<StepAct, 'handle'>): Verdict {
  const is = foundNothing(act) ? 'done' : 'not-done'
  if (view === null) return { is, why: 'there is no such service' }
  if (goesOn(site, view)) return { is: 'not-done', why: 'its update goes on' }
  if (!isHeld(view.service.Spec)) return { is, why: is === 'done' ? 'its update has ended' : 'it is not stopped' }
  const changing = view.tasks.filter(({ task }) => alive(task) && !isStopper(task) && isChanging(task))
  if (changing.some(t => t.silent))
    return { is: 'unknown', why: 'tasks on nodes that do not answer were being changed' }
  if (changing.length > 0) return { is: 'running', why: `${changing.length} of its tasks still start or stop` }
  const paused = PAUSED.has(view.service.UpdateStatus?.State ?? '') || view.tasks.some(({ task }) => waits(task))
  if (!paused) return { is: 'running', why: 'Swarm has not paused its update yet' }
  return { is: 'done', why: `the update of ${view.service.Spec.Name} is stopped where it was: ${shares(view.tasks)}` }
}

/** A task that was made to stop an update, and never ran. */
export function isStopper({ Spec: { ContainerSpec: container } }: Task): boolean {
  return cannotStart(container)
}

function cannotStart(container: ContainerSpec): boolean {
  return (container as Before).Command?.[0] === NO_PROGRAM
}

/** The task that cannot be started finds no node to fail on: nothing is replaced before it, for as long as it waits. */
function waits(task: Task): boolean {
  return isStopper(task) && task.Status.State === 'pending' && (task.Status.Err ?? '') !== ''
}

function isChanging({ Status: { State: state }, DesiredState: wanted }: Task): boolean {
  return state !== 'running' || wanted !== 'running'
}

/** "2 tasks run shop:v1, 1 shop:v2". */
export function shares(tasks: readonly TaskView[]): string {
  const counts = new Map<string, number>()
  for (const { task } of tasks.filter(t => t.task.Status.State === 'running')) {
    const [ref = ''] = task.Spec.ContainerSpec.Image.split('@')
    counts.set(ref, (counts.get(ref) ?? 0) + 1)
  }
  return [...counts].map(([ref, n]) => `${n} of ${ref}`).join(', ') || 'no task runs'
}
