import type { Finding, Question } from '../../core/contract.ts'
import { messageOf } from '../../core/errors.ts'
import { statusOf } from './engine.ts'
import { isHalted } from './halt.ts'
import { localImage, lookAt, type Swarm, type View } from './look.ts'
import { careful } from './pace.ts'
import type { Image, PinnedService, SwarmPin } from './pin.ts'
import { renamedOf } from './references.ts'
import { countWell, deathsBefore, MOVING, PAUSED, settledOf } from './settled.ts'
import type { Site } from './site.ts'
import { goalOf, identityOf, keptVariables, pinsItself, replicasOf, shortName, variable } from './spec.ts'
import type { Goal } from './steps.ts'
import type { Spec } from './types.ts'

export type Say = (level: Finding['level'], code: string, what: string, remedy: string) => void

/** One service as a proposal sees it. */
export interface Way {
  readonly pinned: PinnedService
  /** null: it is gone. */
  readonly view: View | null
  readonly goal: Goal
  readonly spec: Spec
  /** Its specification or its image is another one. */
  readonly differs: boolean
  /** It is to run more tasks than the release did, and differs by that alone; as many as that run. */
  readonly more: boolean
  /** Its specification is right, and its tasks are not yet: on their way, or not getting there by themselves. */
  readonly ill: 'moving' | 'stuck' | null
  /** Why what runs as it should is not believed to go on; null: nothing speaks against it. */
  readonly doubt: string | null
}

/** Looks at the way back of one service: is all there that the pin names, and what would have to change. Reads only. */
export async function wayOf(
  site: Site,
  swarm: Swarm,
  pinned: PinnedService,
  { release, signal }: Question<SwarmPin>,
  say: Say,
): Promise<Way | null> {
  const then = await opened(site, pinned, release, say)
  if (then === null) return null
  const view = await lookAt(site, swarm, pinned.name, signal)
  const today = view?.service.Spec ?? null
  const image = await imageFor(site, swarm, pinned, release, say, signal)
  const renamed = await renamedOf(site, pinned, today, say, signal)
  if (image === null || renamed === null) return null
  const spec = goalOf(then, today, { ref: image.ref, renamed, keeping: site.config })
  const goal = { sealed: pinned.sealed, shape: site.shape(spec), careful: site.shape(careful(spec)), image, renamed }
  sayKept(pinned.name, then, spec, renamed.secrets, say)
  if (view === null) return { pinned, view, goal, spec, differs: true, more: false, ill: null, doubt: null }
  sayLowered(view.service.Spec, spec, release, say)
  const differs = site.shape(view.service.Spec) !== goal.shape || identityOf(view.image) !== identityOf(image)
  const asMany = countWell(view, swarm, image, site.config.limits.settle) >= (replicasOf(spec) ?? 0)
  const more = differs && asMany && isMore(site, view, { spec, shape: goal.shape, image })
  // However long Swarm has been at it: begun anew it would only take longer.
  const settled = settledOf(view, swarm, image, { update: Number.POSITIVE_INFINITY, settle: 0 })
  if (!differs && settled.is === 'unproven') {
    say('warning', 'unproven', `${pinned.name}: ${settled.why}`, 'look at those nodes: `docker node ls`')
  }
  if (PAUSED.has(view.service.UpdateStatus?.State ?? '') && !isHalted(site, view.service))
    sayPaused(pinned.name, settled.why, say)
  const atIt = settled.is === 'moving' && MOVING.has(view.service.UpdateStatus?.State ?? '')
  const well = differs || settled.is === 'settled' || settled.is === 'unproven'
  const ill = well ? null : atIt ? 'moving' : 'stuck'
  const doubt = differs || ill !== null ? null : deathsBefore(view, swarm, site.config.limits.update)
  return { pinned, view, goal, spec, differs, more, ill, doubt }
}

function isMore(site: Site, view: View, then: { spec: Spec; shape: string; image: Image }): boolean {
  const { Spec: today } = view.service
  const [now, had] = [replicasOf(today), replicasOf(then.spec)]
  if (now === null || had === null || had === 0 || now <= had) return false
  const asMany = { ...today, Mode: { Replicated: { Replicas: had } } }
  return site.shape(asMany) === then.shape && identityOf(view.image) === identityOf(then.image)
}

/** The load that it was given more tasks for may still be there. */
function sayLowered(today: Spec, then: Spec, release: string, say: Say): void {
  const [now, wanted] = [replicasOf(today), replicasOf(then)]
  if (now === null || wanted === null || now <= wanted) return
  const what = `${today.Name} goes back to ${wanted} tasks, as in ${release}: it has ${now} now`
  say(
    'warning',
    'replicas_lowered',
    what,
    `\`docker service scale ${today.Name}=${now}\` afterwards, if the load is still there`,
  )
}

async function opened(site: Site, pinned: PinnedService, release: string, say: Say): Promise<Spec | null> {
  try {
    return JSON.parse(Buffer.from(await site.vault.open(pinned.sealed)).toString('utf8')) as Spec
  } catch (error) {
    const what = `The specification of ${pinned.name} in ${release} cannot be read from the vault: ${messageOf(error)}`
    say('blocker', 'content_gone', what, 'bring the vault back from its copy, or choose another release')
    return null
  }
}

