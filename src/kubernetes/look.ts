import { BackoutError } from '../core/errors.ts'
import { canonical } from '../core/json.ts'
import {
  ALL_KINDS,
  type Autoscaler,
  type ConfigObject,
  type ControllerRevision,
  corePath,
  hasReplicaSets,
  idOf,
  type Kind,
  ownedBy,
  type Pod,
  parseId,
  type ReplicaSet,
  type Service,
  selectorText,
  type Template,
  type Workload,
  workloadPath,
} from './api/objects.ts'
import { listIn } from './api/served.ts'
import { keeperOf, ownTemplate } from './rollout.ts'
import { eachOf, type Site } from './site.ts'
import { bare, referencesOf } from './template.ts'

/** A ReplicaSet or ControllerRevision: what an object was once. */
export interface Revision {
  /** Name of the object that keeps it. */
  readonly name: string
  readonly number: number
  readonly template: Template
  readonly pods: readonly Pod[]
}

/** One object of the component. */
export interface Seen {
  /** "deployment/shop". */
  readonly id: string
  readonly kind: Kind
  readonly name: string
  /** null: it is gone. */
  readonly object: Workload | null
  /** The newest first. */
  readonly revisions: readonly Revision[]
  /** All of its pods, those that are on their way out too. */
  readonly pods: readonly Pod[]
}

export interface World {
  /** The cluster and namespace. */
  readonly identity: string
  readonly namespaceThere: boolean
  /** Of the namespace; none where it may not be read. */
  readonly labels: Readonly<Record<string, string>>
  readonly objects: readonly Seen[]
  /** What the objects refer to, by "configmap/shop"; null: it is not there. */
  readonly configs: ReadonlyMap<string, ConfigObject | null>
  readonly services: readonly Service[]
  readonly autoscalers: readonly Autoscaler[]
}

/** Of more objects than this, collections are read whole instead of one by one. */
const FEW = 5
const READS_AT_ONCE = 20

/** Reads everything that makes the component what it is, and changes nothing. */
export async function look(site: Site, signal: AbortSignal): Promise<World> {
  const [cluster, there, objects, services, autoscalers] = await Promise.all([
    clusterOf(site, signal),
    site.client.get(`/api/v1/namespaces/${site.namespace}`, signal).catch(unlessForbidden),
    workloads(site, signal),
    list<Service>(site, corePath(site.namespace, 'services'), signal),
    listIn(site.client, 'autoscaling', [site.namespace, 'horizontalpodautoscalers'], signal),
  ])
  const seen = objects.length > FEW ? await together(site, objects, signal) : await oneByOne(site, objects, signal)
  const ids = new Set(seen.flatMap(s => (s.object === null ? [] : referencesOf(s.object.spec.template).map(r => r.id))))
  const configs = await readConfigs(site, [...ids], signal)
  const identity = `kubernetes:${cluster}/${site.namespace}`
  return {
    identity,
    namespaceThere: there !== null,
    labels: there?.metadata.labels ?? {},
    objects: seen,
    configs,
    services,
    autoscalers: autoscalers.items as Autoscaler[],
  }
}

/** A user who may not read the namespace itself may still work in it. */
export function unlessForbidden(error: unknown): undefined {
  const codes = ['kubernetes_forbidden', 'admission_denied']
  if (error instanceof BackoutError && codes.includes(error.code)) return undefined
  throw error
}

/** The cluster is known by the id of its oldest namespace; where that cannot be read, by how it is reached. */
export async function clusterOf({ client }: Site, signal: AbortSignal): Promise<string> {
  const system = await client.get('/api/v1/namespaces/kube-system', signal).catch(unlessForbidden)
  return system?.metadata.uid ?? client.session.server
}

type Named = Pick<Seen, 'id' | 'kind' | 'name' | 'object'>

async function workloads(site: Site, signal: AbortSignal): Promise<Named[]> {
  const { client, namespace, config } = site
  const { objects, selector } = config
  if (objects !== undefined && objects.length <= FEW) {
    return Promise.all(
      objects.map(async id => {
        const { kind, name } = parseId(id)
        return named(kind, name, await client.get<Workload>(workloadPath(namespace, kind, name), signal))
      }),
    )
  }
  const query = selector === undefined ? '' : `?labelSelector=${encodeURIComponent(selector)}`
  const kinds = objects === undefined ? ALL_KINDS : [...new Set(objects.map(id => parseId(id).kind))]
  const lists = await Promise.all(
    kinds.map(async kind => {
      const found = await list<Workload>(site, `${workloadPath(namespace, kind)}${query}`, signal)
      return found.map(object => named(kind, object.metadata.name, { ...object, kind }))
    }),
  )
  const all = lists.flat()
  if (objects === undefined) return all.sort((a, b) => (a.id < b.id ? -1 : 1))
  return objects.map(id => all.find(o => o.id === id) ?? named(parseId(id).kind, parseId(id).name, null))
}

function named(kind: Kind, name: string, object: Workload | null): Named {
  if (kind === 'Rollout' && object !== null) ownTemplate(object)
  return { id: idOf(kind, name), kind, name, object }
}

