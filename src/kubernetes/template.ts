import type { Vault } from '../core/contract.ts'
import { canonical } from '../core/json.ts'
import type { Container, Pod, Template } from './api/objects.ts'

/** Marks of Backout on objects and templates. */
export const RESTARTED = 'backout.dev/restarted'
/** Put on what a run has halted: a partition or an OnDelete could be the user's own. */
export const HALTED = 'backout.dev/halted'
/**
 * Put on what reads a ConfigMap or Secret before that goes back: its pods are to be made anew, whatever becomes of the run. It
 * names what goes back, and the revisions that had pods then: those that came later have read it.
 */
export const DUE = 'backout.dev/restart-due'
/** Put on a ConfigMap or Secret that the release did not have: the step that took its content away. */
export const EMPTIED = 'backout.dev/emptied'
/** The revision that a step left, and a fingerprint of the template that it wrote: the one says nothing without the other. */
export const LEFT = 'backout.dev/left'
export const WROTE = 'backout.dev/wrote'
export const RELEASE = 'backout.dev/release'

/** Put there by controllers: they say nothing of what runs. */
const HASH_LABELS = [
  'pod-template-hash',
  'rollouts-pod-template-hash',
  'controller-revision-hash',
  'pod-template-generation',
]
/** Put there to have pods made anew. */
const RESTART_MARKS = ['kubectl.kubernetes.io/restartedAt', RESTARTED]

/**
 * Marks the pods that a step makes anew. A mark of the same step that was there when it was planned is of an earlier plan of
 * its run, and says nothing.
 */
export function restartMark(idem: string, after: string | null): string {
  return after?.startsWith(idem) === true ? `${after}+` : idem
}

/** A template without what controllers add to it. */
export function bare(template: Template): Template {
  const { labels, annotations, ...metadata } = template.metadata ?? {}
  const { creationTimestamp: _, ...rest } = metadata
  return {
    ...template,
    metadata: { ...rest, ...without('labels', labels, HASH_LABELS), ...without('annotations', annotations, []) },
  }
}

function without(
  field: string,
  entries: Record<string, string> | undefined,
  names: readonly string[],
): Record<string, Record<string, string>> {
  const left = Object.entries(entries ?? {}).filter(([name]) => !names.includes(name))
  return left.length === 0 ? {} : { [field]: Object.fromEntries(left) }
}

/** What tells templates apart, but for their images: keyed, for people put secrets into them. */
export function macOf(template: Template, vault: Vault): string {
  const { metadata, ...rest } = bare(template)
  const { annotations, ...more } = metadata ?? {}
  const blank = (containers: readonly Container[]) => containers.map(c => ({ ...c, image: '' }))
  const { containers, initContainers } = rest.spec
  const spec = {
    ...rest.spec,
    containers: blank(containers),
    ...(initContainers === undefined ? {} : { initContainers: blank(initContainers) }),
  }
  const marks = without('annotations', annotations, RESTART_MARKS)
  return vault.mac(Buffer.from(canonical({ ...rest, metadata: { ...more, ...marks }, spec })))
}

export function containersOf(template: { spec: Template['spec'] }): Container[] {
  return [...(template.spec.initContainers ?? []), ...template.spec.containers]
}

/** Of an init container: it stays beside the others, instead of running before them to its end (since 1.28). */
export function isSidecar({ restartPolicy }: Container): boolean {
  return restartPolicy === 'Always'
}

/** Those that run as long as their pod. */
export function stayingIn({ initContainers = [], containers }: Template['spec']): Container[] {
  return [...initContainers.filter(isSidecar), ...containers]
}

/** Image of each container, as the template names it. */
export function refsOf(template: Template): Record<string, string> {
  return Object.fromEntries(containersOf(template).map(c => [c.name, c.image ?? '']))
}

/** The same template with other images. */
export function withImages(template: Template, images: Readonly<Record<string, string>>): Template {
  const set = (c: Container): Container => ({
    ...c,
    ...(images[c.name] === undefined ? {} : { image: images[c.name] }),
  })
  const { containers, initContainers } = template.spec
  const init = initContainers === undefined ? {} : { initContainers: initContainers.map(set) }
  return { ...template, spec: { ...template.spec, containers: containers.map(set), ...init } }
}

/** "sha256:…" of what a node says that it runs, or of a reference that has one; null where there is none. */
export function digestOf(image: string): string | null {
  return /sha256:[0-9a-f]{64}$/.exec(image)?.[0] ?? null
}

