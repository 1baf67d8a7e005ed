import type { StepAct } from '../../core/contract.ts'
import { canonical } from '../../core/json.ts'
import { Conflict } from '../../kubernetes/api/errors.ts'
import { type Autoscaler, idOf, type KubeObject } from '../../kubernetes/api/objects.ts'
import { listIn } from '../../kubernetes/api/served.ts'
import { change } from '../../kubernetes/apply/write.ts'
import { unlessForbidden } from '../../kubernetes/look.ts'
import { eachOf } from '../../kubernetes/site.ts'
import { byHand, removals } from './by-hand.ts'
import { type Difference, differences } from './compare.ts'
import type { Place } from './look.ts'
import { type Item, items } from './manifest.ts'
import type { HelmPin } from './pin.ts'

/** A field that is not as a revision says. */
export interface Off {
  readonly id: string
  /** "deployment/shop spec.replicas". */
  readonly at: string
  /** Keyed hash of what is there. */
  readonly mac: string
  /** The revision does not name it: kubectl wrote it, and Helm leaves it there. */
  readonly left: boolean
  /** More pods than the revision says. */
  readonly more: boolean
}

const AT_ONCE = 20

/** What was changed past helm, of all that a revision says. */
export async function driftOf(place: Place, manifest: string, signal: AbortSignal): Promise<Off[]> {
  const found = await eachOf(items(manifest, place.site.namespace), AT_ONCE, async item => {
    const live = await place.site.client.get(item.path, signal)
    if (live === null) return [off(place, item, { at: 'is not there', value: null }, false)]
    const changed = differences(live, item.fields)
    const more = await added(place, item, live, signal)
    const free = [...changed, ...more].some(({ at }) => at === REPLICAS) && (await isFree(place, item, live, signal))
    const real = free ? changed.filter(({ at }) => at !== REPLICAS) : changed
    return [
      ...real.map(one => ({ ...off(place, item, one, false), more: isMore(one, item) })),
      ...more.filter(one => !free || one.at !== REPLICAS).map(one => off(place, item, one, !one.named)),
    ]
  })
  return found.flat()
}

function off({ ctx }: Place, { id }: Item, { at, value }: { at: string; value: unknown }, left: boolean): Off {
  return { id, at: `${id} ${at}`, mac: ctx.vault.mac(Buffer.from(canonical(value ?? null))), left, more: false }
}

function isMore({ at, value }: Difference, { fields }: Item): boolean {
  const { replicas } = (fields['spec'] ?? {}) as { replicas?: unknown }
  return (
    at === REPLICAS && typeof value === 'number' && typeof replicas === 'number' && replicas > 0 && value > replicas
  )
}

const REPLICAS = 'spec.replicas'

/** An autoscaler decides how many pods there are; from nothing it does not bring them back. */
async function isFree({ site }: Place, { id, namespace }: Item, live: KubeObject, signal: AbortSignal) {
  if ((live['spec'] as { replicas?: number }).replicas === 0) return false
  const kind = [namespace, 'horizontalpodautoscalers'] as const
  // Who may not look for one has a number that is not as Helm says, and is told so.
  const found = await listIn(site.client, 'autoscaling', kind, signal).catch(unlessForbidden)
  const scalers = (found?.items ?? []) as Autoscaler[]
  return scalers.some(({ spec: { scaleTargetRef: to } }) => idOf(to.kind, to.name) === id)
}

/** Those that are there still once they are taken away are the API server's own: asked of it, for its defaults are many. */
async function added({ site }: Place, item: Item, live: KubeObject, signal: AbortSignal) {
  const found = byHand(live, item)
  const ops = removals(found)
  if (ops.length === 0) return found
  try {
    const after = await site.client.patch(`${item.path}?dryRun=All`, live, ops, signal)
    const own = new Set(byHand(after, item).map(({ at }) => at))
    return found.filter(({ at, named }) => named || !own.has(at))
  } catch (error) {
    if (error instanceof Conflict) return found
    // Who may not even ask may not be told that nothing is there.
    return unlessForbidden(error) ?? found
  }
}

/** What was changed since a capture; what was so already then is part of the release. */
export function driftSince(drift: readonly Off[], { past }: Pick<HelmPin, 'past'>): Off[] {
  return drift.filter(({ at, mac, left }) => (past === null ? !left : past[at] !== mac))
}

/** Takes away what kubectl added to what a revision says. `past`: what was so when the release was captured. */
export async function takeAway(place: Place, manifest: string, past: HelmPin['past'], act: StepAct): Promise<void> {
  const left = await leftOf(place, manifest, past, act.signal)
  const ids = new Set(left.map(({ id }) => id))
  for (const item of items(manifest, place.site.namespace).filter(({ id }) => ids.has(id))) {
    const decide = (now: KubeObject) => {
      const ops = removals(byHand(now, item).filter(({ at }) => left.some(one => one.at === `${item.id} ${at}`)))
      return ops.length === 0 ? null : ops
    }
    const { path, id } = item
    await change({ ...place.site, namespace: item.namespace }, { path, name: id, decide }, act)
    act.progress({ text: `${id}: what kubectl had added was taken away` })
  }
}

/** What is still there of it. */
export async function leftOf(
  place: Place,
  manifest: string,
  past: HelmPin['past'],
  signal: AbortSignal,
): Promise<Off[]> {
  if (past === null) return []
  return driftSince(await driftOf(place, manifest, signal), { past }).filter(({ left }) => left)
}
