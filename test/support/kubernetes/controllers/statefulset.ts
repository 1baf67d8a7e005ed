import { type Api } from '../api.ts'
import { type Change } from '../store.ts'
import { at, type ControllerRevision, type Pod, type PodTemplate, same, type StatefulSet } from '../types.ts'
import { revisions, REVISION_LABEL, templateOf, truncate, updateRevision } from './history.ts'
import { type Controller, type ControllerManager, keyOfObject, ownerKey } from './manager.ts'
import { claim, create, ownerReference, tell, write, writeStatus } from './owned.ts'
import { availableInMs, isAvailable, isReady, podFrom } from './pods.ts'
import { count } from './replicaset.ts'

const SOURCE = 'statefulset-controller'

interface View {
  set: StatefulSet
  pods: Pod[]
  current: ControllerRevision
  update: ControllerRevision
}

/** pkg/controller/statefulset/stateful_set_control.go */
export class StatefulSetController implements Controller {
  readonly name = 'statefulset'
  readonly #api: Api
  readonly #manager: ControllerManager

  constructor(api: Api, manager: ControllerManager) {
    this.#api = api
    this.#manager = manager
  }

  keysOf(change: Change): string[] {
    if (change.key === 'apps/statefulsets') return [keyOfObject(change.object)]
    return change.key === '/pods' ? ownerKey(change.before ?? change.object, 'StatefulSet') : []
  }

