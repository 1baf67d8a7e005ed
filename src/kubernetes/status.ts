import { redact } from '../core/secret.ts'
import type { ContainerStatus, Pod, Workload } from './api/objects.ts'
import { isObserved, rollout } from './rollout.ts'
import { stayingIn } from './template.ts'

/** How far the controller has brought its pods to what the object asks for. */
export interface Rollout {
  /** Every pod is of the object's template. */
  readonly replaced: boolean
  /** And available. */
  readonly complete: boolean
  /** The controller gave up on it, with its words. */
  readonly failed: string | null
  readonly wanted: number
  readonly updated: number
  readonly available: number
  readonly paused: boolean
  /** The controller does not replace pods by itself: somebody has to delete them. */
  readonly onDelete: boolean
}

export function rolloutOf(object: Workload): Rollout {
  const seen = isObserved(object)
  if (object.kind === 'Rollout') return rollout(object, seen)
  if (object.kind === 'DaemonSet') return daemonSet(object, seen)
  return object.kind === 'StatefulSet' ? statefulSet(object, seen) : deployment(object, seen)
}

function deployment({ spec, status = {} }: Workload, seen: boolean): Rollout {
  const wanted = spec.replicas ?? 1
  const { updatedReplicas: updated = 0, replicas = 0, availableReplicas: available = 0 } = status
  const stalled = status.conditions?.find(c => c.type === 'Progressing' && c.reason === 'ProgressDeadlineExceeded')
  const paused = spec.paused === true
  const replaced = seen && !paused && updated >= wanted && replicas === updated
  const complete = replaced && available >= updated
  const failed = seen && !complete && stalled !== undefined ? (stalled.message ?? 'its deadline is over') : null
  return { replaced, complete, failed, wanted, updated, available, paused, onDelete: false }
}

/**
 * The condition by which its controller gave up, as a text. It stays as it was when another template is put there, until some
 * pod gets further: what stood there before a write says nothing of what was written.
 */
export function stallOf({ status = {} }: Workload): string | null {
  const stalled = status.conditions?.find(c => c.type === 'Progressing' && c.reason === 'ProgressDeadlineExceeded')
  return stalled === undefined || status.abort === true ? null : JSON.stringify(stalled)
}

function statefulSet({ spec, status = {} }: Workload, seen: boolean): Rollout {
  const wanted = spec.replicas ?? 1
  const { updatedReplicas: updated = 0, replicas = 0, readyReplicas = 0 } = status
  const onDelete = spec.updateStrategy?.type === 'OnDelete'
  const available = status.availableReplicas ?? readyReplicas
  const replaced = seen && updated >= wanted && replicas === updated
  const partition = spec.updateStrategy?.rollingUpdate?.partition ?? 0
  const paused = !onDelete && partition >= wanted && wanted > 0
  return {
    replaced,
    complete: replaced && available >= wanted,
    failed: null,
    wanted,
    updated,
    available,
    paused,
    onDelete,
  }
}

function daemonSet({ spec, status = {} }: Workload, seen: boolean): Rollout {
  const { desiredNumberScheduled: wanted = 0, updatedNumberScheduled: updated = 0 } = status
  const available = status.numberAvailable ?? 0
  const replaced = seen && updated >= wanted
  const onDelete = spec.updateStrategy?.type === 'OnDelete'
  return {
    replaced,
    complete: replaced && available >= wanted,
    failed: null,
    wanted,
    updated,
    available,
    paused: false,
    onDelete,
  }
}

/** Waiting for a node, an image or a volume: not a failure of the pod yet. */
const STARTING = ['ContainerCreating', 'PodInitializing']

export interface Trouble {
  readonly pod: string
  /** "ImagePullBackOff", "CrashLoopBackOff", "Unschedulable", "NotReady". */
  readonly reason: string
  readonly message: string
  /** The container that dies, whose log tells why. */
  readonly crashed: string | null
}

/** Nothing is wrong with it but that no node has room, or that a queue does not let it have one yet. */
export function waitsForNode({ reason }: Trouble): boolean {
  return reason === 'Unschedulable' || reason === 'SchedulingGated'
}

export function alive(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined
}

/** It runs nothing any more, though its object is still there. */
export function ended({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed'
}

/** It counts among what its object runs: what its node evicted stays there for a long time, and runs nothing. */
export function isLive(pod: Pod): boolean {
  return alive(pod) && !ended(pod)
}

/** What is said of the containers that run as long as it does, sidecars among them. */
export function stayingOf({ spec, status }: Pod): ContainerStatus[] {
  const names = new Set(stayingIn(spec).map(({ name }) => name))
  const all = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
  return all.filter(({ name }) => names.has(name))
}

export function ready({ status }: Pod): boolean {
  return status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') === true
}

/**
 * Why the server refuses pods of it (a quota, a Pod Security Standard, a policy), in its words; null: it does not. Of a
 * StatefulSet and a DaemonSet only events tell.
 */
export function refusalOf({ status }: Workload): string | null {
  const failed = status?.conditions?.find(c => c.type === 'ReplicaFailure' && c.status === 'True')
  return failed === undefined ? null : `${failed.reason ?? ''} ${failed.message ?? ''}`.trim()
}

/** Why a pod is not ready; null where it is, or is merely starting. */
export function troubleOf(pod: Pod): Trouble | null {
  if (ready(pod)) return null
  const { name } = pod.metadata
  const scheduled = pod.status?.conditions?.find(c => c.type === 'PodScheduled' && c.status === 'False')
  if (scheduled !== undefined) {
    return { pod: name, reason: scheduled.reason ?? 'Unschedulable', message: scheduled.message ?? '', crashed: null }
  }
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
  for (const { name: container, state, lastState } of statuses) {
    const { reason, message = '' } = state?.waiting ?? {}
    if (reason === undefined || STARTING.includes(reason)) continue
    const died = lastState?.terminated
    const code = died?.exitCode === undefined ? '' : `it ended with code ${died.exitCode}`
    return { pod: name, reason, message: message || code, crashed: died === undefined ? null : container }
  }
  const ended = statuses.find(s => s.state?.terminated !== undefined && s.state.terminated.exitCode !== 0)
  if (ended !== undefined) {
    const code = ended.state?.terminated?.exitCode
    return { pod: name, reason: 'Error', message: `${ended.name} ended with code ${code}`, crashed: ended.name }
  }
  return null
}

/** With what the scheduler or the kubelet says of it. */
export function toldOf({ pod, reason, message }: Trouble): string {
  return redact(`${pod}: ${reason} ${message}`.trim())
}
