import { redact } from '../../core/secret.ts'
import { alive, type Swarm, type TaskView, type View } from './look.ts'
import { waitsOf } from './pace.ts'
import type { Image } from './pin.ts'
import { digestIn, replicasOf, shortName } from './spec.ts'
import type { Spec, Task } from './types.ts'

/** Whether a service does what its specification says: told by its tasks, not by its own word. */
export type Settled =
  | { readonly is: 'settled'; readonly why: string }
  | { readonly is: 'moving'; readonly why: string }
  /** It does not get there, and Swarm has given up, or has had its time. */
  | { readonly is: 'stuck'; readonly why: string }
  /** It looks well, but what runs somewhere cannot be proven. */
  | { readonly is: 'unproven'; readonly why: string }

export const MOVING: ReadonlySet<string> = new Set(['updating', 'rollback_started'])
export const PAUSED: ReadonlySet<string> = new Set(['paused', 'rollback_paused'])

/** In milliseconds: how long it may take altogether, and how long each task must have run. */
interface Limits {
  readonly update: number
  readonly settle: number
}

/** How often a task may end by itself in one place before nothing more is expected of the next one. */
const DEATHS = 3

/** `image` is what its tasks are to run; `from`, by the manager's clock: no time before it counts. */
export function settledOf(view: View, swarm: Swarm, image: Image, { update, settle }: Limits, from = ''): Settled {
  const { service } = view
  const state = service.UpdateStatus?.State ?? ''
  const wrong = wrongOf(view, swarm, image) ?? youngOf(view, swarm, settle)
  if (PAUSED.has(state)) {
    const message = service.UpdateStatus?.Message ?? ''
    return {
      is: 'stuck',
      why: `Swarm paused the update${message === '' ? '' : `: ${redact(message)}`}${errorsOf(view)}`,
    }
  }
  // An update waits for what was on a node that went; nothing more comes of waiting with it.
  const lost = silentOf(view, image).length > 0
  if (wrong === null && (lost || !MOVING.has(state))) return proven(view, image)
  const dying = dyingOf(view)
  if (dying !== null) return { is: 'stuck', why: `${dying}${errorsOf(view)}` }
  const since = Math.max(Date.parse(service.UpdateStatus?.StartedAt ?? service.UpdatedAt), Date.parse(from) || 0)
  // Both times are the manager's: the clock of this machine says nothing here.
  const spent = Date.parse(swarm.info.SystemTime) - since
  const why = `${wrong ?? `Swarm says ${state}`}${errorsOf(view)}`
  const waits = MOVING.has(state) ? waitsOf(service.Spec, state === 'updating' ? 'update' : 'rollback', swarm) : 0
  return spent > update + settle + waits
    ? { is: 'stuck', why: `after ${Math.round(spent / 1000)} s: ${why}` }
    : { is: 'moving', why }
}

/** What keeps the tasks from being as they should; null: nothing. */
function wrongOf({ service, tasks }: View, swarm: Swarm, image: Image): string | null {
  const living = tasks.filter(({ task }) => alive(task))
  const wanted = living.filter(({ task }) => task.DesiredState === 'running')
  const well = wanted.filter(one => isWell(one, service.Spec, image))
  const replicas = replicasOf(service.Spec) ?? Math.max(wanted.length, eligible(service.Spec, swarm))
  if (well.length < replicas) return `${well.length} of ${replicas} tasks run ${shortName(image)}`
  // What is on a node that does not answer nobody can wait for.
  const old = living.filter(t => !well.includes(t) && !t.silent)
  if (old.length === 0) return null
  return `${old.length} old task${old.length > 1 ? 's are' : ' is'} still there (${old.map(({ task }) => task.Status.State).join(', ')})`
}

function isWell({ task, runs }: TaskView, spec: Spec, image: Image): boolean {
  return task.Status.State === 'running' && isOf(spec, task) && fits(task, runs, image) !== 'no'
}

/** How many tasks run what they are to run, and have for a while: one that dies after each start runs in between. */
export function countWell({ service, tasks }: View, { info }: Swarm, image: Image, settle: number): number {
  const wanted = tasks.filter(({ task }) => alive(task) && task.DesiredState === 'running')
  const well = wanted.filter(one => isWell(one, service.Spec, image))
  return well.filter(one => one.silent || ageOf(one, info) >= settle).length
}

function ageOf({ task }: TaskView, info: Swarm['info']): number {
  return Date.parse(info.SystemTime) - Date.parse(task.UpdatedAt)
}

/** A task counts once it has run for a while: one that dies two seconds after its start was running too. By the manager's clock alone. */
function youngOf({ tasks }: View, { info }: Swarm, settle: number): string | null {
  const ages = tasks
    .filter(({ task, silent }) => task.Status.State === 'running' && !silent)
    .map(one => ageOf(one, info))
  const least = Math.min(...ages)
  return least < settle ? `its newest task has run for ${Math.max(0, Math.round(least / 1000))} s` : null
}

/** Tasks that end again and again since the specification was written; null: there are none. Swarm itself looks at that in updates only. */
function dyingOf(view: View): string | null {
  const most = Math.max(0, ...[...deathsOf(view).values()].map(deaths => deaths.length))
  return most < DEATHS ? null : `${most} tasks in one place ended by themselves since it was written`
}

