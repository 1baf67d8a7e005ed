import { BackoutError } from '../core/errors.ts'
import type { KubeObject, Workload } from './api/objects.ts'
import type { Rollout } from './status.ts'

/** What is particular about Rollouts of Argo, read from the object alone. */

/** Whether the controller has seen the object as it is now. */
export function isObserved({ status, metadata }: Workload): boolean {
  return Number(status?.observedGeneration ?? 0) >= (metadata.generation ?? 0)
}

/** Name of the ReplicaSet that a Rollout asks for now; null until its controller has seen what it asks for. */
export function keeperOf(object: Workload | null): string | null {
  const hash = object?.status?.currentPodHash
  if (object === null || hash === undefined || !isObserved(object)) return null
  return `${object.metadata.name}-${hash}`
}

/** The stable ReplicaSet is the one that is asked for, and users are sent to it. */
export function isPromoted({ spec, status = {} }: Workload): boolean {
  const { currentPodHash, stableRS, blueGreen } = status
  if (currentPodHash === undefined || currentPodHash !== stableRS) return false
  const strategy = spec.strategy as { blueGreen?: object } | undefined
  return strategy?.blueGreen === undefined || blueGreen?.activeSelector === currentPodHash
}

/** With blue-green or a traffic router, old pods stand for a while (scaleDownDelaySeconds) without any users. */
export function keepsOld(object: Workload | null): boolean {
  if (object?.kind !== 'Rollout') return false
  const { blueGreen, canary } = object.spec.strategy as { blueGreen?: object; canary?: { trafficRouting?: object } }
  return blueGreen !== undefined || canary?.trafficRouting !== undefined
}

/** Its controller would go through its steps, and has not been told to skip them. */
export function promotable(object: Workload): boolean {
  const { promoteFull, abort } = object.status ?? {}
  return isObserved(object) && !isPromoted(object) && promoteFull !== true && abort !== true
}

/** How far a Rollout is: only what is promoted is there. */
export function rollout(object: Workload, seen: boolean): Rollout {
  const { spec, status = {} } = object
  const wanted = spec.replicas ?? 1
  const { updatedReplicas: updated = 0, replicas = 0, availableReplicas: available = 0 } = status
  const paused = spec.paused === true
  const alone = replicas === updated || keepsOld(object)
  const replaced = seen && !paused && isPromoted(object) && updated >= wanted && alone
  const complete = replaced && available >= updated
  return {
    replaced,
    complete,
    failed: complete || !seen ? null : failure(object),
    wanted,
    updated,
    available,
    paused,
    onDelete: false,
  }
}

function failure({ status = {} }: Workload): string | null {
  if (status.abort === true) return 'it was aborted'
  const condition = (type: string) => status.conditions?.find(one => one.type === type)
  const invalid = condition('InvalidSpec')
  if (invalid?.status === 'True') return invalid.message ?? 'its spec is invalid'
  const progressing = condition('Progressing')
  return progressing?.reason === 'ProgressDeadlineExceeded' ? (progressing.message ?? 'its deadline is over') : null
}

/** Refuses a Rollout whose pods are described elsewhere. */
export function ownTemplate({ metadata, spec }: KubeObject & { spec: Workload['spec'] }): void {
  const reference = spec['workloadRef'] as { kind?: string; name?: string } | undefined
  if (reference === undefined && (spec.template as unknown) !== undefined) return
  const which = `${reference?.kind ?? 'workload'}/${reference?.name ?? ''}`.toLowerCase()
  throw new BackoutError({
    code: 'workload_ref',
    what: `rollout/${metadata.name} takes its pods from ${which} (workloadRef), and has no template of its own`,
    next: 'move the template into the Rollout: what is described elsewhere cannot be put back through it',
    exit: 'blocked',
  })
}
