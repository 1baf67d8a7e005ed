import type { Verdict } from '../../core/contract.ts'
import { alive, type TaskView, type View } from './look.ts'
import { MOVING, PAUSED } from './settled.ts'
import { type Site, stands } from './site.ts'
import { HALTED } from './spec.ts'
import type { Service, Spec, Task } from './types.ts'

/**
 * The Engine API has no way to pause an update, but Swarm pauses one by itself whose new task fails. So it is given one that
 * cannot be started, before any other is stopped: no image has this program.
 */
const NO_PROGRAM = '/update-stopped-by-backout'
const DAY_NS = 86_400e9

/** The specification of a service, changed so that its update goes no further. */
export function haltedSpec(spec: Spec): Spec {
  const { ContainerSpec, ...template } = spec.TaskTemplate
  const { Args: _, ...container } = ContainerSpec
  return {
    ...spec,
    Labels: { ...spec.Labels, [HALTED]: 'yes' },
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

/** Its update was stopped by Backout, and nobody has written to it since. */
export function isHalted(site: Site, service: Service): boolean {
  return service.Spec.Labels?.[HALTED] !== undefined && stands(site, service)
}

/** An update that goes on, and that was not stopped. */
export function goesOn(site: Site, { service }: View): boolean {
  return MOVING.has(service.UpdateStatus?.State ?? '') && !isHalted(site, service)
}

export function haltVerdict(site: Site, view: View | null): Verdict {
  if (view === null) return { is: 'done', why: 'there is no such service' }
  if (goesOn(site, view)) return { is: 'not-done', why: 'its update goes on' }
  if (!isHalted(site, view.service)) return { is: 'done', why: 'its update has ended' }
  const changing = view.tasks.filter(({ task }) => alive(task) && !isStopper(task) && isChanging(task))
  if (changing.some(t => t.silent))
    return { is: 'unknown', why: 'tasks on nodes that do not answer were being changed' }
  if (changing.length > 0) return { is: 'running', why: `${changing.length} of its tasks still start or stop` }
  const paused = PAUSED.has(view.service.UpdateStatus?.State ?? '') || view.tasks.some(({ task }) => waits(task))
  if (!paused) return { is: 'running', why: 'Swarm has not paused its update yet' }
  return { is: 'done', why: `its update is stopped where it was: ${shares(view.tasks)}` }
}

/** A task that was made to stop an update, and never ran. */
export function isStopper({ Spec: { ContainerSpec: container } }: Task): boolean {
  return (container['Command'] as readonly string[] | undefined)?.[0] === NO_PROGRAM
}

/** The task that cannot be started finds no node to fail on: nothing is replaced before it, for as long as it waits. */
function waits(task: Task): boolean {
  return isStopper(task) && task.Status.State === 'pending' && (task.Status.Err ?? '') !== ''
}

function isChanging({ Status: { State: state }, DesiredState: wanted }: Task): boolean {
  return state !== 'running' || wanted !== 'running'
}

/** "2 tasks run shop:v1, 1 shop:v2". */
function shares(tasks: readonly TaskView[]): string {
  const counts = new Map<string, number>()
  for (const { task } of tasks.filter(t => t.task.Status.State === 'running')) {
    const [ref = ''] = task.Spec.ContainerSpec.Image.split('@')
    counts.set(ref, (counts.get(ref) ?? 0) + 1)
  }
  return [...counts].map(([ref, n]) => `${n} of ${ref}`).join(', ') || 'no task runs'
}
