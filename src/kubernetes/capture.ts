import type { CaptureAct, Observation } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { apiVersionOf, type ConfigObject, type KubeObject, type Workload } from './api/objects.ts'
import { scaledBy } from './autoscalers.ts'
import { refuseUnavailable } from './available.ts'
import { besides, selectorsOf } from './beside.ts'
import { digestsOf } from './goals.ts'
import { haltedBy, strategyBefore } from './halt.ts'
import type { Seen, World } from './look.ts'
import { currentOf } from './look.ts'
import { sealManifests } from './manifests.ts'
import { autoscalersOf, boundsOf, configMac, contentOf, currentPods, isScaled, servicesOf, worldOf } from './observe.ts'
import type { KubernetesPin, PinnedConfig, PinnedObject } from './pin.ts'
import { portsOf } from './ports.ts'
import { refuseUnsettled } from './settled.ts'
import type { Site } from './site.ts'
import { asReleased, isHeldStopped, starting } from './stopped.ts'
import { bare, macOf, referencesOf, refsOf, runningIn } from './template.ts'

/** Writes down what runs: objects whole and sealed, by digest what their pods run, by hash what they read. */
export async function capture(site: Site, observed: Observation, act: CaptureAct): Promise<KubernetesPin> {
  const world = await worldOf(site, observed, act.signal)
  if (world.objects.length === 0) throw nothingThere(site)
  const objects: Record<string, PinnedObject> = {}
  const manifests: Record<string, KubeObject> = {}
  for (const seen of world.objects) {
    if (seen.object === null) {
      // A departure is captured whatever is there: what is gone cannot be come back to.
      if (act.purpose === 'departure') continue
      throw notThere(site, seen.id)
    }
    // A bad release is left as it is; only one that is well is worth coming back to.
    if (act.purpose === 'release') {
      refuseStopped(site, seen, seen.object)
      refuseUnavailable(seen.id, seen.object)
      refuseMixed(seen, seen.object)
    }
    objects[seen.id] = objectPin(world, seen, seen.object, act)
    manifests[seen.id] = manifestOf(seen, seen.object)
  }
  if (act.purpose === 'release') {
    await refuseUnsettled(
      world.objects.map(seen => ({ site, seen })),
      act.signal,
    )
  }
  const configs: Record<string, PinnedConfig> = {}
  for (const [id, object] of world.configs) {
    if (object !== null) configs[id] = await configPin(site, id, object, act)
  }
  return {
    identity: world.identity,
    server: site.client.session.server,
    objects,
    manifests: await sealManifests(manifests, `${site.component}: ${Object.keys(manifests).join(', ')}`, act.vault),
    configs,
    services: selectorsOf(world),
    ports: Object.fromEntries(servicesOf(world).map(s => [s.metadata.name, portsOf(s)])),
    beside: await besides(site, world, selectorsOf(world), act.signal),
    autoscalers: Object.fromEntries(
      autoscalersOf(world).map(a => [a.metadata.name, { ...boundsOf(a), target: scaledBy(a) }]),
    ),
  }
}

function objectPin(world: World, seen: Seen, object: Workload, act: CaptureAct): PinnedObject {
  const { template } = object.spec
  const running = runningIn(currentPods(seen))
  const images = Object.entries(refsOf(template)).map(
    ([name, ref]) => [name, { ref, ids: running[name] ?? [] }] as const,
  )
  const revision = currentOf(seen)
  const free = isScaled(world, seen.id) || seen.kind === 'DaemonSet'
  return {
    template: macOf(asReleased(template), act.vault),
    images: Object.fromEntries(images),
    replicas: free ? null : (object.spec.replicas ?? 1),
    ran: seen.kind === 'DaemonSet' ? null : (object.spec.replicas ?? 1),
    revision: revision === null ? null : String(revision.number),
    keeper: seen.kind === 'Rollout' ? (revision?.name ?? null) : null,
    configs: referencesOf(template).map(r => r.id),
  }
}

