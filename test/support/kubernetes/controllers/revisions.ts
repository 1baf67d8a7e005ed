import { type Api } from '../api.ts'
import { shortHash } from '../names.ts'
import { ApiError } from '../status.ts'
import { copy, type Deployment, type PodTemplate, type ReplicaSet, same } from '../types.ts'
import { create, ownerReference, write } from './owned.ts'

export const REVISION = 'deployment.kubernetes.io/revision'
const HISTORY = 'deployment.kubernetes.io/revision-history'
export const DESIRED = 'deployment.kubernetes.io/desired-replicas'
const MAX = 'deployment.kubernetes.io/max-replicas'
const HASH = 'pod-template-hash'
/** Annotations that a deployment does not pass on to its ReplicaSets (deployment_util.go: annotationsToSkip). */
const SKIPPED = [
  'kubectl.kubernetes.io/last-applied-configuration',
  REVISION,
  HISTORY,
  DESIRED,
  MAX,
  'deprecated.deployment.rollback.to',
]

export function revisionOf(object: { metadata: { annotations?: Record<string, string> } }): number {
  return Number(object.metadata.annotations?.[REVISION] ?? 0)
}

/** The oldest ReplicaSet with the deployment's template, if there is one. */
export function findNew(deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort(byAge).find(set => same(withoutHash(set.spec.template), withoutHash(deployment.spec.template)))
}

export function byAge(a: ReplicaSet, b: ReplicaSet): number {
  const [first, second] = [a.metadata.creationTimestamp ?? '', b.metadata.creationTimestamp ?? '']
  return first === second ? a.metadata.name.localeCompare(b.metadata.name) : first.localeCompare(second)
}

function withoutHash(template: PodTemplate): unknown {
  const { [HASH]: _, ...labels } = template.metadata?.labels ?? {}
  return { ...template, metadata: { ...template.metadata, labels } }
}

/** Brings the new ReplicaSet's revision to the highest plus one: an old one that is used again is renumbered. */
export function renumbered(deployment: Deployment, set: ReplicaSet, sets: readonly ReplicaSet[]): ReplicaSet {
  const highest = Math.max(0, ...sets.filter(other => other !== set).map(revisionOf))
  const annotations = passedOn(deployment, set.metadata.annotations ?? {})
  const old = annotations[REVISION]
  const wanted = String(highest + 1)
  if (Number(old ?? 0) < highest + 1) {
    annotations[REVISION] = wanted
    if (old !== undefined) annotations[HISTORY] = [annotations[HISTORY], old].filter(one => one !== undefined).join(',')
  }
  return { ...set, metadata: { ...set.metadata, annotations } }
}

function passedOn(deployment: Deployment, own: Record<string, string>): Record<string, string> {
  const own_ = { ...own }
  for (const [key, value] of Object.entries(deployment.metadata.annotations ?? {})) {
    if (!SKIPPED.includes(key)) own_[key] = value
  }
  return own_
}

export function replicaAnnotations(deployment: Deployment, surge: number): Record<string, string> {
  return { [DESIRED]: String(deployment.spec.replicas), [MAX]: String(deployment.spec.replicas + surge) }
}

export type Made = { set: ReplicaSet } | { collision: true } | { error: ApiError }

/** Makes the ReplicaSet of a template that has none. */
export function makeNew(
  api: Api,
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  o: { replicas: number; surge: number },
): Made {
  const hash = shortHash([withoutHash(deployment.spec.template), deployment.status.collisionCount ?? 0])
  const template = copy(deployment.spec.template)
  template.metadata = { ...template.metadata, labels: { ...template.metadata?.labels, [HASH]: hash } }
  const selector = copy(deployment.spec.selector)
  selector.matchLabels = { ...selector.matchLabels, [HASH]: hash }
  const highest = Math.max(0, ...sets.map(revisionOf))
  const kind = api.resources.key('apps/replicasets')
  const name = `${deployment.metadata.name}-${hash}`
  try {
    const set = create(api, kind, deployment.metadata.namespace, {
      metadata: {
        name,
        labels: template.metadata.labels,
        annotations: {
          ...passedOn(deployment, {}),
          ...replicaAnnotations(deployment, o.surge),
          [REVISION]: String(highest + 1),
        },
        ownerReferences: [ownerReference(deployment)],
      },
      spec: {
        replicas: o.replicas,
        selector,
        template,
        ...(deployment.spec.minReadySeconds === undefined ? {} : { minReadySeconds: deployment.spec.minReadySeconds }),
      },
    })
    return { set: set as ReplicaSet }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return error.reason === 'AlreadyExists' ? { collision: true } : { error }
  }
}

/** Deletes the oldest ReplicaSets without pods beyond the limit (sync.go: cleanupDeployment). */
export function prune(api: Api, deployment: Deployment, old: readonly ReplicaSet[]): void {
  const kind = api.resources.key('apps/replicasets')
  const excess = old.length - deployment.spec.revisionHistoryLimit
  if (excess <= 0) return
  const idle = old.filter(
    set =>
      set.status.replicas === 0 &&
      set.spec.replicas === 0 &&
      (set.metadata.generation ?? 0) <= (set.status.observedGeneration ?? 0) &&
      set.metadata.deletionTimestamp === undefined,
  )
  const oldest = [...old].sort((a, b) => revisionOf(a) - revisionOf(b)).slice(0, excess)
  for (const set of oldest) {
    if (idle.includes(set))
      api.delete(kind, set.metadata.namespace, set.metadata.name, { propagationPolicy: 'Background' })
  }
}

export function saveSet(api: Api, set: ReplicaSet): ReplicaSet {
  return write(api, api.resources.key('apps/replicasets'), set)
}
