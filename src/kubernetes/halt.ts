import type { PatchOp } from './api/client.ts'
import type { Kind, Workload } from './api/objects.ts'
import { HALTED } from './template.ts'

/** Above any number of pods that it is scaled to while it is held. */
const ALL_PODS = 1_000_000_000

/** Whether its controller is kept from replacing further pods, by whomever. */
export function isHalted({ kind, spec }: Workload): boolean {
  if (kind === 'Deployment') return spec.paused === true
  if (spec.updateStrategy?.type === 'OnDelete') return true
  return kind === 'StatefulSet' && (spec.updateStrategy?.rollingUpdate?.partition ?? 0) >= (spec.replicas ?? 1)
}

/** The step of Backout that holds it; null where none does, or somebody let it go on. */
export function haltedBy(object: Workload): string | null {
  const mark = markOn(object)
  return mark === null || !isHalted(object) ? null : mark.by
}

/** What holds it, with a mark that says who did, and what it was like. */
export function halting(object: Workload, by: string): PatchOp[] {
  const { kind, spec, metadata } = object
  const was = kind === 'Deployment' ? spec.paused === true : (spec.updateStrategy ?? null)
  const annotations = { ...metadata.annotations, [HALTED]: JSON.stringify({ by, was }) }
  return [{ op: 'add', path: '/metadata/annotations', value: annotations }, holding(object)]
}

function holding({ kind, spec }: Workload): PatchOp {
  if (kind === 'Deployment') return { op: 'add', path: '/spec/paused', value: true }
  if (kind === 'DaemonSet') return { op: 'add', path: '/spec/updateStrategy', value: { type: 'OnDelete' } }
  const rollingUpdate = { ...spec.updateStrategy?.rollingUpdate, partition: ALL_PODS }
  return { op: 'add', path: '/spec/updateStrategy', value: { type: 'RollingUpdate', rollingUpdate } }
}

/** The command that lets its controller go on: `kubectl rollout resume` knows Deployments alone. */
export function resuming(namespace: string, kind: Kind, object: Workload): string {
  const { name } = object.metadata
  const off = { metadata: { annotations: { [HALTED]: null } }, spec: asBefore(kind, markOn(object)?.was) }
  return `kubectl -n ${namespace} patch ${kind.toLowerCase()} ${name} --type merge -p '${JSON.stringify(off)}'`
}

function asBefore(kind: Kind, was: unknown): object {
  if (kind === 'Deployment') return { paused: was === true }
  const strategy = { type: 'RollingUpdate', ...(isObject(was) ? was : {}) }
  if (kind === 'DaemonSet' || strategy.type === 'OnDelete') return { updateStrategy: strategy }
  // A merge keeps what it does not name.
  const { rollingUpdate } = strategy as { rollingUpdate?: object }
  return { updateStrategy: { ...strategy, rollingUpdate: { partition: 0, ...rollingUpdate } } }
}

/** The strategy that an object has without its halt, where there is one. */
export function strategyBefore(object: Workload): { updateStrategy?: object } {
  const mark = markOn(object)
  return mark === null || haltedBy(object) === null || !isObject(mark.was) ? {} : { updateStrategy: mark.was }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** Anybody may have written there since, and an older Backout wrote the step alone. */
function markOn({ metadata }: Workload): { by: string; was?: unknown } | null {
  const text = metadata.annotations?.[HALTED]
  if (text === undefined) return null
  try {
    const mark: unknown = JSON.parse(text)
    return isObject(mark) && typeof mark['by'] === 'string' ? { ...mark, by: mark['by'] } : { by: text }
  } catch {
    return { by: text }
  }
}