/** Tasks that ended by themselves since the specification was written, by their place. */
function deathsOf({ service, tasks }: View): Map<string, Task[]> {
  const since = Date.parse(service.UpdatedAt)
  const deaths = new Map<string, Task[]>()
  for (const { task } of tasks) {
    const died = task.Status.State === 'failed' || task.Status.State === 'complete'
    if (!died || !isOf(service.Spec, task) || Date.parse(task.CreatedAt) < since) continue
    deaths.set(placeOf(task), [...(deaths.get(placeOf(task)) ?? []), task])
  }
  return deaths
}

function placeOf(task: Task): string {
  return String(task.Slot ?? task.NodeID)
}

/** A task has outlived those before it once it is so many times as old as the oldest of them became. */
const OUTLIVES = 2

/**
 * Why tasks that run now are not believed: those before them in the same place ended by themselves more than once, and these are
 * no older than those became, nor than `within` milliseconds. null: nothing speaks against them.
 */
export function deathsBefore(view: View, { info }: Swarm, within: number): string | null {
  const deaths = deathsOf(view)
  for (const { task } of view.tasks.filter(({ task }) => task.Status.State === 'running')) {
    const before = deaths.get(placeOf(task)) ?? []
    if (before.length < 2) continue
    const lived = Math.max(...before.map(dead => Date.parse(dead.Status.Timestamp ?? '') - Date.parse(dead.CreatedAt)))
    const age = Date.parse(info.SystemTime) - Date.parse(task.CreatedAt)
    // Where a time cannot be read, nothing is older than it.
    if (age >= OUTLIVES * lived || age >= within) continue
    return `${before.length} tasks in one place ended by themselves since it was written, the last one ${endedOf(before)}${errorsOf(view)}`
  }
  return null
}

function endedOf(dead: readonly Task[]): string {
  const times = dead.flatMap(({ Status: { Timestamp } }) => Timestamp ?? []).toSorted()
  return `at ${times.at(-1)?.replace(/\.\d+/, '') ?? 'a time that nobody can tell'}`
}

/** How many nodes a service with one task on each has at least; where constraints choose them, Swarm's own choice counts. */
function eligible({ TaskTemplate: template }: Spec, swarm: Swarm): number {
  if ((template.Placement?.Constraints ?? []).length > 0) return 1
  return swarm.nodes.filter(n => n.Status.State === 'ready' && n.Spec.Availability === 'active').length
}

/** Made from this specification. */
export function isOf(spec: Spec, task: Task): boolean {
  const { ContainerSpec: container, ForceUpdate: force } = spec.TaskTemplate
  return task.Spec.ContainerSpec.Image === container.Image && (task.Spec.ForceUpdate ?? 0) === (force ?? 0)
}

/** Whether a task runs an image: by its container where that can be seen, else by a reference that can only mean one. */
export function fits(task: Task, runs: string | null, image: Image): 'yes' | 'no' | 'unknown' {
  if (runs !== null && image.id !== null) return runs === image.id ? 'yes' : 'no'
  const ref = task.Spec.ContainerSpec.Image
  const digest = digestIn(ref)
  if (digest !== null && image.digest !== null) return digest === image.digest ? 'yes' : 'no'
  if (ref.startsWith('sha256:') && image.id !== null) return ref === image.id ? 'yes' : 'no'
  return 'unknown'
}

/** Tasks that may run another image, where nobody can ask them. */
function silentOf({ tasks }: View, image: Image): TaskView[] {
  return tasks.filter(t => t.silent && t.task.Status.State === 'running' && fits(t.task, null, image) !== 'yes')
}

function proven(view: View, image: Image): Settled {
  const living = view.tasks.filter(({ task }) => alive(task))
  const silent = silentOf(view, image)
  if (silent.length > 0) {
    const why = `${silent.length} task${silent.length > 1 ? 's' : ''} on nodes that do not answer`
    return { is: 'unproven', why }
  }
  const unknown = living.filter(({ task, runs }) => fits(task, runs, image) === 'unknown')
  if (unknown.length > 0) {
    const why = `${image.ref} has no digest, and ${unknown.length} task${unknown.length > 1 ? 's run' : ' runs'} it on other nodes: what it means there nobody can say`
    return { is: 'unproven', why }
  }
  return { is: 'settled', why: `${living.length} task${living.length === 1 ? '' : 's'} run ${shortName(image)}` }
}

/** What Swarm says of the newest tasks that did not get to run. */
function errorsOf({ service, tasks }: View): string {
  const failed = tasks
    .filter(({ task }) => isOf(service.Spec, task) && task.Status.State !== 'running' && (task.Status.Err ?? '') !== '')
    .sort((a, b) => (a.task.CreatedAt < b.task.CreatedAt ? 1 : -1))
  const said = [...new Set(failed.slice(0, 5).map(({ task }) => task.Status.Err ?? ''))]
  return said.length === 0 ? '' : `; its tasks say: ${redact(said.slice(0, 2).join('; '))}`
}

/** How many tasks run, for people. */
export function countOf(tasks: readonly TaskView[]): number {
  return tasks.filter(({ task }) => task.Status.State === 'running' && task.DesiredState === 'running').length
}
