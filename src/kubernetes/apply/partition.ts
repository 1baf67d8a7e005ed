import type { StepAct } from '../../core/contract.ts'
import { parseId, type Workload, workloadPath } from '../api/objects.ts'
import { until } from '../api/watch.ts'
import { isObserved } from '../rollout.ts'
import type { Site } from '../site.ts'
import type { RollArgs } from '../steps.ts'
import { change, lastWriter, moved } from './write.ts'

type Strategy = NonNullable<Workload['spec']['updateStrategy']>

export function partitionOf({ kind, spec }: Workload): number {
  const { type, rollingUpdate } = spec.updateStrategy ?? {}
  return kind === 'StatefulSet' && type !== 'OnDelete' ? (rollingUpdate?.partition ?? 0) : 0
}

function withPartition({ spec: { updateStrategy } }: Workload, partition: number): Strategy {
  return { ...updateStrategy, rollingUpdate: { ...updateStrategy?.rollingUpdate, partition } }
}

/** A StatefulSet's strategy while it rolls: a partition would keep its first pods on the release that is left. */
export function rolling(object: Workload): Strategy | undefined {
  return partitionOf(object) > 0 ? withPartition(object, 0) : object.spec.updateStrategy
}

/** Its partition keeps pods on another revision. Pods that are deleted come back as that one, too. */
export function holdsBack(object: Workload): boolean {
  const { currentRevision, updateRevision } = object.status ?? {}
  return partitionOf(object) > 0 && isObserved(object) && currentRevision !== updateRevision
}

/** The partition may be put back: its controller takes the new revision for what pods below it are made anew as. */
export function isThrough({ status = {} }: Workload, { partition }: RollArgs): boolean {
  return (partition ?? 0) === 0 || status.currentRevision === status.updateRevision
}

/** Puts the partition of the release back, once all pods are of it. `still`: whether the object is as the step left it. */
export async function putPartitionBack(
  site: Site,
  { object: id, partition }: RollArgs,
  still: (now: Workload) => boolean,
  act: StepAct,
): Promise<void> {
  if (partition === null || partition === 0) return
  const { kind, name } = parseId(id)
  const decide = (read: Workload) => {
    const now = { ...read, kind }
    if (partitionOf(now) === partition) return null
    if (!still(now)) throw moved(id, lastWriter(now))
    return [{ op: 'add' as const, path: '/spec/updateStrategy', value: withPartition(now, partition) }]
  }
  await change<Workload>(site, { path: workloadPath(site.namespace, kind, name), name: id, decide }, act)
  // Before its controller has seen that, nobody can tell whether it is through.
  const field = `?fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`
  const following = { client: site.client, signal: act.signal, awayMs: site.config.limits.away }
  await until(following, [`${workloadPath(site.namespace, kind)}${field}`], ([object]) =>
    object === undefined || isObserved(object as Workload) ? true : null,
  )
}