  sync(namespace: string, name: string): void {
    const kind = this.#api.resources.key('apps/statefulsets')
    const set = this.#api.store.get(kind, namespace, name) as StatefulSet | undefined
    if (set === undefined) return
    const update = updateRevision(this.#api, set)
    const current = revisions(this.#api, set).find(one => one.metadata.name === set.status.currentRevision) ?? update
    const view = (): View => ({ set, pods: this.#pods(set), current, update })
    if (set.metadata.deletionTimestamp === undefined) this.#act(view())
    this.#status(view())
    const live = new Set([current.metadata.name, update.metadata.name, ...this.#pods(set).map(revisionOf)])
    truncate(this.#api, set, live)
  }

  #pods(set: StatefulSet): Pod[] {
    return claim<Pod>(this.#api, set, set.spec.selector, this.#api.resources.key('/pods'))
  }

  /** With `OrderedReady` whatever is not ready ends the pass: also a pod of a bad revision that was long replaced. */
  #act(view: View): void {
    const { set } = view
    const ordered = set.spec.podManagementPolicy === 'OrderedReady'
    const [start, end] = [startOf(set), startOf(set) + set.spec.replicas]
    for (let ordinal = start; ordinal < end; ordinal += 1) {
      if (this.#replica(view, ordinal, ordered)) return
    }
    const condemned = view.pods
      .filter(pod => ordinalOf(pod) < start || ordinalOf(pod) >= end)
      .sort((a, b) => ordinalOf(b) - ordinalOf(a))
    for (const pod of condemned) {
      if (pod.metadata.deletionTimestamp === undefined) {
        this.#releaseVolumes(set, pod)
        this.#delete(set, pod)
      }
      if (ordered) return
    }
    if (set.spec.updateStrategy.type === 'RollingUpdate') this.#roll(view)
  }

  /** True: the pass ends here. */
  #replica(view: View, ordinal: number, ordered: boolean): boolean {
    const { set, pods } = view
    const pod = pods.find(one => ordinalOf(one) === ordinal)
    if (pod === undefined) {
      this.#create(view, ordinal)
      return ordered
    }
    if (pod.status.phase === 'Failed' || pod.status.phase === 'Succeeded') {
      if (pod.metadata.deletionTimestamp === undefined) this.#delete(set, pod)
      return true
    }
    if (!ordered) return false
    const ready = pod.metadata.deletionTimestamp === undefined && pod.status.phase === 'Running' && isReady(pod)
    return !ready || !isAvailable(pod, set.spec.minReadySeconds ?? 0, this.#api.clock)
  }

  /** From the highest ordinal down to the partition, one at a time, each waiting for the one above. */
  #roll(view: View): void {
    const { set, pods, update } = view
    const start = startOf(set)
    const partition = start + (set.spec.updateStrategy.rollingUpdate?.partition ?? 0)
    for (let ordinal = start + set.spec.replicas - 1; ordinal >= partition; ordinal -= 1) {
      const pod = pods.find(one => ordinalOf(one) === ordinal)
      if (pod === undefined) return
      const dying = pod.metadata.deletionTimestamp !== undefined
      if (revisionOf(pod) !== update.metadata.name && !dying) return this.#delete(set, pod)
      if (dying || !isReady(pod) || !isAvailable(pod, set.spec.minReadySeconds ?? 0, this.#api.clock)) return
    }
  }

  #create(view: View, ordinal: number): void {
    const { set, current, update } = view
    const { type, rollingUpdate } = set.spec.updateStrategy
    const isOld = type === 'RollingUpdate' && ordinal < startOf(set) + (rollingUpdate?.partition ?? 0)
    const revision = isOld ? current : update
    const name = `${set.metadata.name}-${ordinal}`
    const { metadata, spec } = podFrom(this.#withVolumes(set, name, templateOf(revision)))
    Object.assign(metadata.labels, {
      [REVISION_LABEL]: revision.metadata.name,
      'statefulset.kubernetes.io/pod-name': name,
      'apps.kubernetes.io/pod-index': String(ordinal),
    })
    const place = { hostname: name, ...(set.spec.serviceName === undefined ? {} : { subdomain: set.spec.serviceName }) }
    try {
      create(this.#api, this.#api.resources.key('/pods'), set.metadata.namespace, {
        metadata: { ...metadata, name, generateName: `${set.metadata.name}-`, ownerReferences: [ownerReference(set)] },
        spec: { ...spec, ...place },
      })
      tell(
        this.#api,
        set,
        'Normal',
        'SuccessfulCreate',
        `create Pod ${name} in StatefulSet ${set.metadata.name} successful`,
        SOURCE,
      )
    } catch (error) {
      tell(
        this.#api,
        set,
        'Warning',
        'FailedCreate',
        `create Pod ${name} in StatefulSet ${set.metadata.name} failed error: ${(error as Error).message}`,
        SOURCE,
      )
      this.#manager.again(this, set.metadata.namespace, set.metadata.name, 200)
    }
  }

  /** Claims are made once for each ordinal and outlive the pod. */
  #withVolumes(set: StatefulSet, pod: string, template: PodTemplate): PodTemplate {
    const kind = this.#api.resources.key('/persistentvolumeclaims')
    const volumes = (set.spec.volumeClaimTemplates ?? []).map(claimed => {
      const claimName = `${claimed.metadata.name}-${pod}`
      if (this.#api.store.get(kind, set.metadata.namespace, claimName) === undefined) {
        create(this.#api, kind, set.metadata.namespace, { metadata: { name: claimName }, spec: claimed.spec })
      }
      return { name: claimed.metadata.name, persistentVolumeClaim: { claimName } }
    })
    if (volumes.length === 0) return template
    return { ...template, spec: { ...template.spec, volumes: [...(template.spec.volumes ?? []), ...volumes] } }
  }

  /** stateful_pod_control.go: UpdatePodClaimForRetentionPolicy. The claims of a condemned pod belong to it, and go with it. */
  #releaseVolumes(set: StatefulSet, pod: Pod): void {
    if (set.spec.persistentVolumeClaimRetentionPolicy?.whenScaled !== 'Delete') return
    const kind = this.#api.resources.key('/persistentvolumeclaims')
    for (const { metadata } of set.spec.volumeClaimTemplates ?? []) {
      const name = `${metadata.name}-${pod.metadata.name}`
      const found = this.#api.store.get(kind, set.metadata.namespace, name)
      if (found === undefined) continue
      const ownerReferences = [ownerReference(pod)]
      write(this.#api, kind, { ...found, metadata: { ...found.metadata, ownerReferences } })
    }
  }

  #delete(set: StatefulSet, pod: Pod): void {
    this.#api.delete(this.#api.resources.key('/pods'), pod.metadata.namespace, pod.metadata.name)
    const text = `delete Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} successful`
    tell(this.#api, set, 'Normal', 'SuccessfulDelete', text, SOURCE)
  }

  #status({ set, pods, current, update }: View): void {
    const { clock } = this.#api
    const alive = pods.filter(pod => pod.metadata.deletionTimestamp === undefined)
    const of = (revision: ControllerRevision): number =>
      alive.filter(pod => revisionOf(pod) === revision.metadata.name).length
    const ready = pods.filter(pod => pod.status.phase === 'Running' && isReady(pod)).length
    const available = pods.filter(pod => isAvailable(pod, set.spec.minReadySeconds ?? 0, clock)).length
    const { replicas } = set.spec
    const complete =
      set.spec.updateStrategy.type === 'RollingUpdate' &&
      of(update) === replicas &&
      ready === replicas &&
      pods.length === replicas
    const status: StatefulSet['status'] = {
      observedGeneration: set.metadata.generation ?? 0,
      replicas: pods.length,
      ...count('readyReplicas', ready),
      ...count('currentReplicas', complete ? of(update) : of(current)),
      ...count('updatedReplicas', of(update)),
      availableReplicas: available,
      currentRevision: (complete ? update : current).metadata.name,
      updateRevision: update.metadata.name,
      collisionCount: 0,
    }
    const wait = availableInMs(pods, set.spec.minReadySeconds ?? 0, clock)
    if (wait !== null) this.#manager.again(this, set.metadata.namespace, set.metadata.name, wait)
    if (!same(status, set.status))
      writeStatus(this.#api, this.#api.resources.key('apps/statefulsets'), { ...set, status })
  }
}

/** Counted from there (GA in 1.31). */
function startOf({ spec }: StatefulSet): number {
  return Number(at(spec, 'ordinals', 'start') ?? 0)
}

function ordinalOf(pod: Pod): number {
  return Number(/-(\d+)$/.exec(pod.metadata.name)?.[1] ?? -1)
}

function revisionOf(pod: Pod): string {
  return pod.metadata.labels?.[REVISION_LABEL] ?? ''
}
