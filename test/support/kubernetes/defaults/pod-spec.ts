import { type Container, type Fields, isFields, type PodSpec, type PodTemplate } from '../types.ts'

/** Fills in what is not there (pkg/apis/core/v1/defaults.go). */
export function fill(object: Fields, defaults: Fields): void {
  for (const [key, value] of Object.entries(defaults)) if (object[key] === undefined) object[key] = value
}

export function fillPodSpec(spec: PodSpec): void {
  fill(spec, {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
  })
  if (spec.serviceAccountName !== undefined) fill(spec, { serviceAccount: spec.serviceAccountName })
  else if (typeof spec['serviceAccount'] === 'string') spec.serviceAccountName = spec['serviceAccount']
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) fillContainer(container)
  for (const volume of spec.volumes ?? []) fillVolume(volume)
}

/** In JSON a pod template always shows its creation time: a Go struct without `omitzero` until 1.34. */
export function fillTemplate(template: PodTemplate): void {
  template.metadata = { creationTimestamp: null, ...template.metadata }
  if (template.spec !== undefined) fillPodSpec(template.spec)
}

function fillContainer(container: Container): void {
  fill(container, {
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: pullPolicy(container.image),
    resources: {},
  })
  for (const port of listOf(container['ports'])) fill(port, { protocol: 'TCP' })
  for (const name of ['readinessProbe', 'livenessProbe', 'startupProbe']) {
    const probe = container[name]
    if (!isFields(probe)) continue
    fill(probe, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 })
    if (isFields(probe['httpGet'])) fill(probe['httpGet'], { path: '/', scheme: 'HTTP' })
  }
  for (const variable of container.env ?? []) {
    if (isFields(variable.valueFrom?.['fieldRef'])) fill(variable.valueFrom['fieldRef'], { apiVersion: 'v1' })
  }
  requestsFromLimits(container)
}

function requestsFromLimits(container: Container): void {
  const { limits, requests } = container.resources ?? {}
  if (container.resources !== undefined && limits !== undefined)
    container.resources.requests = { ...limits, ...requests }
}

/** Always for `:latest` and for no tag; a digest is a version of its own. */
export function pullPolicy(image: string): string {
  if (image?.includes('@')) return 'IfNotPresent'
  const tag = /:([^/:]+)$/.exec(image ?? '')?.[1] ?? 'latest'
  return tag === 'latest' ? 'Always' : 'IfNotPresent'
}

function fillVolume(volume: Fields): void {
  if (Object.keys(volume).length === 1) volume['emptyDir'] = {}
  for (const name of ['configMap', 'secret', 'projected', 'downwardAPI']) {
    if (isFields(volume[name])) fill(volume[name], { defaultMode: 420 })
  }
}

export function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : []
}
