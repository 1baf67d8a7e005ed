import type { Verdict } from '../../core/contract.ts'
import { alive, type TaskView, type View } from './look.ts'
import { MOVING } from './settled.ts'
import { type Site, stands } from './site.ts'
import { HALTED } from './spec.ts'
import type { Service, Spec, Task } from './types.ts'

/**
 * More than any node has. The Engine API has no way to pause an update. A specification whose tasks find no node, with new
 * tasks first, does it: the one task that Swarm makes of it waits for ever, and no other is touched meanwhile.
 */
const NO_NODE_HAS = 1_000_000 * 1e9

interface Resources {
  readonly Reservations?: { readonly NanoCPUs?: number }
}

/** The specification of a service, changed so that its update goes no further. */
export function haltedSpec(spec: Spec): Spec {
  const { Resources: resources, ...template } = spec.TaskTemplate
  const { Reservations: reserved, ...others } = (resources ?? {}) as Resources
  return {
    ...spec,
    Labels: { ...spec.Labels, [HALTED]: 'yes' },
    TaskTemplate: { ...template, Resources: { ...others, Reservations: { ...reserved, NanoCPUs: NO_NODE_HAS } } },
    UpdateConfig: { ...spec.UpdateConfig, Parallelism: 1, Order: 'start-first', FailureAction: 'pause' },
  }
}

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
  const changing = view.tasks.filter(({ task }) => alive(task) && !waits(task) && isChanging(task))
  if (changing.some(t => t.silent))
    return { is: 'unknown', why: 'tasks on nodes that do not answer were being changed' }
  if (changing.length > 0) return { is: 'running', why: `${changing.length} of its tasks still start or stop` }
  return { is: 'done', why: `its update is stopped where it was: ${shares(view.tasks)}` }
}

/** The task that finds no node. */
function waits({ Spec: { Resources: resources } }: Task): boolean {
  return (resources as Resources | undefined)?.Reservations?.NanoCPUs === NO_NODE_HAS
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
