import type { Observation, Vault } from '../core/contract.ts'
import { canonical, type Json, toJson } from '../core/json.ts'
import type { Autoscaler, ConfigObject, Pod, Service, Template } from './api/objects.ts'
import { idOf } from './api/objects.ts'
import { type GitOwner, ownersOf, suspendedBy } from './gitops.ts'
import { haltedBy } from './halt.ts'
import { currentOf, look, type Seen, type World } from './look.ts'
import { portsOf } from './ports.ts'
import { keepsOld } from './rollout.ts'
import type { Site } from './site.ts'
import { isLive, rolloutOf } from './status.ts'
import { isHeldStopped } from './stopped.ts'
import { digestOf, macOf, refsOf, runningIn } from './template.ts'

/** What was looked at for an observation: a proposal right after it need not look again. */
const worlds = new WeakMap<Observation, World>()

export async function worldOf(site: Site, observation: Observation, signal: AbortSignal): Promise<World> {
  return worlds.get(observation) ?? look(site, signal)
}

export async function observe(site: Site, signal: AbortSignal): Promise<Observation> {
  const world = await look(site, signal)
  const owners = await ownersOf(site, world, signal)
  const observation: Observation = {
    identity: world.identity,
    state: stateOf(world, site.ctx.vault),
    detail: detailOf(site, world),
    summary: summaryOf(world, owners),
    inFlight: world.objects.flatMap(flightOf),
  }
  worlds.set(observation, world)
  return observation
}

function stateOf(world: World, vault: Vault): Json {
  const objects = world.objects.map((seen): [string, Json] => [seen.id, objectState(seen, world, vault)])
  const configs = [...world.configs].map(([id, object]): [string, Json] => [id, configMac(object, vault)])
  return toJson({
    objects: Object.fromEntries(objects),
    configs: Object.fromEntries(configs),
    services: Object.fromEntries(
      servicesOf(world).map(s => [s.metadata.name, { selector: s.spec.selector, ports: portsOf(s) }]),
    ),
    autoscalers: Object.fromEntries(autoscalersOf(world).map(a => [a.metadata.name, boundsOf(a)])),
  })
}

function objectState(seen: Seen, world: World, vault: Vault): Json {
  const { object } = seen
  if (object === null) return null
  const scaled = isScaled(world, seen.id) || seen.kind === 'DaemonSet'
  return {
    template: macOf(object.spec.template, vault),
    images: imagesOf(seen, object.spec.template),
    replicas: scaled ? null : (object.spec.replicas ?? 1),
    rolling: isRolling(seen),
  }
}

/** Whether its controller is not through with replacing its pods, for whatever reason. */
export function isRolling(seen: Seen): boolean {
  if (seen.object === null) return false
  return !rolloutOf(seen.object).replaced
}

/**
 * What each container runs: a digest where all pods run the same one. While pods are being replaced, only what the template
 * says, for everything else moves by itself.
 */
export function imagesOf(seen: Seen, template: Template): Record<string, string> {
  const running = isRolling(seen) ? {} : runningIn(currentPods(seen))
  return Object.fromEntries(
    Object.entries(refsOf(template)).map(([name, ref]) => {
      const digests = [...new Set((running[name] ?? []).map(id => digestOf(id) ?? id))].sort()
      return [name, digests.length === 0 ? (digestOf(ref) ?? ref) : digests.join(' and ')]
    }),
  )
}

/** Pods of what the object asks for now. */
export function currentPods(seen: Seen): readonly Pod[] {
  const own = isRolling(seen) || keepsOld(seen.object)
  const pods = currentOf(seen)?.pods ?? (own ? [] : seen.pods)
  return pods.filter(isLive)
}

/** Keyed hash of a ConfigMap's or Secret's content; null where there is none. */
export function configMac(object: ConfigObject | null, vault: Vault): string | null {
  return object === null ? null : vault.mac(Buffer.from(canonical(contentOf(object))))
}

/** Whether there is nothing in it: the same as none, to whom can do without it. */
export function isEmpty(object: ConfigObject | null): boolean {
  return Object.keys({ ...object?.data, ...object?.binaryData }).length === 0
}

