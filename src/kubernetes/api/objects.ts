/** As much of the API's objects as Backout looks at. What is not named here is kept as it is. */
export interface KubeObject {
  apiVersion?: string
  kind?: string
  metadata: Metadata
  [field: string]: unknown
}

export interface Metadata {
  name: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string | null
  deletionTimestamp?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
  [field: string]: unknown
}

interface OwnerReference {
  apiVersion?: string
  kind: string
  name: string
  uid: string
  controller?: boolean
}

export interface KubeList {
  metadata: { resourceVersion?: string; continue?: string }
  items: KubeObject[]
}

export interface Container {
  name: string
  image?: string
  env?: EnvVar[]
  envFrom?: { configMapRef?: LocalRef; secretRef?: LocalRef }[]
  volumeMounts?: { name: string }[]
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> }
  /** Of an init container alone: `Always` makes a sidecar of it. */
  restartPolicy?: string
  [field: string]: unknown
}

interface LocalRef {
  name?: string
  optional?: boolean
}

export interface EnvVar {
  name: string
  valueFrom?: { configMapKeyRef?: LocalRef; secretKeyRef?: LocalRef }
  [field: string]: unknown
}

export interface Volume {
  name: string
  configMap?: LocalRef
  secret?: { secretName?: string; optional?: boolean }
  projected?: { sources?: { configMap?: LocalRef; secret?: LocalRef }[] }
  [field: string]: unknown
}

export interface PodSpec {
  containers: Container[]
  initContainers?: Container[]
  volumes?: Volume[]
  nodeSelector?: Record<string, string>
  [field: string]: unknown
}

export interface Template {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string>; [field: string]: unknown }
  spec: PodSpec
}

interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}

interface Condition {
  type: string
  status: string
  reason?: string
  message?: string
}

/** A Deployment, StatefulSet, DaemonSet or Rollout. */
export interface Workload extends KubeObject {
  spec: {
    replicas?: number
    paused?: boolean
    selector: LabelSelector
    template: Template
    strategy?: { type?: string; rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string } }
    updateStrategy?: { type?: string; rollingUpdate?: { partition?: number; [field: string]: unknown } }
    progressDeadlineSeconds?: number
    [field: string]: unknown
  }
  status?: {
    /** A Rollout's is a text. */
    observedGeneration?: number | string
    replicas?: number
    readyReplicas?: number
    updatedReplicas?: number
    availableReplicas?: number
    currentRevision?: string
    updateRevision?: string
    desiredNumberScheduled?: number
    updatedNumberScheduled?: number
    numberAvailable?: number
    conditions?: Condition[]
    /** Of a Rollout. */
    currentPodHash?: string
    stableRS?: string
    abort?: boolean
    promoteFull?: boolean
    phase?: string
    message?: string
    blueGreen?: { activeSelector?: string }
    [field: string]: unknown
  }
}

export interface ReplicaSet extends KubeObject {
  spec: { replicas?: number; template: Template; [field: string]: unknown }
}

export interface ControllerRevision extends KubeObject {
  revision: number
  data?: { spec?: { template?: Template & { $patch?: string } } }
}

export interface ContainerStatus {
  name: string
  ready?: boolean
  restartCount?: number
  image?: string
  imageID?: string
  state?: {
    waiting?: { reason?: string; message?: string }
    terminated?: { exitCode?: number; reason?: string }
    running?: { startedAt?: string }
  }
  lastState?: { terminated?: { exitCode?: number; reason?: string } }
}

export interface Pod extends KubeObject {
  spec: PodSpec
  status?: {
    phase?: string
    conditions?: Condition[]
    containerStatuses?: ContainerStatus[]
    initContainerStatuses?: ContainerStatus[]
    [field: string]: unknown
  }
}

/** A ConfigMap or Secret. */
export interface ConfigObject extends KubeObject {
  data?: Record<string, string>
  binaryData?: Record<string, string>
  type?: string
  immutable?: boolean
}

export interface Service extends KubeObject {
  spec: { selector?: Record<string, string>; [field: string]: unknown }
}

export interface Autoscaler extends KubeObject {
  spec: {
    scaleTargetRef: { kind: string; name: string }
    minReplicas?: number
    maxReplicas: number
    [field: string]: unknown
  }
}

export type Kind = 'Deployment' | 'StatefulSet' | 'DaemonSet' | 'Rollout'

const KINDS: Readonly<Record<string, Kind>> = {
  deployment: 'Deployment',
  statefulset: 'StatefulSet',
  daemonset: 'DaemonSet',
}
/** Those that every cluster has. */
export const ALL_KINDS: readonly Kind[] = Object.values(KINDS)
/** Of Argo Rollouts: a Deployment with steps. */
const ROLLOUT = { word: 'rollout', group: 'argoproj.io', version: 'v1alpha1' }

/** Their revisions are ReplicaSets; the others' are ControllerRevisions. */
export function hasReplicaSets(kind: Kind): boolean {
  return kind === 'Deployment' || kind === 'Rollout'
}

export function groupOf(kind: Kind): string {
  return kind === 'Rollout' ? ROLLOUT.group : 'apps'
}

export function apiVersionOf(kind: Kind): string {
  return kind === 'Rollout' ? `${ROLLOUT.group}/${ROLLOUT.version}` : 'apps/v1'
}

/** What "deployment/shop" names. */
export function parseId(id: string): { kind: Kind; name: string } {
  const [word = '', name = ''] = id.split('/')
  const kind = word === ROLLOUT.word ? 'Rollout' : KINDS[word]
  if (kind === undefined) throw new Error(`no workload: ${id}`)
  return { kind, name }
}

export function idOf(kind: string, name: string): string {
  return `${kind.toLowerCase()}/${name}`
}

/** The path of a kind's collection in a namespace, or of one object of it. */
export function workloadPath(namespace: string, kind: Kind, name?: string): string {
  const all = `/apis/${apiVersionOf(kind)}/namespaces/${namespace}/${kind.toLowerCase()}s`
  return name === undefined ? all : `${all}/${name}`
}

export function corePath(namespace: string, plural: string, name?: string): string {
  const all = `/api/v1/namespaces/${namespace}/${plural}`
  return name === undefined ? all : `${all}/${name}`
}

/** A selector as it goes into a query. */
export function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`)
  const others = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return `!${key}`
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`
  })
  return [...equal, ...others].join(',')
}

export function ownedBy(object: KubeObject, owner: KubeObject): boolean {
  return (
    object.metadata.ownerReferences?.some(ref => ref.controller === true && ref.uid === owner.metadata.uid) === true
  )
}
