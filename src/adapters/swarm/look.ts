import { BackoutError } from '../../core/errors.ts'
import { given, orNull } from './engine.ts'
import type { Image } from './pin.ts'
import type { Site } from './site.ts'
import { digestIn } from './spec.ts'
import type { Info, LocalImage, Node, Service, Task } from './types.ts'

const STACK = 'com.docker.stack.namespace'

/** One service as it is right now. */
export interface View {
  readonly service: Service
  /** The image of its specification. */
  readonly image: Image
  readonly tasks: readonly TaskView[]
}

export interface TaskView {
  readonly task: Task
  /** Id of the image that its container was made from; null where it is on another node, or has none. */
  readonly runs: string | null
  /** Its node does not answer: nobody can say what runs there. */
  readonly silent: boolean
}

/** A swarm as one of its managers tells it. */
export interface Swarm {
  readonly info: Info
  readonly cluster: string
  readonly nodes: readonly Node[]
}

/** Throws `not_a_manager`, `swarm_no_quorum`, `engine_unreachable`. */
export async function lookAtSwarm({ engine }: Site, signal: AbortSignal): Promise<Swarm> {
  const info = await engine.ask<Info>('what it is', (docker, o) => docker.info(o), signal)
  const { Swarm: swarm } = info
  if (!swarm.ControlAvailable || swarm.LocalNodeState !== 'active') {
    throw new BackoutError({
      code: 'not_a_manager',
      what: `The Docker Engine at ${engine.name} is no manager of a swarm (its state is ${swarm.LocalNodeState})`,
      cause: swarm.Error || undefined,
      next: 'name a manager in `engine` (`docker node ls` on it lists the nodes)',
      exit: 'blocked',
    })
  }
  const nodes = await engine.ask<Node[]>('its nodes', (docker, o) => docker.listNodes(o), signal)
  return { info, cluster: swarm.Cluster?.ID ?? '', nodes }
}

/** The services of the component, by name; what is not there is left out. */
export async function lookAtServices(site: Site, swarm: Swarm, signal: AbortSignal): Promise<Map<string, View>> {
  const services = await listed(site, signal)
  const tasks = await tasksOf(site, services, signal)
  const views = await Promise.all(services.map(service => view(site, swarm, service, tasks, signal)))
  return new Map(views.map(v => [v.service.Spec.Name, v]))
}

/** One service afresh; null where there is none of that name. */
export async function lookAt(site: Site, swarm: Swarm, name: string, signal: AbortSignal): Promise<View | null> {
  const service = await inspect(site, name, signal)
  if (service === null) return null
  return view(site, swarm, service, await tasksOf(site, [service], signal), signal)
}

/** The engine also takes the beginning of an id for a name: what is called otherwise is another service. */
export async function inspect({ engine }: Site, name: string, signal: AbortSignal): Promise<Service | null> {
  const asked = engine.ask<Service>(`the service ${name}`, (docker, o) => docker.getService(name).inspect(o), signal)
  const found = await orNull(asked)
  return found?.Spec.Name === name ? found : null
}

async function listed({ engine, config }: Site, signal: AbortSignal): Promise<Service[]> {
  const { stack, services: names, except } = config
  const filters = stack === undefined ? { name: names ?? [] } : { label: [`${STACK}=${stack}`] }
  const asked = engine.ask<Service[]>('its services', (docker, o) => docker.listServices(given({ filters }, o)), signal)
  const found = await asked
  const wanted = found.filter(({ Spec: { Name } }) => (names?.includes(Name) ?? true) && !except.includes(Name))
  return wanted.sort((a, b) => (a.Spec.Name < b.Spec.Name ? -1 : 1))
}

async function tasksOf({ engine }: Site, services: readonly Service[], signal: AbortSignal): Promise<Task[]> {
  if (services.length === 0) return []
  const filters = { service: services.map(s => s.ID) }
  return engine.ask<Task[]>('the tasks', (docker, o) => docker.listTasks(given({ filters }, o)), signal)
}

