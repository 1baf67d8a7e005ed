import { type Api } from '../api.ts'
import { untolerated } from '../kubelet/scheduler.ts'
import { suffix } from '../names.ts'
import { type Change } from '../store.ts'
import { type ControllerRevision, type DaemonSet, type Fields, type Obj, type Pod, same } from '../types.ts'
import { hashOf, REVISION_LABEL, revisions, truncate, updateRevision } from './history.ts'
import { type Controller, type ControllerManager, keyOfObject, ownerKey } from './manager.ts'
import { claim, create, ownerReference, writeStatus } from './owned.ts'
import { availableInMs, isAvailable, isReady, podFrom } from './pods.ts'
import { portion } from './rolling.ts'

/** pkg/controller/daemon: one pod on each node; an update replaces as many at a time as may be unavailable. */
export class DaemonSetController implements Controller {
  readonly name = 'daemonset'
  readonly #api: Api
  readonly #manager: ControllerManager

  constructor(api: Api, manager: ControllerManager) {
    this.#api = api
    this.#manager = manager
  }

  keysOf(change: Change): string[] {
    if (change.key === 'apps/daemonsets') return [keyOfObject(change.object)]
    if (change.key === '/nodes')
      return this.#api.store.list(this.#api.resources.key('apps/daemonsets')).map(keyOfObject)
    return change.key === '/pods' ? ownerKey(change.before ?? change.object, 'DaemonSet') : []
  }

  sync(namespace: string, name: string): void {
    const set = this.#api.store.get(this.#api.resources.key('apps/daemonsets'), namespace, name) as
      | DaemonSet
      | undefined
    if (set === undefined) return
    const update = updateRevision(this.#api, set)
    if (set.metadata.deletionTimestamp === undefined) {
      this.#place(set, update)
      if (set.spec.updateStrategy.type === 'RollingUpdate') this.#roll(set, update)
    }
    this.#status(set, update)
    const hashes = new Set(this.#pods(set).map(pod => pod.metadata.labels?.[REVISION_LABEL]))
    const live = revisions(this.#api, set).filter(one => hashes.has(hashOf(one)) || one === update)
    truncate(this.#api, set, new Set(live.map(one => one.metadata.name)))
  }

  #pods(set: DaemonSet): Pod[] {
    return claim<Pod>(this.#api, set, set.spec.selector, this.#api.resources.key('/pods'))
  }

  #nodes(set: DaemonSet): Obj[] {
    const wanted = Object.entries(set.spec.template.spec.nodeSelector ?? {})
    return this.#api.store
      .list(this.#api.resources.key('/nodes'))
      .filter(node => wanted.every(([key, value]) => node.metadata.labels?.[key] === value))
      .filter(node => untolerated(set.spec.template.spec, node) === undefined)
  }

  #place(set: DaemonSet, update: ControllerRevision): void {
    const nodes = this.#nodes(set).map(node => node.metadata.name)
    const pods = this.#pods(set)
    for (const pod of pods) {
      const over = pod.status.phase === 'Failed' || !nodes.includes(nodeOf(pod))
      if (over && pod.metadata.deletionTimestamp === undefined) this.#delete(pod)
    }
    for (const node of nodes) {
      if (!pods.some(pod => nodeOf(pod) === node)) this.#create(set, update, node)
    }
  }

  #create(set: DaemonSet, update: ControllerRevision, node: string): void {
    const { metadata, spec } = podFrom(set.spec.template)
    metadata.labels[REVISION_LABEL] = hashOf(update)
    metadata.labels['pod-template-generation'] = String(
      set.metadata.annotations?.['deprecated.daemonset.template.generation'] ?? 1,
    )
    const matchFields = [{ key: 'metadata.name', operator: 'In', values: [node] }]
    const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } }
    create(this.#api, this.#api.resources.key('/pods'), set.metadata.namespace, {
      metadata: {
        ...metadata,
        name: `${set.metadata.name}-${suffix(5)}`,
        generateName: `${set.metadata.name}-`,
        ownerReferences: [ownerReference(set)],
      },
      spec: { ...spec, affinity: { ...(spec['affinity'] as Fields), nodeAffinity } },
    })
  }

  /** Old pods that are not available are replaced whatever the limit (daemon/update.go: rollingUpdate). */
  #roll(set: DaemonSet, update: ControllerRevision): void {
    const pods = this.#pods(set)
    const most = portion(set.spec.updateStrategy.rollingUpdate?.maxUnavailable ?? 1, this.#nodes(set).length, Math.ceil)
    const isNew = (pod: Pod): boolean => pod.metadata.labels?.[REVISION_LABEL] === hashOf(update)
    const available = (pod: Pod): boolean =>
      pod.metadata.deletionTimestamp === undefined && isAvailable(pod, set.spec.minReadySeconds ?? 0, this.#api.clock)
    const old = pods.filter(pod => !isNew(pod) && pod.metadata.deletionTimestamp === undefined)
    const unavailable = this.#nodes(set).filter(
      node => !pods.some(pod => nodeOf(pod) === node.metadata.name && available(pod)),
    ).length
    for (const pod of old.filter(one => !available(one))) this.#delete(pod)
    for (const pod of old.filter(available).slice(0, Math.max(0, most - unavailable))) this.#delete(pod)
  }

  #delete(pod: Pod): void {
    this.#api.delete(this.#api.resources.key('/pods'), pod.metadata.namespace, pod.metadata.name)
  }

  #status(set: DaemonSet, update: ControllerRevision): void {
    const { clock } = this.#api
    const all = this.#pods(set)
    // The first of each node, though it be on its way out (updateDaemonSetStatus).
    const pods = this.#nodes(set).flatMap(
      ({ metadata: { name } }) => all.filter(pod => nodeOf(pod) === name).sort(scheduledFirst)[0] ?? [],
    )
    const desired = this.#nodes(set).length
    const available = pods.filter(pod => isAvailable(pod, set.spec.minReadySeconds ?? 0, clock)).length
    const updated = pods.filter(pod => pod.metadata.labels?.[REVISION_LABEL] === hashOf(update)).length
    const optional = {
      updatedNumberScheduled: updated,
      numberAvailable: available,
      numberUnavailable: desired - available,
    }
    const status = {
      currentNumberScheduled: pods.length,
      numberMisscheduled: 0,
      desiredNumberScheduled: desired,
      numberReady: pods.filter(isReady).length,
      observedGeneration: set.metadata.generation ?? 0,
      ...Object.fromEntries(Object.entries(optional).filter(([, number]) => number !== 0)),
    }
    const wait = availableInMs(pods, set.spec.minReadySeconds ?? 0, clock)
    if (wait !== null) this.#manager.again(this, set.metadata.namespace, set.metadata.name, wait)
    if (!same(status, set.status))
      writeStatus(this.#api, this.#api.resources.key('apps/daemonsets'), { ...set, status })
  }
}

/** Then the oldest (podByCreationTimestampAndPhase). */
function scheduledFirst(a: Pod, b: Pod): number {
  const rank = ({ spec, metadata }: Pod) =>
    `${spec.nodeName ? 0 : 1} ${metadata.creationTimestamp ?? ''} ${metadata.name}`
  return rank(a) < rank(b) ? -1 : 1
}

/** Where a pod is, or is meant for. */
function nodeOf(pod: Pod): string {
  const affinity = pod.spec['affinity'] as {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: { matchFields: { values: string[] }[] }[] }
    }
  }
  const terms = affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
  return pod.spec.nodeName ?? terms?.[0]?.matchFields[0]?.values[0] ?? ''
}
