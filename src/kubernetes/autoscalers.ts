import { type Autoscaler, idOf } from './api/objects.ts'
import type { Case } from './case.ts'
import type { Goal } from './goals.ts'
import { boundsOf, isScaled } from './observe.ts'
import type { KubernetesPin } from './pin.ts'
import { keepsItsPods } from './volumes.ts'

export interface Bounds {
  readonly min: number
  readonly max: number
}

/** An autoscaler, and the bounds that it is to have. */
interface Bounding {
  readonly scaler: Autoscaler
  readonly bounds: Bounds
  /** It was not there at the release: before it is bound, the release cannot have its pods. */
  readonly first: boolean
}

/** "deployment/shop". */
export function scaledBy({ spec: { scaleTargetRef: to } }: Autoscaler): string {
  return idOf(to.kind, to.name)
}

/** Bounds that it had at the release; null: it was not there, or kept another object. */
export function boundsThen({ autoscalers }: KubernetesPin, scaler: Autoscaler): Bounds | null {
  const then = autoscalers[scaler.metadata.name]
  if (then === undefined || (then.target !== null && then.target !== scaledBy(scaler))) return null
  return { min: then.min, max: then.max }
}

/** How many pods an object had at the release, or may have had; null: nobody knows. */
export function spanOf({ objects, autoscalers }: KubernetesPin, id: string): Bounds | null {
  const replicas = objects[id]?.replicas ?? null
  if (replicas !== null) return { min: replicas, max: replicas }
  const own = Object.values(autoscalers).filter(({ target }) => target === id)
  if (own.length === 0) return null
  return { min: Math.min(...own.map(a => a.min)), max: Math.max(...own.map(a => a.max)) }
}

/** As many pods as the autoscalers of the release saw to at the least; 0 where nobody knows. */
export function leastThen(to: KubernetesPin, id: string): number {
  return spanOf(to, id)?.min ?? 0
}

/** What made an autoscaler, and puts it back as it wants it: no bounds that others write stay. null: nobody does. */
export function keeperOf({ metadata }: Autoscaler): { title: string; type: string; name: string } | null {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true)
  if (owner === undefined) return null
  const { kind, name, apiVersion = '' } = owner
  const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : ''
  return { title: `${kind} ${name}`, type: `${kind.toLowerCase()}${group}`, name }
}

type Scaling = Pick<Case, 'site' | 'world' | 'question'>

/** Those that came since, leave an object no number of pods that it had at the release, and can be bound. */
function inTheWay({ site, world, question: { to } }: Scaling, { seen }: Pick<Goal, 'seen'>): Autoscaler[] {
  const span = spanOf(to, seen.id)
  if (span === null || site.config.replicas === 'current') return []
  return world.autoscalers.filter(scaler => {
    const { min, max } = boundsOf(scaler)
    if (keeperOf(scaler) !== null) return false
    return scaledBy(scaler) === seen.id && boundsThen(to, scaler) === null && (max < span.min || min > span.max)
  })
}

/** Whether an autoscaler decides how many pods it has, and may go on doing so. */
export function isLeftToScale(it: Scaling, goal: Pick<Goal, 'seen'>): boolean {
  return isScaled(it.world, goal.seen.id) && inTheWay(it, goal).length === 0
}

/** Bounds that go back, and those of what came since and is in the way: it keeps as many pods as there were. */
export function boundingsOf(it: Scaling & Pick<Case, 'goals'>): Bounding[] {
  const { world, question, goals } = it
  const back = world.autoscalers.flatMap((scaler): Bounding[] => {
    const [then, now] = [boundsThen(question.to, scaler), boundsOf(scaler)]
    if (then === null || (then.min === now.min && then.max === now.max) || keeperOf(scaler) !== null) return []
    return [{ scaler, bounds: then, first: false }]
  })
  const held = goals.flatMap(goal => {
    const bounds = spanOf(question.to, goal.seen.id)
    // None at all is no business of an autoscaler: what is scaled to nothing it leaves alone.
    if (bounds === null || bounds.max === 0) return []
    const lowers = (scaler: Autoscaler) => boundsOf(scaler).min > bounds.max && keepsItsPods(goal)
    return inTheWay(it, goal).flatMap((scaler): Bounding[] => (lowers(scaler) ? [] : [{ scaler, bounds, first: true }]))
  })
  return [...held, ...back]
}
