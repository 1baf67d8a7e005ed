/** An API object, as loosely as the API server itself sees it before it looks at the kind. */
export interface Obj {
  apiVersion: string
  kind: string
  metadata: Meta
  spec?: unknown
  status?: unknown
  [field: string]: unknown
}

export type Fields = Record<string, unknown>

export interface Meta {
  name: string
  generateName?: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string | null
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  ownerReferences?: OwnerReference[]
  managedFields?: ManagedFields[]
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

export interface ManagedFields {
  manager: string
  operation: 'Apply' | 'Update'
  apiVersion: string
  time?: string
  fieldsType: 'FieldsV1'
  fieldsV1: Fields
  subresource?: string
}

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}

export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason?: string
  message?: string
  lastTransitionTime?: string | null
  lastUpdateTime?: string
  lastProbeTime?: string | null
}

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string>; creationTimestamp?: null }
  spec: PodSpec
}

export interface PodSpec {
  containers: Container[]
  initContainers?: Container[]
  volumes?: Fields[]
  nodeName?: string
  nodeSelector?: Record<string, string>
  restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  terminationGracePeriodSeconds?: number
  serviceAccountName?: string
  [field: string]: unknown
}

export interface Container {
  name: string
  image: string
  command?: string[]
  args?: string[]
  env?: { name: string; value?: string; valueFrom?: Record<string, Fields> }[]
  envFrom?: { prefix?: string; configMapRef?: Ref; secretRef?: Ref }[]
  imagePullPolicy?: string
  readinessProbe?: Probe
  startupProbe?: Probe
  /** Of an init container alone. */
  restartPolicy?: 'Always'
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> }
  [field: string]: unknown
}

export interface Ref {
  name: string
  optional?: boolean
}

export interface Probe {
  exec?: { command: string[] }
  httpGet?: { port: number | string }
  tcpSocket?: { port: number | string }
  periodSeconds?: number
  initialDelaySeconds?: number
  [field: string]: unknown
}

export interface ContainerStatus {
  name: string
  image: string
  imageID: string
  ready: boolean
  started: boolean
  restartCount: number
  containerID?: string
  state: ContainerState
  lastState: ContainerState
}

export interface ContainerState {
  waiting?: { reason: string; message?: string }
  running?: { startedAt: string }
  terminated?: { exitCode: number; reason: string; startedAt: string; finishedAt: string; containerID?: string }
}

export interface Pod extends Obj {
  spec: PodSpec
  status: {
    phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed'
    conditions?: Condition[]
    containerStatuses?: ContainerStatus[]
    initContainerStatuses?: ContainerStatus[]
    qosClass?: string
    reason?: string
    message?: string
    startTime?: string
    hostIP?: string
    podIP?: string
  }
}

export interface ReplicaSet extends Obj {
  spec: { replicas: number; selector: LabelSelector; template: PodTemplate; minReadySeconds?: number }
  status: {
    replicas: number
    fullyLabeledReplicas?: number
    readyReplicas?: number
    availableReplicas?: number
    observedGeneration?: number
    conditions?: Condition[]
  }
}

export interface Deployment extends Obj {
  spec: {
    replicas: number
    selector: LabelSelector
    template: PodTemplate
    strategy: {
      type: 'RollingUpdate' | 'Recreate'
      rollingUpdate?: { maxSurge: number | string; maxUnavailable: number | string }
    }
    minReadySeconds?: number
    revisionHistoryLimit: number
    progressDeadlineSeconds: number
    paused?: boolean
  }
  status: {
    observedGeneration?: number
    replicas?: number
    updatedReplicas?: number
    readyReplicas?: number
    availableReplicas?: number
    unavailableReplicas?: number
    collisionCount?: number
    conditions?: Condition[]
  }
}

export interface StatefulSet extends Obj {
  spec: {
    replicas: number
    selector: LabelSelector
    template: PodTemplate
    serviceName?: string
    podManagementPolicy: 'OrderedReady' | 'Parallel'
    updateStrategy: { type: 'RollingUpdate' | 'OnDelete'; rollingUpdate?: { partition?: number } }
    minReadySeconds?: number
    revisionHistoryLimit: number
    volumeClaimTemplates?: { metadata: { name: string }; spec: Fields }[]
    persistentVolumeClaimRetentionPolicy?: { whenScaled?: 'Retain' | 'Delete'; whenDeleted?: 'Retain' | 'Delete' }
  }
  status: {
    observedGeneration?: number
    replicas?: number
    readyReplicas?: number
    currentReplicas?: number
    updatedReplicas?: number
    availableReplicas?: number
    currentRevision?: string
    updateRevision?: string
    collisionCount?: number
  }
}

export interface DaemonSet extends Obj {
  spec: {
    selector: LabelSelector
    template: PodTemplate
    updateStrategy: { type: 'RollingUpdate' | 'OnDelete'; rollingUpdate?: { maxUnavailable: number | string } }
    minReadySeconds?: number
    revisionHistoryLimit: number
  }
  status: Record<string, number>
}

export interface ControllerRevision extends Obj {
  data: { spec: { template: PodTemplate & { $patch?: string } } }
  revision: number
}

export interface Job extends Obj {
  spec: {
    parallelism: number
    completions?: number
    backoffLimit: number
    activeDeadlineSeconds?: number
    ttlSecondsAfterFinished?: number
    suspend?: boolean
    selector: LabelSelector
    template: PodTemplate
  }
  status: {
    active?: number
    ready?: number
    terminating?: number
    succeeded?: number
    failed?: number
    startTime?: string
    completionTime?: string
    conditions?: Condition[]
    uncountedTerminatedPods?: Fields
  }
}

/** Copies an object, so that the stored one is never changed in place. */
export function copy<T>(value: T): T {
  return structuredClone(value)
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Reads a value deep inside; undefined where any part of the way is missing. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let here = value
  for (const name of path) {
    if (!isFields(here)) return undefined
    here = here[name]
  }
  return here
}

/** Content without the order of keys and without undefined members. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => same(item, b[i]))
  if (!isFields(a) || !isFields(b)) return false
  const keys = Object.keys(a).filter(key => a[key] !== undefined)
  return (
    keys.length === Object.keys(b).filter(key => b[key] !== undefined).length && keys.every(key => same(a[key], b[key]))
  )
}

export function omit<T extends object, K extends keyof T>(object: T, ...names: readonly K[]): Omit<T, K> {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name as K))) as Omit<T, K>
}

/** A plain value as text; nothing, and what is no plain value, is the empty text. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? `${value}` : ''
}

/** A typed object knows no null: a field that is null is not there. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (!isFields(value)) return value
  const entries = Object.entries(value).filter(([, member]) => member !== null && member !== undefined)
  return Object.fromEntries(entries.map(([name, member]) => [name, withoutNulls(member)]))
}
