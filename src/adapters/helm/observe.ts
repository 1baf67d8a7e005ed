import type { CaptureAct, Observation } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { sameJson, toJson } from '../../core/json.ts'
import { refuseUnavailable } from '../../kubernetes/available.ts'
import { suspendedBy } from '../../kubernetes/gitops.ts'
import { lookAt } from '../../kubernetes/look.ts'
import { shortRef } from '../../kubernetes/observe.ts'
import { refuseUnsettled } from '../../kubernetes/settled.ts'
import { rolloutOf } from '../../kubernetes/status.ts'
import { refsOf } from '../../kubernetes/template.ts'
import type { Revision } from './cli.ts'
import { isPending, type Live, look, type Place, type World } from './look.ts'
import type { HelmPin } from './pin.ts'

/** What was looked at for an observation: a proposal right after it need not look again. */
const worlds = new WeakMap<Observation, World>()

export async function worldOf(place: Place, observation: Observation, signal: AbortSignal): Promise<World> {
  return worlds.get(observation) ?? look(place, signal)
}

export async function observe(place: Place, signal: AbortSignal): Promise<Observation> {
  const world = await look(place, signal)
  const last = world.history.at(-1)
  const observation: Observation = {
    identity: world.identity,
    state: toJson({
      release: last === undefined ? null : { status: last.status, chart: last.chart },
      manifest: world.manifest,
      live: Object.fromEntries(world.live.map(one => [one.id, imagesOf(one)])),
      drift: Object.fromEntries(world.drift.map(({ at, mac }) => [at, mac])),
    }),
    detail: toJson({ history: world.history.slice(-10) }),
    summary: summaryOf(place, world),
    inFlight: flights(world),
  }
  worlds.set(observation, world)
  return observation
}

function imagesOf({ object }: Live): Record<string, string> | null {
  return object === null ? null : refsOf(object.spec.template)
}

/** Objects whose pods are not all of what they ask for, and how far they are: Helm's record says nothing of that. */
export function behindOf({ live }: World): string[] {
  return live.flatMap(({ id, object }) => {
    if (object === null) return []
    const { complete, updated, wanted, available, paused } = rolloutOf(object)
    const how = paused ? ', and it is paused' : ''
    return complete ? [] : [`${id}: ${updated} of ${wanted} pods are of it, ${available} available${how}`]
  })
}

function summaryOf({ config }: Place, world: World): string {
  const last = world.history.at(-1)
  if (last === undefined) return `there is no release ${config.release}`
  const { chart, app_version: version, revision, status } = last
  const images = [...new Set(world.live.flatMap(one => Object.values(imagesOf(one) ?? {}).map(shortRef)))]
  const off = [...new Set(world.drift.map(one => one.id))]
  const parts = [
    `${chart}${version === '' ? '' : ` (${version})`}, revision ${revision}, ${status}${world.left ? ', left by a client that died' : ''}`,
    ...(images.length === 0 ? [] : [images.join(', ')]),
    ...(off.length === 0 ? [] : [`${off.join(', ')} not as the release says`]),
    ...(status === 'deployed' ? behindOf(world) : []),
    ...world.owners.filter(owner => suspendedBy(owner) !== null).map(owner => `${owner.title} is suspended by Backout`),
  ]
  return parts.join('; ')
}

/** The plan itself waits for what is in flight. What a dead client left goes nowhere any more. */
function flights({ history, left }: World): Observation['inFlight'] {
  const last = history.at(-1)
  if (last === undefined || !isPending(last) || left) return []
  return [{ what: `helm ${last.status} of revision ${last.revision}`, since: last.updated }]
}

/** Writes down which content the release has, and by which revision it is come back to. */
export async function capture(place: Place, observed: Observation, act: CaptureAct): Promise<HelmPin> {
  const world = await worldOf(place, observed, act.signal)
  const last = world.history.at(-1)
  if (last === undefined || world.manifest === null) throw nothing(place)
  if (act.purpose === 'release' && last.status !== 'deployed') throw notGood(place, world, last)
  if (act.purpose === 'release') await refuseDying(place, world.live, last.revision, act.signal)
  return {
    identity: world.identity,
    server: place.site.client.session.server,
    revision: last.revision,
    chart: last.chart,
    appVersion: last.app_version,
    manifest: world.manifest,
    past: Object.fromEntries(world.drift.map(({ at, mac }) => [at, mac])),
  }
}

/** Neither what its pods are may be another release, nor may they be dying again and again. */
async function refuseDying(
  { site }: Place,
  live: readonly Live[],
  revision: number,
  signal: AbortSignal,
): Promise<void> {
  for (const one of live) refuseUnserved(one, revision)
  const captured = live.map(async one => {
    const own = { ...site, namespace: one.namespace }
    return { site: own, seen: await lookAt(own, one, signal) }
  })
  await refuseUnsettled(await Promise.all(captured), signal)
}

/** Helm's record alone says nothing of what runs: only what its pods are is worth coming back to. */
function refuseUnserved(live: Live, revision: number): void {
  const { id, object, refs } = live
  if (object !== null && sameJson(imagesOf(live), refs)) return refuseUnavailable(id, object)
  const what = object === null ? 'is not there' : `runs ${Object.values(imagesOf(live) ?? {}).join(', ')}`
  throw new BackoutError({
    code: 'object_drifted',
    what: `${id} ${what}, and that is not what revision ${revision} says: going back to it would not bring this back`,
    next: 'deploy what is to run by `helm upgrade`, then capture again',
    exit: 'moved',
  })
}

function nothing({ config }: Place): BackoutError {
  return new BackoutError({
    code: 'release_missing',
    what: `Helm knows no release ${config.release} in ${config.namespace ?? 'the namespace of the context'}`,
    next: 'look at `helm list --all --namespace NAMESPACE`, and at `release:`, `namespace:` and `context:` of the component',
    exit: 'blocked',
  })
}

function notGood({ config }: Place, { history, left }: World, { revision, status }: Revision): BackoutError {
  const good = history.findLast(one => one.status === 'deployed' || one.status === 'superseded')
  const over = left && good !== undefined
  return new BackoutError({
    code: 'release_not_deployed',
    what: `Revision ${revision} of ${config.release} is ${status}${left ? ', left by a client that died' : ''}: it is none to come back to`,
    next: over
      ? `helm refuses upgrades until it is rolled back: \`helm rollback ${config.release} ${good.revision}\`, or \`backout run\`; then capture again`
      : 'capture a release once helm calls it deployed',
    exit: 'blocked',
  })
}
