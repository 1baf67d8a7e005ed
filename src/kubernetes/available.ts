import { BackoutError } from '../core/errors.ts'
import { parseId, type Workload } from './api/objects.ts'
import { partitionOf } from './apply/partition.ts'
import { haltedBy, resuming } from './halt.ts'
import { rolloutOf } from './status.ts'

/** Only a release whose pods are all there is worth coming back to. */
export function refuseUnavailable(id: string, object: Workload): void {
  const { complete, available, wanted, updated } = rolloutOf(object)
  if (complete) return
  const hold = holdOf(id, object)
  const held = hold === null ? '' : `, and its rollout is held: ${hold.why}`
  const { namespace = 'default', name } = object.metadata
  const status =
    object.kind === 'Rollout'
      ? `kubectl argo rollouts status ${name} -n ${namespace}`
      : `kubectl -n ${namespace} rollout status ${id}`
  throw new BackoutError({
    code: 'object_unavailable',
    what: `${id} cannot be captured: ${updated} of ${wanted} pods are of its template, ${available} available${held}`,
    next:
      hold === null
        ? `wait until they are (\`${status}\`), then capture again`
        : `${hold.lift}; then capture again once all pods are of it`,
    exit: 'moved',
  })
}

interface Hold {
  readonly why: string
  /** What has its controller go on. */
  readonly lift: string
}

/** What keeps a controller from bringing all pods to the template, for however long one waits; null: nothing does. */
function holdOf(id: string, object: Workload): Hold | null {
  const { kind, name } = parseId(id)
  const { namespace = 'default' } = object.metadata
  const { replaced, paused, onDelete } = rolloutOf(object)
  if (replaced) return null
  if (kind !== 'Rollout' && haltedBy(object) !== null)
    return { why: 'a run of Backout stopped it', lift: `let it go on: \`${resuming(namespace, kind, object)}\`` }
  if (kind === 'Deployment' && paused)
    return { why: 'it is paused', lift: `let it go on: \`kubectl -n ${namespace} rollout resume deployment/${name}\`` }
  if (kind === 'Rollout' && paused)
    return { why: 'it is paused', lift: `let it go on: \`kubectl argo rollouts promote ${name} -n ${namespace}\`` }
  if (onDelete) {
    const lift = 'delete those that are of another revision, one after the other'
    return { why: 'it replaces no pods by itself (OnDelete)', lift }
  }
  const partition = partitionOf(object)
  if (partition === 0) return null
  const off = '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'
  return {
    why: `its partition ${partition} keeps its first pods on another revision`,
    lift: `lower it: \`kubectl -n ${namespace} patch statefulset ${name} --type merge -p '${off}'\``,
  }
}
