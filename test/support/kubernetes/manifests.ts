import { type Fields, type Obj } from './types.ts'

const named = (which: string, otherwise: string): string => process.env[`BACKOUT_TEST_IMAGE_${which}`] ?? otherwise

/** Images that are small and anywhere to be had. A real cluster without a way out names its own. */
export const IMAGES = {
  old: named('GOOD', 'registry.k8s.io/pause:3.9'),
  new: named('BAD', 'registry.k8s.io/pause:3.10'),
  /** Has a shell. */
  shell: named('SHELL', 'busybox:1.36'),
  /** Is nowhere to be had. */
  missing: named('MISSING', 'registry.k8s.io/pause:0.0.0-never-made'),
}

export interface Options {
  readonly replicas?: number
  readonly env?: Record<string, string>
  /** More fields of the object's spec, the pod's spec and its only container. */
  readonly spec?: Fields
  readonly pod?: Fields
  readonly container?: Fields
}

function template(name: string, image: string, o: Options): Fields {
  const env = Object.entries(o.env ?? {}).map(([key, value]) => ({ name: key, value }))
  // The grace time is short, so that a test that goes back and forth does not wait for pods to end.
  return {
    metadata: { labels: { app: name } },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'app', image, ...(env.length > 0 && { env }), ...o.container }],
      ...o.pod,
    },
  }
}

function workload(kind: string, name: string, image: string, o: Options, spec: Fields): Obj {
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, labels: { app: name } },
    spec: { selector: { matchLabels: { app: name } }, template: template(name, image, o), ...spec, ...o.spec },
  }
}

/** Workloads as a team would write them. */
export function deployment(name: string, image: string, o: Options = {}): Obj {
  return workload('Deployment', name, image, o, { replicas: o.replicas ?? 1 })
}

export function statefulSet(name: string, image: string, o: Options = {}): Obj {
  return workload('StatefulSet', name, image, o, { replicas: o.replicas ?? 1, serviceName: name })
}

export function daemonSet(name: string, image: string, o: Options = {}): Obj {
  return workload('DaemonSet', name, image, o, {})
}

export function job(name: string, script: string, o: Options = {}): Obj {
  const container = { command: ['sh', '-c', script], ...o.container }
  const pod = { restartPolicy: 'Never', ...o.pod }
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: { backoffLimit: 0, template: template(name, IMAGES.shell, { ...o, container, pod }), ...o.spec },
  }
}

/** A probe that never succeeds: nothing listens there. */
export const NEVER_READY = { readinessProbe: { tcpSocket: { port: 9 }, periodSeconds: 1 } }

/** A Rollout of Argo; a canary that pauses half-way, if nothing else is said. */
export function rollout(name: string, image: string, o: Options & { strategy?: Fields } = {}): Obj {
  const strategy = o.strategy ?? { canary: { steps: [{ setWeight: 50 }, { pause: {} }] } }
  const made = workload('Rollout', name, image, o, { replicas: o.replicas ?? 2, strategy })
  return { ...made, apiVersion: 'argoproj.io/v1alpha1' }
}