/** What is put back of a ConfigMap or Secret. */
export function contentOf({ data, binaryData, type }: ConfigObject): Json {
  return toJson({ data: data ?? {}, binaryData: binaryData ?? {}, ...(type === undefined ? {} : { type }) })
}

/** Services that send users to pods of these objects. */
export function servicesOf(world: World): Service[] {
  const labels = world.objects.flatMap(s => (s.object === null ? [] : [s.object.spec.template.metadata?.labels ?? {}]))
  return world.services.filter(({ spec: { selector = {} } }) => {
    const wanted = Object.entries(selector)
    return wanted.length > 0 && labels.some(l => wanted.every(([key, value]) => l[key] === value))
  })
}

export function autoscalersOf(world: World): Autoscaler[] {
  const ids = new Set(world.objects.map(s => s.id))
  return world.autoscalers.filter(({ spec: { scaleTargetRef: to } }) => ids.has(idOf(to.kind, to.name)))
}

function scalersOf(world: World, id: string): Autoscaler[] {
  return world.autoscalers.filter(({ spec: { scaleTargetRef: to } }) => idOf(to.kind, to.name) === id)
}

export function isScaled(world: World, id: string): boolean {
  return scalersOf(world, id).length > 0
}

/** As many pods as its autoscalers see to at the least; 0 where it has none. */
export function leastOf(world: World, id: string): number {
  return Math.max(0, ...scalersOf(world, id).map(scaler => boundsOf(scaler).min))
}

export function boundsOf({ spec }: Autoscaler): { min: number; max: number } {
  return { min: spec.minReplicas ?? 1, max: spec.maxReplicas }
}

/** Only what its controller is still replacing: whether pods are available moves by itself, with a bad release above all. */
function flightOf(seen: Seen): Observation['inFlight'] {
  if (seen.object === null || !isRolling(seen)) return []
  // What a run of Backout holds goes nowhere until somebody lifts it.
  if (haltedBy(seen.object) !== null) return []
  const { updated, wanted, paused, failed } = rolloutOf(seen.object)
  const how = failed !== null ? ', stuck' : paused ? ', paused' : ''
  return [{ what: `the rollout of ${seen.id} (${updated} of ${wanted} pods replaced${how})`, since: null }]
}

function detailOf(site: Site, world: World): Json {
  return toJson({
    server: site.client.session.server,
    context: site.client.session.context,
    objects: Object.fromEntries(
      world.objects.map(seen => [
        seen.id,
        seen.object && {
          ...rolloutOf(seen.object),
          revision: currentOf(seen)?.number ?? null,
          revisions: seen.revisions.map(r => `${r.number}: ${Object.values(refsOf(r.template)).join(', ')}`),
        },
      ]),
    ),
  })
}

const SHOWN = 3

function summaryOf(world: World, owners: readonly GitOwner[]): string {
  const parts = world.objects
    .slice(0, SHOWN)
    .map(seen => `${world.objects.length > 1 ? `${seen.name}: ` : ''}${described(seen)}`)
  const more = world.objects.length - SHOWN
  const held = owners.filter(o => suspendedBy(o) !== null).map(o => `${o.title} is suspended by Backout`)
  const none = world.objects.length === 0 ? ['no objects'] : []
  return [...none, ...parts, ...(more > 0 ? [`and ${more} more`] : []), ...held].join('; ')
}

function described({ object, id }: Seen): string {
  if (object === null) return `${id} is not there`
  const { available, wanted, replaced, paused, failed } = rolloutOf(object)
  const images = object.spec.template.spec.containers.map(c => shortRef(c.image ?? ''))
  const rolling = isHeldStopped(object.spec.template)
    ? ', stopped by Backout'
    : replaced
      ? ''
      : haltedBy(object) !== null
        ? ', its rollout is held by Backout'
        : failed !== null
          ? ', its rollout is stuck'
          : paused
            ? ', its rollout is paused'
            : ', rolling out'
  return `${images.join(', ')}, ${available} of ${wanted} pods available${rolling}`
}

/** "registry.example/team/shop:v1.3.0" is called shop:v1.3.0. */
export function shortRef(ref: string): string {
  const [named = ref, digest] = (ref.split('/').at(-1) ?? ref).split('@')
  return digest === undefined || named.includes(':') ? named : `${named}@${digest.slice(0, 19)}`
}