/**
 * A reference that names the very image. A digest under another name, or under none, is that of an image which was loaded by
 * hand: it cannot be asked of that registry, so the reference stays as it is.
 */
export function pinnedRef(ref: string, imageID: string | undefined): string {
  if (imageID === undefined || ref.includes('@') || !imageID.includes('@')) return ref
  const digest = digestOf(imageID)
  return digest === null || repositoryOf(ref) !== repositoryOf(imageID) ? ref : `${ref}@${digest}`
}

/** "shop:1" is docker.io/library/shop, as nodes call it. */
function repositoryOf(ref: string): string {
  const [bare = ''] = ref.split('@')
  const path = bare.replace(/:[^:/]+$/, '')
  const [host = '', ...rest] = path.split('/')
  const named = rest.length > 0 && (/[.:]/.test(host) || host === 'localhost')
  const full = named ? path : `docker.io/${path}`
  return /^docker\.io\/[^/]+$/.test(full) ? full.replace('docker.io/', 'docker.io/library/') : full
}

/** What runs in each container of these pods, as nodes name it. */
export function runningIn(pods: readonly Pod[]): Record<string, string[]> {
  const found: Record<string, Set<string>> = {}
  for (const { status } of pods) {
    for (const { name, imageID } of [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]) {
      if (!imageID) continue
      found[name] ??= new Set()
      found[name].add(imageID.replace(/^docker(-pullable)?:\/\//, ''))
    }
  }
  return Object.fromEntries(Object.entries(found).map(([name, ids]) => [name, [...ids].sort()]))
}

export interface Reference {
  /** "configmap/shop", "secret/shop-db". */
  readonly id: string
  /** Pods start without it. */
  readonly optional: boolean
}

/** What the cluster publishes in each namespace and keeps as it is to be: no release has it, and what is put back is undone. */
const PUBLISHED = ['configmap/kube-root-ca.crt', 'configmap/openshift-service-ca.crt']

export function isPublished(id: string): boolean {
  return PUBLISHED.includes(id)
}

/** ConfigMaps and Secrets that pods of this template read, and that may be another release's. */
export function referencesOf(template: Template): Reference[] {
  const found = new Map<string, boolean>()
  const add = (kind: string, name: string | undefined, optional: boolean | undefined) => {
    if (name === undefined || name === '') return
    const id = `${kind}/${name}`
    if (isPublished(id)) return
    found.set(id, (found.get(id) ?? true) && optional === true)
  }
  for (const { env = [], envFrom = [] } of containersOf(template)) {
    for (const { configMapRef, secretRef } of envFrom) {
      add('configmap', configMapRef?.name, configMapRef?.optional)
      add('secret', secretRef?.name, secretRef?.optional)
    }
    for (const { valueFrom } of env) {
      add('configmap', valueFrom?.configMapKeyRef?.name, valueFrom?.configMapKeyRef?.optional)
      add('secret', valueFrom?.secretKeyRef?.name, valueFrom?.secretKeyRef?.optional)
    }
  }
  for (const { configMap, secret, projected } of template.spec.volumes ?? []) {
    add('configmap', configMap?.name, configMap?.optional)
    add('secret', secret?.secretName, secret?.optional)
    for (const source of projected?.sources ?? []) {
      add('configmap', source.configMap?.name, source.configMap?.optional)
      add('secret', source.secret?.name, source.secret?.optional)
    }
  }
  return [...found].map(([id, optional]) => ({ id, optional })).sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Paths at which two templates differ, without the values: they may be secrets. */
export function differingPaths(a: unknown, b: unknown, at = ''): string[] {
  if (canonical(a ?? null) === canonical(b ?? null)) return []
  const isObject = (v: unknown): v is Record<string, unknown> => v !== null && typeof v === 'object'
  if (!isObject(a) || !isObject(b)) return [at]
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].flatMap(key =>
    differingPaths(a[key], b[key], at === '' ? nameAt(a, b, key) : `${at}.${nameAt(a, b, key)}`),
  )
}

/** Items of lists are called by their names: containers, variables, volumes. */
function nameAt(a: Record<string, unknown>, b: Record<string, unknown>, key: string): string {
  const item = (Array.isArray(a) ? a[Number(key)] : undefined) ?? (Array.isArray(b) ? b[Number(key)] : undefined)
  const name = (item as { name?: unknown } | undefined)?.name
  return typeof name === 'string' ? name : key
}