async function list<T extends Service | Workload | Pod | ReplicaSet | ControllerRevision>(
  { client }: Site,
  path: string,
  signal: AbortSignal,
): Promise<T[]> {
  return ((await client.list(path, signal))?.items ?? []) as T[]
}

async function oneByOne(site: Site, objects: readonly Named[], signal: AbortSignal): Promise<Seen[]> {
  return Promise.all(objects.map(one => lookAt(site, one, signal)))
}

/** One object with its revisions and pods. */
export async function lookAt(site: Site, one: Named, signal: AbortSignal): Promise<Seen> {
  const { object } = one
  if (object === null) return { ...one, revisions: [], pods: [] }
  const query = `?labelSelector=${encodeURIComponent(selectorText(object.spec.selector))}`
  const [owners, pods] = await Promise.all([
    revisionsAt(site, one.kind, query, signal),
    list<Pod>(site, `${corePath(site.namespace, 'pods')}${query}`, signal),
  ])
  return assembled(one, object, owners, pods)
}

/** The same without its pods, where only its revisions are asked for. */
export async function revisionsOf(site: Site, one: Named, signal: AbortSignal): Promise<Seen> {
  const { object } = one
  if (object === null) return { ...one, revisions: [], pods: [] }
  const query = `?labelSelector=${encodeURIComponent(selectorText(object.spec.selector))}`
  return assembled(one, object, await revisionsAt(site, one.kind, query, signal), [])
}

async function together(site: Site, objects: readonly Named[], signal: AbortSignal): Promise<Seen[]> {
  const kinds = new Set(objects.map(o => o.kind))
  const [replicaSets, controllerRevisions, pods] = await Promise.all([
    [...kinds].some(hasReplicaSets) ? revisionsAt(site, 'Deployment', '', signal) : [],
    kinds.has('StatefulSet') || kinds.has('DaemonSet') ? revisionsAt(site, 'StatefulSet', '', signal) : [],
    list<Pod>(site, corePath(site.namespace, 'pods'), signal),
  ])
  return objects.map(one => {
    const owners = hasReplicaSets(one.kind) ? replicaSets : controllerRevisions
    return one.object === null ? { ...one, revisions: [], pods: [] } : assembled(one, one.object, owners, pods)
  })
}

type Keeper = ReplicaSet | ControllerRevision

async function revisionsAt(site: Site, kind: Kind, query: string, signal: AbortSignal): Promise<Keeper[]> {
  const plural = hasReplicaSets(kind) ? 'replicasets' : 'controllerrevisions'
  return list<Keeper>(site, `/apis/apps/v1/namespaces/${site.namespace}/${plural}${query}`, signal)
}

function assembled(one: Named, object: Workload, keepers: readonly Keeper[], pods: readonly Pod[]): Seen {
  const own = keepers.filter(keeper => ownedBy(keeper, object))
  const owners = hasReplicaSets(one.kind) ? own : [object]
  const ownPods = pods.filter(pod => owners.some(owner => ownedBy(pod, owner)))
  const revisions = own.flatMap(keeper => revisionOf(one.kind, keeper, ownPods))
  return { ...one, object, revisions: revisions.sort((a, b) => b.number - a.number), pods: ownPods }
}

function revisionOf(kind: Kind, keeper: Keeper, pods: readonly Pod[]): Revision[] {
  const { name, annotations, labels } = keeper.metadata
  if (hasReplicaSets(kind)) {
    const numbered = kind === 'Rollout' ? 'rollout.argoproj.io/revision' : 'deployment.kubernetes.io/revision'
    const number = Number(annotations?.[numbered] ?? 0)
    const { template } = (keeper as ReplicaSet).spec
    return [{ name, number, template: bare(template), pods: pods.filter(pod => ownedBy(pod, keeper)) }]
  }
  const { data, revision } = keeper as ControllerRevision
  const template = data?.spec?.template
  if (template === undefined) return []
  const { $patch: _, ...plain } = template
  // A StatefulSet's pods carry the whole name of their revision, a DaemonSet's only its hash.
  const hash = kind === 'StatefulSet' ? name : (labels?.['controller-revision-hash'] ?? name.split('-').at(-1))
  const of = (pod: Pod) => pod.metadata.labels?.['controller-revision-hash'] === hash
  return [{ name, number: revision, template: bare(plain), pods: pods.filter(of) }]
}

/** The revision that the object asks for now; null where the controller has not made it yet. */
export function currentOf(seen: Seen): Revision | null {
  if (seen.object === null) return null
  if (seen.kind === 'Rollout') return seen.revisions.find(({ name }) => name === keeperOf(seen.object)) ?? null
  const wanted = canonical(bare(seen.object.spec.template))
  return seen.revisions.find(revision => canonical(revision.template) === wanted) ?? null
}

export function configPath(namespace: string, id: string): string {
  const [kind, name = ''] = id.split('/')
  return corePath(namespace, kind === 'secret' ? 'secrets' : 'configmaps', name)
}

export async function readConfigs(
  site: Site,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, ConfigObject | null>> {
  const found = await eachOf(ids, READS_AT_ONCE, id =>
    site.client.get<ConfigObject>(configPath(site.namespace, id), signal),
  )
  return new Map(ids.map((id, i) => [id, found[i] ?? null]))
}
