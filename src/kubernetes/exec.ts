import { createHash } from 'node:crypto'
import { systemClock } from '../core/clock.ts'
import type { ExecAct, ExecLeft, ExecResult, Vault } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import {
  type Container,
  corePath,
  type KubeObject,
  ownedBy,
  type Pod,
  type Template,
  type Workload,
} from './api/objects.ts'
import { until } from './api/watch.ts'
import { noContainer, notBegun, releaseUnknown, repeated, timedOut, vanished } from './exec-errors.ts'
import { fingerprint } from './goals.ts'
import { currentOf, look, type Revision, type Seen } from './look.ts'
import type { Site } from './site.ts'
import { ended, isLive, troubleOf } from './status.ts'
import { asReleased } from './stopped.ts'
import { LEFT, pinnedRef, RELEASE, runningIn, WROTE } from './template.ts'
import { devicesOf, withoutClaims } from './volumes.ts'

interface Job extends KubeObject {
  spec: { template: Template }
  status?: { conditions?: { type: string; status: string; reason?: string; message?: string }[] }
}

/** Kept so long after its end where nobody fetched its result. */
const KEPT_S = 86_400

/**
 * Runs a command as a Job from the image of the release that is left or gone back to, with what its pods have: environment,
 * volumes, account. The Job is named by the step, so that another process finds it instead of beginning a second one.
 */
export async function exec(
  site: Site,
  side: 'from' | 'to',
  argv: readonly string[],
  act: ExecAct,
): Promise<ExecResult> {
  const name = nameOf(act.idem)
  const path = `/apis/batch/v1/namespaces/${site.namespace}/jobs`
  await unlessGoing(site, `${path}/${name}`, act)
  await begin(site, side, name, argv, act)
  const limit = AbortSignal.timeout(act.limitMs ?? site.config.limits.exec)
  try {
    return await result(site, name, AbortSignal.any([act.signal, limit]), act)
  } catch (error) {
    const over = error instanceof BackoutError && ['exec_stuck', 'exec_repeated'].includes(error.code)
    if (!act.signal.aborted && !limit.aborted && !over) throw error
    // Nobody waits for it any more: it must not go on by itself.
    await site.client.remove(
      `${path}/${name}`,
      { propagation: 'Foreground' },
      AbortSignal.timeout(site.config.limits.api),
    )
    act.signal.throwIfAborted()
    throw over ? error : timedOut(name, argv)
  }
}

function nameOf(idem: string): string {
  return `backout-${createHash('sha256').update(idem).digest('hex').slice(0, 20)}`
}

/** One that is being deleted is alive until it is gone: its pod goes first. */
export async function execLeft(site: Site, idem: string, signal: AbortSignal): Promise<ExecLeft | null> {
  const name = nameOf(idem)
  const job = (await site.client.get(`/apis/batch/v1/namespaces/${site.namespace}/jobs/${name}`, signal)) as Job | null
  if (job === null) return null
  const label = `?labelSelector=${encodeURIComponent(`backout.dev/job=${name}`)}`
  const listed = await site.client.list(`${corePath(site.namespace, 'pods')}${label}`, signal)
  const pods = podsOf(job, listed?.items ?? [])
  const ends = pods.map(pod => stateOf(pod, job.spec.template.spec.containers[0]?.name ?? '')?.terminated)
  const what = `the Job ${name} in ${site.namespace}`
  const endedBy = `kubectl -n ${site.namespace} delete job ${name}`
  if (job.metadata.deletionTimestamp !== undefined) return { what, alive: true, code: null }
  if (ends.length > 0 && ends.every(end => end !== undefined)) {
    // Of one that was begun a second time nobody can tell.
    return { what, alive: false, code: ends.length === 1 ? (ends[0]?.exitCode ?? null) : null }
  }
  return { what, alive: endOf(job.status) === undefined || pods.some(pod => !ended(pod)), code: null, endedBy }
}

function endOf(status: Job['status']) {
  return status?.conditions?.find(c => c.status === 'True' && ['Complete', 'Failed'].includes(c.type))
}

/** One of that name that is being deleted has been read: it is gone before the next begins. */
async function unlessGoing(site: Site, path: string, act: ExecAct): Promise<void> {
  const there = await site.client.get(path, act.signal)
  if (there?.metadata.deletionTimestamp === undefined) return
  const { signal } = act
  const field = `?fieldSelector=${encodeURIComponent(`metadata.name=${there.metadata.name}`)}`
  const collection = path.slice(0, path.lastIndexOf('/'))
  await until({ client: site.client, signal, awayMs: site.config.limits.away }, [`${collection}${field}`], jobs =>
    jobs.some(j => j.metadata.uid === there.metadata.uid) ? null : true,
  )
}