const NOT_OURS = [
  'kubectl.kubernetes.io/last-applied-configuration',
  'deployment.kubernetes.io/revision',
  'rollout.argoproj.io/revision',
  'deprecated.daemonset.template.generation',
]

/** The object without what the API server says of it. */
function manifestOf(seen: Seen, { metadata, spec }: Workload): KubeObject {
  const annotations = Object.entries(metadata.annotations ?? {}).filter(
    ([name]) => !NOT_OURS.includes(name) && !name.startsWith('backout.dev/'),
  )
  return {
    apiVersion: apiVersionOf(seen.kind),
    kind: seen.kind,
    metadata: {
      name: metadata.name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
      ...(annotations.length === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
    },
    spec: { ...spec, ...unhalted(seen, { metadata, spec }), template: bare(asReleased(spec.template)) },
  }
}

/** What a run stopped has no pods, and all of none are well. */
function refuseStopped({ namespace }: Site, { id, kind }: Seen, object: Workload): void {
  if (!isHeldStopped(object.spec.template)) return
  throw new BackoutError({
    code: 'object_stopped',
    what: `${id} cannot be captured: a run of Backout stopped it, and it has no pods since`,
    next: `have it run again, then capture again: ${starting(namespace, kind, object)}`,
    exit: 'moved',
  })
}

/**
 * Its tag was moved, and pods that were made since run another image: nobody can tell which of them is the release. A reference
 * by digest is the same image everywhere, whatever nodes of several architectures call it.
 */
function refuseMixed(seen: Seen, object: Workload): void {
  const pods = currentPods(seen)
  for (const [name, ref] of Object.entries(refsOf(object.spec.template))) {
    const running = pods.flatMap(pod => digestsOf(runningIn([pod])[name] ?? []))
    const images = [...new Set(running)].sort()
    if (images.length < 2 || ref.includes('@')) continue
    const shares = images.map(image => `${running.filter(one => one === image).length} of them ${image}`)
    throw new BackoutError({
      code: 'object_mixed',
      what: `${seen.id} cannot be captured: its pods run different images under ${ref}: ${shares.join(', ')}`,
      next: `find out which is the good one, and name it by its digest (\`kubectl set image ${seen.id} ${name}=NAME@sha256:…\`), then capture again`,
      exit: 'moved',
    })
  }
}

/** A halt of a run is no part of what is captured: it must not hold anything later. */
function unhalted({ kind }: Seen, object: Workload): Partial<Workload['spec']> {
  if (haltedBy({ ...object, kind }) === null) return {}
  if (kind === 'Deployment') return { paused: false }
  return strategyBefore({ ...object, kind })
}

async function configPin(site: Site, id: string, object: ConfigObject, act: CaptureAct): Promise<PinnedConfig> {
  const keys = [...Object.keys(object.data ?? {}), ...Object.keys(object.binaryData ?? {})].sort()
  const mac = configMac(object, act.vault) ?? ''
  // Made again it is as immutable as it was; in one that is there only the content is put back.
  const { immutable } = object
  const content = Buffer.from(JSON.stringify({ ...(contentOf(object) as object), immutable }))
  const sealed = goesBack(site, id) ? await act.vault.seal(content, `${site.component}: ${id}`) : null
  return { mac, sealed, keys }
}

/** Whether its content goes back with the release: a ConfigMap's does, a Secret's only where the settings say so. */
export function goesBack({ config }: Site, id: string): boolean {
  if (config.pinned.includes(id)) return true
  return id.startsWith('configmap/') && !config.current.includes(id)
}

function nothingThere(site: Site): BackoutError {
  return new BackoutError({
    code: 'object_missing',
    what: `No Deployment, StatefulSet or DaemonSet in ${site.namespace} has the labels ${site.config.selector}`,
    next: 'look at `selector:` and `namespace:` of the component',
    exit: 'blocked',
  })
}

function notThere(site: Site, id: string): BackoutError {
  return new BackoutError({
    code: 'object_missing',
    what: `There is no ${id} in ${site.namespace} to capture`,
    next: 'look at `objects:`, `namespace:` and `context:` of the component',
    exit: 'blocked',
  })
}
