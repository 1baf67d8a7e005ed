import { type Fields, isFields, type Obj, type PodSpec, type PodTemplate } from '../types.ts'
import { fill, fillPodSpec, fillTemplate, listOf } from './pod-spec.ts'

type Fill = (spec: Fields, object: Obj) => void

/** What the API server fills in before it stores an object (pkg/apis/<group>/<version>/defaults.go). */
const FILLS: Record<string, Fill> = {
  Deployment(spec) {
    fill(spec, { replicas: 1, strategy: {}, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 })
    const strategy = spec['strategy'] as Fields
    fill(strategy, { type: 'RollingUpdate' })
    if (strategy['type'] === 'RollingUpdate') {
      strategy['rollingUpdate'] = { maxSurge: '25%', maxUnavailable: '25%', ...(strategy['rollingUpdate'] as Fields) }
    }
    fillTemplate(spec['template'] as PodTemplate)
  },
  ReplicaSet(spec) {
    fill(spec, { replicas: 1 })
    fillTemplate(spec['template'] as PodTemplate)
  },
  StatefulSet(spec) {
    fill(spec, {
      replicas: 1,
      podManagementPolicy: 'OrderedReady',
      updateStrategy: {},
      revisionHistoryLimit: 10,
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
    })
    const strategy = spec['updateStrategy'] as Fields
    fill(strategy, { type: 'RollingUpdate' })
    if (strategy['type'] === 'RollingUpdate') {
      strategy['rollingUpdate'] = { partition: 0, ...(strategy['rollingUpdate'] as Fields) }
    }
    fillTemplate(spec['template'] as PodTemplate)
  },
  DaemonSet(spec) {
    fill(spec, { updateStrategy: {}, revisionHistoryLimit: 10 })
    const strategy = spec['updateStrategy'] as Fields
    fill(strategy, { type: 'RollingUpdate' })
    if (strategy['type'] === 'RollingUpdate') {
      strategy['rollingUpdate'] = { maxUnavailable: 1, maxSurge: 0, ...(strategy['rollingUpdate'] as Fields) }
    }
    fillTemplate(spec['template'] as PodTemplate)
  },
  Job: (spec, object) => fillJob(spec, object),
  Pod(spec) {
    fillPodSpec(spec as unknown as PodSpec)
    fill(spec, { enableServiceLinks: true })
  },
  Service(spec) {
    fill(spec, { sessionAffinity: 'None', type: 'ClusterIP', internalTrafficPolicy: 'Cluster' })
    for (const port of listOf(spec['ports'])) fill(port, { protocol: 'TCP', targetPort: port['port'] })
  },
  HorizontalPodAutoscaler: spec => fill(spec, { minReplicas: 1 }),
}

function fillJob(spec: Fields, object: Obj): void {
  const { uid, name } = object.metadata
  fill(spec, {
    parallelism: 1,
    completions: 1,
    backoffLimit: 6,
    completionMode: 'NonIndexed',
    suspend: false,
    podReplacementPolicy: 'TerminatingOrFailed',
    manualSelector: false,
  })
  if (spec['manualSelector'] === false && spec['selector'] === undefined && uid !== undefined) {
    spec['selector'] = { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } }
    const template = spec['template'] as PodTemplate
    const labels = {
      'batch.kubernetes.io/controller-uid': uid,
      'batch.kubernetes.io/job-name': name,
      'controller-uid': uid,
      'job-name': name,
    }
    template.metadata = { ...template.metadata, labels: { ...template.metadata?.labels, ...labels } }
  }
  fillTemplate(spec['template'] as PodTemplate)
}

/** Fills in place. The object must have passed the check of its shape. */
export function fillDefaults(object: Obj): void {
  if (object.kind === 'Secret') fillSecret(object)
  const fillSpec = FILLS[object.kind]
  if (fillSpec !== undefined && isFields(object.spec)) fillSpec(object.spec, object)
}

/** `stringData` is written only: it comes back as `data`. */
function fillSecret(object: Obj): void {
  fill(object, { type: 'Opaque' })
  const plain = object['stringData']
  if (!isFields(plain)) return
  const encoded = Object.entries(plain).map(([key, value]) => [key, Buffer.from(String(value)).toString('base64')])
  object['data'] = { ...(object['data'] as Fields), ...(Object.fromEntries(encoded) as Fields) }
  delete object['stringData']
}