/** What still runs of a service by its id, be it removed by now; `silent` on nodes that do not answer. */
export async function leftBy(
  { engine }: Site,
  { nodes }: Swarm,
  id: string,
  signal: AbortSignal,
): Promise<{ running: number; silent: number }> {
  // The engine filters by services that are there only.
  const tasks = await engine.ask<Task[]>('the tasks', (docker, o) => docker.listTasks(o), signal)
  const filters = { label: [`com.docker.swarm.service.id=${id}`] }
  const asked = engine.ask<unknown[]>(
    'its containers',
    (docker, o) => docker.listContainers(given({ filters }, o)),
    signal,
  )
  const down = downOf(nodes)
  const left = tasks.filter(task => task.ServiceID === id && alive(task))
  const silent = left.filter(task => down.has(task.NodeID ?? '')).length
  return { running: Math.max(left.length - silent, (await asked).length), silent }
}

function downOf(nodes: readonly Node[]): Set<string> {
  return new Set(nodes.filter(n => n.Status.State === 'down').map(n => n.ID))
}

async function view(
  site: Site,
  swarm: Swarm,
  service: Service,
  all: readonly Task[],
  signal: AbortSignal,
): Promise<View> {
  const down = downOf(swarm.nodes)
  const tasks = await Promise.all(
    all
      .filter(task => task.ServiceID === service.ID)
      .map(async task => ({
        task,
        runs: alive(task) ? await runs(site, swarm, task, signal) : null,
        silent: down.has(task.NodeID ?? ''),
      })),
  )
  return { service, tasks, image: await imageOf(site, service, tasks, signal) }
}

const ENDED = new Set(['complete', 'shutdown', 'failed', 'rejected', 'remove', 'orphaned'])

/** Before a node is told of it. */
const UNPLACED = new Set(['new', 'allocated', 'pending'])

/** One that found no node, and is not wanted any more, never comes to one; Swarm may leave it lying. */
export function alive({ Status: { State: state }, DesiredState: wanted }: Task): boolean {
  return !ENDED.has(state) && !(UNPLACED.has(state) && (wanted === 'shutdown' || wanted === 'remove'))
}

async function runs({ engine }: Site, swarm: Swarm, task: Task, signal: AbortSignal): Promise<string | null> {
  const id = task.Status.ContainerStatus?.ContainerID
  if (id === undefined || id === '' || task.NodeID !== swarm.info.Swarm.NodeID) return null
  const asked = engine.ask<{ Image: string }>(
    `the container ${id}`,
    (docker, o) => docker.getContainer(id).inspect(o),
    signal,
  )
  return (await orNull(asked))?.Image ?? null
}

async function imageOf(
  site: Site,
  { Spec: spec }: Service,
  tasks: readonly TaskView[],
  signal: AbortSignal,
): Promise<Image> {
  const ref = spec.TaskTemplate.ContainerSpec.Image
  const digest = digestIn(ref)
  if (ref.startsWith('sha256:')) return { ref, digest: null, id: ref }
  const seen = new Set(tasks.filter(({ task }) => task.Spec.ContainerSpec.Image === ref).flatMap(t => t.runs ?? []))
  if (seen.size === 1) return { ref, digest, id: [...seen][0] ?? null }
  // What a name means today need not be what it meant when the tasks were started: where they differ, nobody knows.
  const local = seen.size === 0 ? await localImage(site, ref, signal) : null
  return { ref, digest, id: local?.Id ?? null }
}

/** An image by name, digest or id, on the engine that is asked; null where it does not have it. */
export function localImage({ engine }: Site, ref: string, signal: AbortSignal): Promise<LocalImage | null> {
  return orNull(engine.ask<LocalImage>(`the image ${ref}`, (docker, o) => docker.getImage(ref).inspect(o), signal))
}
