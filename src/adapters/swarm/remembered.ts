import type { Remembered } from '../../core/contract.ts'
import { isStopper } from './halt.ts'
import { localImage, lookAtServices, lookAtSwarm, type View } from './look.ts'
import { identity, pinOf, releasedSpec } from './observe.ts'
import type { SwarmPin } from './pin.ts'
import type { Site } from './site.ts'
import { digestIn, isJob, tagOf } from './spec.ts'
import type { Spec, Task } from './types.ts'

/** A task that came to run, whatever became of it since. */
const RAN = new Set(['running', 'shutdown', 'complete'])
const NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/

/**
 * Releases that Swarm still knows of, by the tag of their images: from the tasks that it keeps (five a slot, if nobody said
 * otherwise) and the previous specification. All services that changed must have run the tag; the others stay as they are.
 */
export async function remembered(site: Site, signal: AbortSignal): Promise<Remembered<SwarmPin>[]> {
  const swarm = await lookAtSwarm(site, signal)
  const views = [...(await lookAtServices(site, swarm, signal)).values()].filter(v => !isJob(v.service.Spec))
  const histories = views.map(view => ({ view, specs: historyOf(view) }))
  const changing = histories.filter(({ view, specs }) => [...specs.keys()].some(tag => tag !== tagOf(refOf(view))))
  const now = new Set(changing.map(({ view }) => tagOf(refOf(view))))
  const [first] = changing
  const tags = [...(first?.specs.keys() ?? [])].filter(
    tag => NAME.test(tag) && !now.has(tag) && changing.every(({ specs }) => specs.has(tag)),
  )
  return Promise.all(
    tags.map(async release => {
      const services = await Promise.all(
        histories.map(({ view, specs }) => pinned(site, specs.get(release) ?? view.service.Spec, signal)),
      )
      return { release, at: null, pin: { identity: identity(site, swarm), services } }
    }),
  )
}

/** What a service was, by the tag of its image, newest first. */
function historyOf({ service, tasks }: View): Map<string, Spec> {
  const ran = tasks.map(t => t.task).filter(task => RAN.has(task.Status.State) && !isStopper(task))
  const out = new Map<string, Spec>()
  for (const task of ran.toSorted((a, b) => (a.CreatedAt < b.CreatedAt ? 1 : -1))) {
    const tag = tagOf(task.Spec.ContainerSpec.Image)
    if (!out.has(tag)) out.set(tag, specOf(task, service))
  }
  return out
}

/** The whole of the previous specification where that was the task's; else only what a task is made from. */
function specOf(task: Task, { Spec: spec, PreviousSpec: previous }: View['service']): Spec {
  const same = previous?.TaskTemplate.ContainerSpec.Image === task.Spec.ContainerSpec.Image
  if (same && previous !== undefined) return previous
  // A task does not say how it is run, which is the same for all of a service.
  const { Runtime } = spec.TaskTemplate
  return { ...spec, TaskTemplate: { ...task.Spec, ...(Runtime === undefined ? {} : { Runtime }) } }
}

async function pinned(site: Site, spec: Spec, signal: AbortSignal) {
  const ref = spec.TaskTemplate.ContainerSpec.Image
  const local = ref.startsWith('sha256:') ? { Id: ref } : await localImage(site, ref, signal)
  return pinOf(
    site,
    releasedSpec({ Spec: spec }),
    { ref, digest: digestIn(ref), id: local?.Id ?? null },
    { signal, vault: site.vault },
  )
}

function refOf({ service }: View): string {
  return service.Spec.TaskTemplate.ContainerSpec.Image
}