async function artefact(site: Site, side: 'from' | 'to', act: ExecAct): Promise<Artefact> {
  const world = await look(site, act.signal)
  const { container } = site.config
  const { vault } = site.ctx
  for (const seen of world.objects) {
    const found = side === 'from' ? left(seen, vault, act) : goneBackTo(seen, vault, act)
    // The container may be that of one object among several.
    const has = container === undefined || found?.template.spec.containers.some(c => c.name === container)
    if (found !== null && has) return found
  }
  throw releaseUnknown(site, side)
}

type Artefact = Pick<Revision, 'template' | 'pods'>

/** Before the object is put back what it asks for; afterwards the revision that this left. */
function left(seen: Seen, vault: Vault, act: ExecAct): Artefact | null {
  if (seen.object === null) return null
  const name = leftBehind(seen, seen.object, vault, act)
  if (name !== null) {
    const found = seen.revisions.find(r => r.name === name)
    return found === undefined ? null : { ...found, template: asReleased(found.template) }
  }
  return { template: asReleased(seen.object.spec.template), pods: currentOf(seen)?.pods ?? [] }
}

function goneBackTo(seen: Seen, vault: Vault, act: ExecAct): Artefact | null {
  if (seen.object === null || leftBehind(seen, seen.object, vault, act) === null) return null
  return currentOf(seen)
}

/**
 * The revision that a step of Backout left on the way to this release; null where none did, where it was on the way to another
 * release, which is what is left now, or where somebody put something else there since.
 */
function leftBehind(seen: Seen, { metadata, spec }: Workload, vault: Vault, { release }: ExecAct): string | null {
  const { [LEFT]: name, [WROTE]: wrote, [RELEASE]: towards } = metadata.annotations ?? {}
  if (name === undefined || release === undefined || towards !== release) return null
  if (wrote !== fingerprint(asReleased(spec.template), vault)) return null
  return name === currentOf(seen)?.name ? null : name
}

function jobOf(
  site: Site,
  name: string,
  template: Template,
  pods: readonly Pod[],
  argv: readonly string[],
  act: ExecAct,
): KubeObject {
  const { spec } = template
  const wanted = site.config.container
  const base = spec.containers.find(c => wanted === undefined || c.name === wanted)
  if (base === undefined) throw noContainer(site, wanted)
  const secret = secretOf(site, name, act.env ?? {})
  const metadata = {
    name,
    namespace: site.namespace,
    labels: { 'app.kubernetes.io/managed-by': 'backout' },
    annotations: { 'backout.dev/step': act.idem },
  }
  const { initContainers: _, containers: __, volumes = [], ...pod } = spec
  const mounting = withoutClaims(base, volumes)
  const container = containerOf(mounting, runningIn(pods.filter(isLive))[base.name], argv, secret)
  const used = new Set([...(container.volumeMounts ?? []), ...devicesOf(container)].map(m => m.name))
  const podSpec = {
    ...pod,
    restartPolicy: 'Never',
    containers: [container],
    volumes: volumes.filter(v => used.has(v.name)),
  }
  // A mesh of now heeds the label, one of before the annotation.
  const istio = { 'sidecar.istio.io/inject': 'false' }
  const meta = {
    labels: { 'app.kubernetes.io/managed-by': 'backout', 'backout.dev/job': name, ...istio },
    annotations: { ...istio, 'linkerd.io/inject': 'disabled' },
  }
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata,
    spec: { backoffLimit: 0, ttlSecondsAfterFinished: KEPT_S, template: { metadata: meta, spec: podSpec } },
  }
}

/** What a command that runs once has no use for, or may not have: a container that is not restarted is not resized so either. */
const OF_SERVERS = ['livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle', 'ports', 'resizePolicy']

function containerOf(
  base: Container,
  ids: string[] | undefined,
  argv: readonly string[],
  secret: KubeObject | null,
): Container {
  const kept = Object.fromEntries(Object.entries(base).filter(([field]) => !OF_SERVERS.includes(field)))
  const envFrom =
    secret === null ? base.envFrom : [...(base.envFrom ?? []), { secretRef: { name: secret.metadata.name } }]
  // A variable of the same name in `env` would win over what the step gives.
  const given = Object.keys((secret?.['stringData'] ?? {}) as object)
  const env = (base.env ?? []).filter(e => !given.includes(e.name))
  const image = ids?.length === 1 ? pinnedRef(base.image ?? '', ids[0]) : (base.image ?? '')
  return {
    ...kept,
    name: base.name,
    image,
    command: [...argv],
    args: [],
    env,
    ...(envFrom === undefined ? {} : { envFrom }),
  }
}

