import type { Vault } from '../core/contract.ts'
import { canonical } from '../core/json.ts'
import { hasReplicaSets, parseId, type Template, type Workload } from './api/objects.ts'
import { currentOf, type Revision, type Seen, type World } from './look.ts'
import { openManifests } from './manifests.ts'
import { currentPods, isRolling } from './observe.ts'
import type { KubernetesPin, PinnedObject } from './pin.ts'
import { isLive, ready } from './status.ts'
import type { RollArgs } from './steps.ts'
import { isHeldStopped } from './stopped.ts'
import { digestOf, HALTED, macOf, pinnedRef, refsOf, runningIn } from './template.ts'

/** One object as a proposal sees it: what is there, and what is to be there. */
export interface Goal {
  readonly seen: Seen
  readonly pinned: PinnedObject
  /** null: the vault does not have it any more. */
  readonly manifest: Workload | null
  /** The template is the one of the release, whatever its images. */
  readonly sameTemplate: boolean
  /** What runs, or where nothing runs what is asked for, is what ran then. */
  readonly sameImages: boolean
  readonly rolling: boolean
}

export async function goalsOf(world: World, to: KubernetesPin, vault: Vault): Promise<Goal[]> {
  const gone = Object.keys(to.objects).filter(id => !world.objects.some(seen => seen.id === id))
  const missing = gone.map((id): Seen => {
    return { id, ...parseId(id), object: null, revisions: [], pods: [] }
  })
  const manifests = await openManifests(to.manifests, vault)
  return [...world.objects, ...missing].flatMap((seen): Goal[] => {
    const pinned = to.objects[seen.id]
    if (pinned === undefined) return []
    return [goalOf(seen, pinned, manifests?.[seen.id] ?? null, vault)]
  })
}

function goalOf(seen: Seen, pinned: PinnedObject, manifest: Workload | null, vault: Vault): Goal {
  const { object } = seen
  if (object === null) return { seen, pinned, manifest, sameTemplate: false, sameImages: false, rolling: false }
  const sameTemplate = macOf(object.spec.template, vault) === pinned.template
  return {
    seen,
    pinned,
    manifest,
    sameTemplate,
    sameImages: imagesAsPinned(seen, object, pinned),
    rolling: isRolling(seen),
  }
}

function imagesAsPinned(seen: Seen, object: Workload, pinned: PinnedObject): boolean {
  const running = runningIn(currentPods(seen))
  const refs = refsOf(object.spec.template)
  return Object.entries(pinned.images).every(([name, then]) => {
    const ref = refs[name]
    if (ref === undefined) return false
    const [was, now] = [digestsOf(then.ids), digestsOf(running[name] ?? [])]
    if (was.length === 0 || now.length === 0) return isRef(ref, then)
    return now.every(digest => was.includes(digest))
  })
}

export function digestsOf(ids: readonly string[]): string[] {
  return [...new Set(ids.map(id => digestOf(id) ?? id))]
}

/** A reference that names what ran then: the same words, or its digest. */
function isRef(ref: string, then: PinnedObject['images'][string]): boolean {
  const digest = ref.includes('@') ? digestOf(ref) : null
  return ref === then.ref || (digest !== null && digestsOf(then.ids).includes(digest))
}

/** Containers whose reference gives another image today than it did then: the tag was moved. */
export function movedTags({ seen, pinned }: Goal): string[] {
  if (seen.object === null) return []
  const refs = refsOf(seen.object.spec.template)
  const running = runningIn((currentOf(seen)?.pods ?? []).filter(isLive))
  return Object.entries(pinned.images).flatMap(([name, then]) => {
    const [was, now] = [digestsOf(then.ids), digestsOf(running[name] ?? [])]
    const moved = refs[name] === then.ref && was.length > 0 && now.some(digest => !was.includes(digest))
    return moved ? [then.ref] : []
  })
}

/** Images by the digest that ran, where one alone did and a registry has it. */
export function exactImages(pinned: PinnedObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(pinned.images).map(([name, { ref, ids }]) => [
      name,
      ids.length === 1 ? pinnedRef(ref, ids[0]) : ref,
    ]),
  )
}

/** The revision that is what the release was; null where it was pruned. */
export function revisionFor({ seen, pinned }: Goal, vault: Vault): Revision | null {
  return (
    seen.revisions.find(({ name, template }) => {
      if (seen.kind === 'Rollout') return name === pinned.keeper
      if (macOf(template, vault) !== pinned.template) return false
      const refs = refsOf(template)
      return Object.entries(pinned.images).every(([name, then]) => refs[name] !== undefined && isRef(refs[name], then))
    }) ?? null
  )
}

/** Tells templates apart, with their images: what a plan saw, compared right before the write. */
export function fingerprint(template: Template, vault: Vault): string {
  return vault.mac(Buffer.from(canonical([macOf(template, vault), refsOf(template)])))
}

/** Whether there is anything to be done to this object by a rung. */
export function differs(goal: Goal, rung: RollArgs['rung'], replicas: number | null): boolean {
  return goal.rolling || isOther(goal, rung, replicas)
}

/** Whether it asks for anything else than a rung would have it ask for, or is kept from going there. */
export function isOther(goal: Goal, rung: RollArgs['rung'], replicas: number | null): boolean {
  const { seen, sameTemplate, sameImages } = goal
  if (seen.object === null) return true
  const scaled = replicas !== null && (seen.object.spec.replicas ?? 1) !== replicas
  const template = rung === 'image' ? false : !sameTemplate
  const { spec, metadata } = seen.object
  // A partition may be the user's own; a pause keeps everything from going back.
  const held = spec.paused === true || metadata.annotations?.[HALTED] !== undefined || isHeldStopped(spec.template)
  return template || !sameImages || scaled || held
}

/** On its way to the release already: it is followed, not stopped. */
export function towardGoal({ sameTemplate, sameImages }: Goal): boolean {
  return sameTemplate && sameImages
}

/** Pods that the controller would leave as they are though the template changed. */
export function leftover({ seen, manifest }: Goal): RollArgs['replace'] {
  if (seen.object === null || hasReplicaSets(seen.kind)) return 'none'
  // What counts is the strategy that the step puts back, not the one that is there.
  const { type } = (manifest ?? seen.object).spec.updateStrategy ?? {}
  if (type === 'OnDelete') return 'all'
  // Its pods may go bad at any time until then, and it replaces none that is not ready.
  return seen.kind === 'StatefulSet' ? 'unready' : 'none'
}

/** Whether pods have to be deleted for their controller to go on, as far as can be told now. */
export function deletes(goal: Goal): boolean {
  const how = leftover(goal)
  return how === 'all' || (how === 'unready' && (goal.rolling || unreadyPods(goal).length > 0))
}

export function unreadyPods({ seen }: Goal): string[] {
  return seen.pods.filter(pod => isLive(pod) && !ready(pod)).map(pod => pod.metadata.name)
}
