import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { Api } from './api.ts'
import { Clock } from './clock.ts'
import { startControllers } from './controllers/index.ts'
import { type ControllerManager } from './controllers/manager.ts'
import { type DefinedName, definition } from './definitions.ts'
import { Lists } from './http/lists.ts'
import { type ApiParts, ApiServer } from './http/server.ts'
import { Watches } from './http/watch.ts'
import { certificate, writeKubeconfig } from './kubeconfig.ts'
import { Kubelets } from './kubelet/index.ts'
import { serveLogs } from './kubelet/logs.ts'
import { type ImageSpec, Registry } from './kubelet/registry.ts'
import { Scheduler } from './kubelet/scheduler.ts'
import { enforceLimits } from './limits.ts'
import { enforcePodSecurity } from './pod-security.ts'
import { Resources } from './resources.ts'
import { Store } from './store.ts'
import { Trouble } from './trouble.ts'
import { type Obj } from './types.ts'

export interface ClusterOptions {
  /** Name of the context in the kubeconfig. */
  readonly context?: string
  readonly nodes?: number
  /** The first node is a control plane's, which keeps other pods away, as in a real cluster of several nodes. */
  readonly controlPlane?: boolean
  /** Images that can be pulled besides pause and busybox, by reference. */
  readonly images?: Readonly<Record<string, ImageSpec>>
  /** How long a crashed container or a failed pull waits for its second try; ten seconds in a real kubelet. */
  readonly backoffMs?: number
  /** How often a watch that asked for them gets bookmarks; a minute in a real API server. */
  readonly bookmarkMs?: number
  /** CustomResourceDefinitions that are there from the start. */
  readonly definitions?: readonly DefinedName[]
  /** The minor version of Kubernetes 1 that it serves; 33, if not given. */
  readonly minor?: number
  /** Namespaces that are there from the start, besides those that every cluster has. */
  readonly namespaces?: readonly string[]
}

export interface Cluster {
  readonly url: string
  /** Absolute path of a kubeconfig whose current context is this cluster. */
  readonly kubeconfig: string
  readonly context: string
  readonly token: string
  /** The API without HTTP: what another client does behind the back of the one under test. */
  readonly api: Api
  readonly registry: Registry
  readonly trouble: Trouble
  readonly clock: Clock
  readonly watches: Watches
  /** Refuses connections until `comeBack`, as an API server that is away; the controllers go on. */
  goAway(): Promise<void>
  comeBack(): Promise<void>
  /** Forgets what changed: open watches end with 410 Gone, and so does the next one that starts from the past. */
  forget(): void
  /** Another client's change of an object, by its plural name and `namespace/name`. */
  change(key: string, name: string, edit: (object: Obj) => void): Obj
  stop(): Promise<void>
}

/** What a cluster runs, whether or not its API server can be reached. */
function run(o: ClusterOptions, clock: Clock, registry: Registry) {
  const store = new Store()
  const api = new Api(store, new Resources(o.minor), clock)
  const manager = startControllers(api, o.backoffMs ?? 500)
  const scheduler = new Scheduler(api)
  const kubelets = new Kubelets(api, registry, o.backoffMs ?? 500)
  enforcePodSecurity(api)
  enforceLimits(api)
  furnish(api, o)
  return {
    store,
    api,
    kubelets,
    async stop() {
      scheduler.stop()
      manager.stop()
      await kubelets.stop()
      clock.stop()
      blame(manager)
    },
  }
}

/** An API server with its controllers, scheduler and kubelets in this process: a stand-in for a 1.33 cluster. */
export async function startCluster(o: ClusterOptions = {}): Promise<Cluster> {
  const [clock, registry, trouble] = [new Clock(), new Registry(), new Trouble()]
  for (const [reference, spec] of Object.entries(o.images ?? {})) registry.push(reference, spec)
  const cluster = run(o, clock, registry)
  const { store, api, kubelets } = cluster
  const watches = new Watches(store, clock, o.bookmarkMs ?? 60_000)
  const tls = await certificate()
  const who = { context: o.context ?? 'stand-in', user: 'backout', token: randomBytes(24).toString('hex') }
  const logs: ApiParts['logs'] = (target, query, response) => serveLogs(api, kubelets, target, query, response)
  const server = new ApiServer({ api, lists: new Lists(store), watches, trouble, ...who, tls, logs })
  await server.listen()
  const { url } = server
  return {
    url,
    kubeconfig: await writeKubeconfig({ certificate: tls, url, ...who, namespace: 'default' }),
    context: who.context,
    token: who.token,
    api,
    registry,
    trouble,
    clock,
    watches,
    goAway: () => server.close(),
    comeBack: () => server.listen(),
    forget() {
      store.compact()
      watches.expire()
    },
    change: (key, name, edit) => change(api, key, name, edit),
    async stop() {
      await server.close()
      await rm(tls.dir, { recursive: true, force: true })
      await cluster.stop()
    },
  }
}

/** A mistake in the stand-in's own controllers fails the test that met it. */
function blame(manager: ControllerManager): void {
  if (manager.failures.length > 0) throw new AggregateError(manager.failures, 'the controllers of the stand-in failed')
}

function change(api: Api, key: string, name: string, edit: (object: Obj) => void): Obj {
  const resource = api.resources.key(key.includes('/') ? key : `/${key}`)
  const [namespace, own] = name.includes('/') ? name.split('/') : [undefined, name]
  const object = structuredClone(api.get(resource, namespace, own ?? ''))
  edit(object)
  return api.update(resource, object, { manager: 'another-client' })
}

function furnish(api: Api, o: ClusterOptions): void {
  const namespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease', ...(o.namespaces ?? [])]
  const by = { manager: 'kube-apiserver' }
  const make = (name: string): Obj => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  for (const name of namespaces) api.create(api.resources.key('/namespaces'), undefined, make(name), by)
  const definitions = api.resources.key('apiextensions.k8s.io/customresourcedefinitions')
  for (const name of o.definitions ?? []) api.create(definitions, undefined, definition(name), by)
  for (let i = 1; i <= (o.nodes ?? 2); i += 1) {
    const name = `node-${i}`
    const kind = api.resources.key('/nodes')
    const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' }
    const taints = [{ key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' }]
    const spec = o.controlPlane === true && i === 1 ? { taints } : {}
    api.create(kind, undefined, { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec }, by)
    const room = { cpu: '4', memory: '8Gi', pods: '110' }
    const conditions = [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }]
    const node = api.get(kind, undefined, name)
    api.update(kind, { ...node, status: { capacity: room, allocatable: room, conditions } }, by, 'status')
  }
}