/** What a step gives its command may be secret: it goes there as a Secret that belongs to the Job. */
function secretOf(site: Site, name: string, env: Readonly<Record<string, string>>): KubeObject | null {
  if (Object.keys(env).length === 0) return null
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: site.namespace },
    type: 'Opaque',
    stringData: env,
  }
}

/** The Job first, whose pod waits for its Secret: it belongs to the Job, and goes with it. */
async function begin(
  site: Site,
  side: 'from' | 'to',
  name: string,
  argv: readonly string[],
  act: ExecAct,
): Promise<void> {
  const path = `/apis/batch/v1/namespaces/${site.namespace}/jobs`
  let job = await site.client.get(`${path}/${name}`, act.signal)
  if (job === null) {
    const { template, pods } = await artefact(site, side, act)
    act.signal.throwIfAborted()
    act.guard()
    job = await site.client.post(path, jobOf(site, name, template, pods, argv, act), act.signal)
  }
  const secret = secretOf(site, name, act.env ?? {})
  const secrets = corePath(site.namespace, 'secrets')
  if (secret === null || (await site.client.get(`${secrets}/${name}`, act.signal)) !== null) return
  const owner = { apiVersion: 'batch/v1', kind: 'Job', name, uid: job.metadata.uid }
  act.guard()
  const owned = { ...secret, metadata: { ...secret.metadata, ownerReferences: [owner] } }
  await site.client.post(secrets, owned, act.signal)
}

async function result(site: Site, name: string, signal: AbortSignal, act: ExecAct): Promise<ExecResult> {
  const jobs = `/apis/batch/v1/namespaces/${site.namespace}/jobs`
  const field = `?fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`
  const label = `?labelSelector=${encodeURIComponent(`backout.dev/job=${name}`)}`
  const following = { client: site.client, signal, awayMs: site.config.limits.away }
  let since: number | null = null
  const known = new Set<string>()
  const { pod, container } = await until(
    following,
    [`${jobs}${field}`, `${corePath(site.namespace, 'pods')}${label}`],
    ([job], near) => {
      if (job === undefined) throw vanished(name)
      const pods = podsOf(job, near)
      const { spec, status } = job as Job
      const over = endOf(status)
      for (const { metadata } of pods) known.add(metadata.uid ?? metadata.name)
      if (known.size > 1) throw repeated(name)
      const [own] = pods
      // What is added to its pod on the way (a mesh does that) may never end: its own container counts.
      const container = spec.template.spec.containers[0]?.name ?? ''
      const state = stateOf(own, container)
      const done = over !== undefined || state?.terminated !== undefined
      const trouble = own === undefined ? null : troubleOf(own)
      if (trouble !== null && !done) act.progress({ text: `${trouble.pod}: ${trouble.reason} ${trouble.message}` })
      // It has a node, and what it is to run cannot be had: its command has not begun.
      const waits = trouble !== null && state?.waiting !== undefined
      since = waits ? (since ?? systemClock.mono()) : null
      if (since !== null && systemClock.mono() - since >= site.config.limits.stuck) throw notBegun(name, trouble)
      if (over !== undefined && own === undefined) throw vanished(name, over.message)
      return done && own !== undefined ? { pod: own, container } : null
    },
  )
  const code = stateOf(pod, container)?.terminated?.exitCode
  if (code === undefined) throw vanished(name, troubleOf(pod)?.message)
  const path = `${corePath(site.namespace, 'pods', pod.metadata.name)}/log?container=${container}`
  const log = await site.client.log(path, signal)
  // Read: the next attempt of the step begins one of its own.
  await site.client.remove(`${jobs}/${name}`, { propagation: 'Background' }, signal)
  // What counts is how it ended.
  return { code, stdout: log ?? '', stderr: log === null ? 'its output was thrown away with its pod' : '' }
}

/** Those of an earlier attempt, whose Job had the same name, may still be there. */
function podsOf(job: KubeObject, near: readonly KubeObject[]): Pod[] {
  return (near as Pod[]).filter(pod => ownedBy(pod, job))
}

function stateOf(pod: Pod | undefined, container: string) {
  return pod?.status?.containerStatuses?.find(({ name }) => name === container)?.state
}
