import { type Api } from './api.ts'
import { suffix } from './names.ts'
import { type Resource } from './resources.ts'
import { at, type Fields, isFields, type Meta, type Obj, omit, type Pod, same } from './types.ts'

const TEMPLATE_GENERATION = 'deprecated.daemonset.template.generation'
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** What a new object gets or loses before it is stored: the strategies' PrepareForCreate, and the admission of pods. */
export function prepare(resource: Resource, object: Obj, api: Api): void {
  delete object.metadata.deletionTimestamp
  delete object.metadata.deletionGracePeriodSeconds
  if (resource.subresources.includes('status')) object.status = {}
  if (object.kind === 'Namespace') {
    object.spec = { finalizers: ['kubernetes'] }
    object.status = { phase: 'Active' }
    object.metadata.labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name }
  }
  if (object.kind === 'Pod') preparePod(object as Pod)
  if (object.kind === 'Service') prepareService(object, api)
  if (object.kind === 'DaemonSet')
    object.metadata.annotations = { ...object.metadata.annotations, [TEMPLATE_GENERATION]: '1' }
  if (resource.custom && isFields(object.status) && Object.keys(object.status).length === 0) delete object.status
}

function preparePod(pod: Pod): void {
  pod.status = { phase: 'Pending', qosClass: qosOf(pod) }
  if (!isFields(pod.spec)) return
  if (isGated(pod)) pod.status.conditions = [GATED]
  pod.spec.serviceAccountName ??= 'default'
  pod.spec['serviceAccount'] ??= pod.spec.serviceAccountName
  pod.spec['priority'] ??= 0
  pod.spec['preemptionPolicy'] ??= 'PreemptLowerPriority'
  pod.spec['tolerations'] ??= ['not-ready', 'unreachable'].map(taint => ({
    key: `node.kubernetes.io/${taint}`,
    operator: 'Exists',
    effect: 'NoExecute',
    tolerationSeconds: 300,
  }))
  if (pod.spec['automountServiceAccountToken'] === false) return
  const name = `kube-api-access-${suffix(5)}`
  const sources = [{ serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }]
  pod.spec.volumes = [...(pod.spec.volumes ?? []), { name, projected: { sources, defaultMode: 420 } }]
  for (const container of pod.spec.containers ?? []) {
    const mounts = (container['volumeMounts'] ?? []) as Fields[]
    container['volumeMounts'] = [...mounts, { name, readOnly: true, mountPath: ACCOUNT }]
  }
}

const GATED = {
  type: 'PodScheduled',
  status: 'False' as const,
  reason: 'SchedulingGated',
  message: 'Scheduling is blocked due to non-empty scheduling gates',
  lastProbeTime: null,
  lastTransitionTime: null,
}

/** Somebody has yet to let it have a node (GA in 1.30). */
export function isGated({ spec }: Pod): boolean {
  return Array.isArray(spec['schedulingGates']) && spec['schedulingGates'].length > 0
}

function qosOf(pod: Pod): string {
  const resources = (pod.spec?.containers ?? []).map(container => container.resources ?? {})
  if (resources.every(one => one.limits === undefined && one.requests === undefined)) return 'BestEffort'
  const full = resources.every(one => one.limits?.['cpu'] !== undefined && one.limits['memory'] !== undefined)
  return full && resources.every(one => one.requests === undefined || same(one.requests, one.limits))
    ? 'Guaranteed'
    : 'Burstable'
}

function prepareService(service: Obj, api: Api): void {
  service.status = { loadBalancer: {} }
  const spec = (service.spec ??= {}) as Fields
  if (spec['type'] === 'ExternalName') return
  spec['clusterIP'] ??= `10.96.${(api.store.revision >> 8) & 255}.${api.store.revision & 255}`
  spec['clusterIPs'] ??= [spec['clusterIP']]
  spec['ipFamilies'] ??= ['IPv4']
  spec['ipFamilyPolicy'] ??= 'SingleStack'
}

const CARRIED = ['uid', 'creationTimestamp', 'deletionTimestamp', 'deletionGracePeriodSeconds', 'generation'] as const

/** What an update may not touch is carried over, and the generation raised where the strategy says so. */
export function prepareUpdate(resource: Resource, before: Obj, body: Obj, subresource: string | undefined): Obj {
  const after = subresource === 'status' ? statusOnly(resource, before, body) : specOnly(resource, before, body)
  const metadata: Meta = { ...after.metadata, name: before.metadata.name }
  if (before.kind === 'DaemonSet')
    metadata.annotations = { ...metadata.annotations, [TEMPLATE_GENERATION]: templates(before, after) }
  const carried = metadata as unknown as Record<string, unknown>
  for (const field of ['namespace', ...CARRIED] as const) {
    if (before.metadata[field] === undefined) delete carried[field]
    else carried[field] = before.metadata[field]
  }
  if (body.metadata.managedFields !== undefined) metadata.managedFields = body.metadata.managedFields
  else if (before.metadata.managedFields !== undefined) metadata.managedFields = before.metadata.managedFields
  if (subresource !== 'status' && raises(resource, before, after))
    metadata.generation = (before.metadata.generation ?? 0) + 1
  return { ...after, metadata }
}

/** A DaemonSet counts its templates in an annotation, for clients of an API that is long gone. */
function templates(before: Obj, after: Obj): string {
  const last = Number(before.metadata.annotations?.[TEMPLATE_GENERATION] ?? 1)
  return String(same(at(before.spec, 'template'), at(after.spec, 'template')) ? last : last + 1)
}

function specOnly(resource: Resource, before: Obj, body: Obj): Obj {
  const after = { ...body }
  if (!resource.subresources.includes('status')) return after
  if (before.status === undefined) delete after.status
  else after.status = before.status
  if (resource.kind === 'Service') keepAddress(before, after)
  return after
}

/** A service keeps the address it was given where an update leaves it out. */
function keepAddress(before: Obj, after: Obj): void {
  const old = before.spec as Fields
  const spec = { ...(after.spec as Fields) }
  for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) spec[field] ??= old[field]
  after.spec = spec
}

/** Labels of built-in objects are not changed through their status either; annotations are. */
function statusOnly(resource: Resource, before: Obj, body: Obj): Obj {
  if (resource.custom) return { ...before, status: body.status }
  const { labels: _, ...metadata } = body.metadata
  const { labels } = before.metadata
  return { ...before, status: body.status, metadata: { ...metadata, ...(labels === undefined ? {} : { labels }) } }
}

function raises(resource: Resource, before: Obj, after: Obj): boolean {
  if (resource.generation === 'none') return false
  if (resource.generation === 'all-but-status') {
    return !same(omit(before, 'metadata', 'status'), omit(after, 'metadata', 'status'))
  }
  if (!same(before.spec, after.spec)) return true
  const annotations = (one: Obj): unknown => one.metadata.annotations ?? {}
  return resource.generation === 'spec-and-annotations' && !same(annotations(before), annotations(after))
}