/** The pinned image, called by a name that still means it. */
async function imageFor(
  site: Site,
  swarm: Swarm,
  { name, image }: PinnedService,
  release: string,
  say: Say,
  signal: AbortSignal,
): Promise<Image | null> {
  if (image.digest !== null) {
    await sayWhetherThere(site, swarm, name, image, release, say, signal)
    return image
  }
  if (image.id === null) {
    say(
      'blocker',
      'image_unknown',
      `${release} does not say what ${image.ref} of ${name} was`,
      'choose another release',
    )
    return null
  }
  if ((await localImage(site, image.id, signal)) === null) {
    const what = `The image of ${name} in ${release} (${image.ref}, ${image.id.slice(7, 19)}) is no longer on ${site.engine.name}`
    say('blocker', 'image_gone', what, 'load it again (`docker load`), or build it again and deploy that')
    return null
  }
  if (swarm.nodes.length > 1) {
    const what = `${image.ref} of ${name} has no digest: the other nodes may not have it, or mean another image by it`
    say('warning', 'image_local', what, 'push images to a registry and deploy them from there')
  }
  const now = pinsItself(image.ref) ? null : await localImage(site, image.ref, signal)
  if (pinsItself(image.ref) || now?.Id === image.id) {
    say('note', 'image_without_digest', kept(name, image), 'do not prune images before the release is done with')
    return image
  }
  const what = `${image.ref} means another image than in ${release}: ${name} gets that one by its id`
  say('warning', 'tag_moved', what, 'use tags that are never moved, or deploy by digest')
  return { ...image, ref: image.id }
}

function kept(service: string, image: Image): string {
  return `${image.ref} of ${service} was built here and has no digest: once it is pruned there is no way back to it`
}

async function sayWhetherThere(
  site: Site,
  swarm: Swarm,
  service: string,
  image: Image,
  release: string,
  say: Say,
  signal: AbortSignal,
): Promise<void> {
  const alone = swarm.nodes.length === 1
  if (alone && (await localImage(site, image.ref, signal)) !== null) return
  const { ref } = image
  try {
    await site.engine.ask(
      `whether the registry has ${ref}`,
      (docker, o) => docker.getImage(ref).distribution(o),
      signal,
    )
  } catch (error) {
    signal.throwIfAborted()
    const gone = statusOf(error) === 404 || /manifest unknown|not found/i.test(messageOf(error))
    const what = `The image of ${service} in ${release} (${ref}) ${gone ? 'is gone from the registry' : 'could not be asked for'}: ${messageOf(error)}`
    const remedy = gone
      ? 'push it again, or choose another release'
      : 'look whether every node can pull it; tasks that cannot are seen, and stop the update'
    say(gone ? 'blocker' : 'warning', gone ? 'image_gone' : 'image_unproven', what, remedy)
  }
}

function sayKept(service: string, then: Spec, goal: Spec, secrets: Goal['renamed']['secrets'], say: Say): void {
  const names = [...keptVariables(then, goal), ...Object.values(secrets).map(s => `secret ${s.name}`)]
  if (names.length === 0) return
  const remedy = 'name in `pinned` what must go back too'
  say('note', 'secrets_current', `${service}: these keep today's value: ${names.join(', ')}`, remedy)
}

function sayPaused(service: string, why: string, say: Say): void {
  const remedy = 'look at `docker service ps`; going back starts a new update in its place'
  say('warning', 'update_paused', `The last update of ${service} came to a halt: ${why}`, remedy)
}

/** Variables that only today's specification has. */
export function lostVariables({ view, spec }: Way): string[] {
  const env = (of: Spec) => (of.TaskTemplate.ContainerSpec.Env ?? []).map(variable)
  const then = new Set(env(spec))
  return view === null ? [] : env(view.service.Spec).filter(name => !then.has(name))
}

/** What of the swarm itself stands in the way. */
export function saySwarm(swarm: Swarm, say: Say): void {
  const down = swarm.nodes.filter(n => n.Status.State !== 'ready').map(n => n.Description.Hostname)
  if (down.length > 0) {
    const what = `These nodes do not answer: ${down.join(', ')}. What runs there nobody can say`
    say('warning', 'node_down', what, 'bring them back, or power them off and `docker node rm --force` them')
  }
  const managers = swarm.nodes.filter(n => n.ManagerStatus !== undefined)
  const reachable = managers.filter(n => n.ManagerStatus?.Reachability === 'reachable').length
  const quorum = Math.floor(managers.length / 2) + 1
  if (reachable < managers.length && reachable <= quorum) {
    const what = `${reachable} of ${managers.length} managers answer: with one less nothing can be changed any more`
    say('warning', 'quorum_thin', what, 'bring the others back first, if there is time')
  }
}

export function nameOf(ways: readonly Way[]): string {
  return [...new Set(ways.map(w => shortName(w.goal.image)))].join(', ')
}
