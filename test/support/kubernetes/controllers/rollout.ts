import { type Api } from '../api.ts'
import { shortHash } from '../names.ts'
import { type Change } from '../store.ts'
import { type Fields, copy, isFields, omit, type ReplicaSet, same } from '../types.ts'
import { type Controller, type ControllerManager, keyOfObject, ownerKey } from './manager.ts'
import { claim, create, ownerReference, write, writeStatus } from './owned.ts'
import { byAge } from './revisions.ts'
import {
  bareTemplate,
  blueGreenCounts,
  canaryCounts,
  hashOf,
  revisionOf,
  type View,
  weighed,
} from './rollout-counts.ts'
import { deadlineIn, isComplete, withCounts } from './rollout-status.ts'
import { HASH, REVISION, type Rollout, type RolloutStatus } from './rollout-types.ts'

const KEY = 'argoproj.io/rollouts'
const DEADLINE = 'argo-rollouts.argoproj.io/scale-down-deadline'

/**
 * The controller of Argo Rollouts (rollout/canary.go, bluegreen.go), for canaries without a traffic router and for blue-green:
 * going back to the stable template skips the steps, going to any other goes through all of them.
 */
export class RolloutController implements Controller {
  readonly name = 'argo-rollouts'
  readonly #api: Api
  readonly #manager: ControllerManager

  constructor(api: Api, manager: ControllerManager) {
    this.#api = api
    this.#manager = manager
  }

  keysOf(change: Change): string[] {
    if (change.key === KEY) return [keyOfObject(change.object)]
    return change.key === 'apps/replicasets' ? ownerKey(change.object, 'Rollout') : []
  }

  sync(namespace: string, name: string): void {
    const rollout = this.#api.store.get(this.#api.resources.key(KEY), namespace, name) as Rollout | undefined
    if (rollout === undefined || rollout.metadata.deletionTimestamp !== undefined) return
    // Its pods are described elsewhere (workloadRef): the stand-in does not follow that.
    if (!isFields(rollout.spec.template)) return
    const sets = this.#api.resources.key('apps/replicasets')
    const known = claim<ReplicaSet>(this.#api, rollout, rollout.spec.selector, sets).sort(byAge)
    const fresh = this.#fresh(rollout, known)
    const all = known.includes(fresh) ? known : [...known.filter(one => one.metadata.uid !== fresh.metadata.uid), fresh]
    const view = this.#view(this.#numbered(rollout, fresh), fresh, all)
    this.#scale(view)
    this.#finish(view)
  }

  #view(rollout: Rollout, fresh: ReplicaSet, all: readonly ReplicaSet[]): View {
    const hash = hashOf(fresh)
    const status = nextStatus(rollout, fresh, hash, this.#api.clock.stamp())
    return { rollout, fresh, all, status, stable: all.find(set => hashOf(set) === status.stableRS) }
  }

  #fresh(rollout: Rollout, known: readonly ReplicaSet[]): ReplicaSet {
    const wanted = bareTemplate(rollout.spec.template)
    const kind = this.#api.resources.key('apps/replicasets')
    const highest = (but?: ReplicaSet): number => Math.max(0, ...known.filter(set => set !== but).map(revisionOf))
    const found = known.find(set => same(bareTemplate(set.spec.template), wanted))
    if (found !== undefined) {
      if (revisionOf(found) > highest(found)) return found
      const annotations = { ...found.metadata.annotations, [REVISION]: String(highest(found) + 1) }
      return write(this.#api, kind, { ...found, metadata: { ...found.metadata, annotations } })
    }
    const hash = shortHash(wanted)
    const template = copy(rollout.spec.template)
    template.metadata = { ...template.metadata, labels: { ...template.metadata?.labels, [HASH]: hash } }
    const matchLabels = { ...rollout.spec.selector.matchLabels, [HASH]: hash }
    return create(this.#api, kind, rollout.metadata.namespace, {
      metadata: {
        name: `${rollout.metadata.name}-${hash}`,
        labels: template.metadata.labels,
        annotations: { [REVISION]: String(highest() + 1) },
        ownerReferences: [ownerReference(rollout)],
      },
      spec: { replicas: 0, selector: { ...rollout.spec.selector, matchLabels }, template },
    }) as ReplicaSet
  }

  #numbered(rollout: Rollout, fresh: ReplicaSet): Rollout {
    const revision = String(revisionOf(fresh))
    if (rollout.metadata.annotations?.[REVISION] === revision) return rollout
    const annotations = { ...rollout.metadata.annotations, [REVISION]: revision }
    return write(this.#api, this.#api.resources.key(KEY), {
      ...rollout,
      metadata: { ...rollout.metadata, annotations },
    })
  }

  #scale(view: View): void {
    const { blueGreen } = view.rollout.spec.strategy
    const kind = this.#api.resources.key('apps/replicasets')
    const wanted = blueGreen === undefined ? canaryCounts(view) : blueGreenCounts(view)
    for (const [set, replicas] of wanted) {
      const waits = blueGreen !== undefined && replicas === 0 && set.spec.replicas > 0 && set !== view.fresh
      // One that is used again has no deadline any more.
      const used = replicas > 0 && set.metadata.annotations?.[DEADLINE] !== undefined
      if ((set.spec.replicas === replicas && !used) || (waits && this.#lingers(view.rollout, set))) continue
      const annotations = omit(set.metadata.annotations ?? {}, DEADLINE)
      write(this.#api, kind, { ...set, metadata: { ...set.metadata, annotations }, spec: { ...set.spec, replicas } })
    }
  }

  /** The old pods of a blue-green rollout stand for a while after the cut-over (rollout/replicaset.go: scaleDownDelay). */
  #lingers(rollout: Rollout, set: ReplicaSet): boolean {
    const { clock } = this.#api
    const deadline = set.metadata.annotations?.[DEADLINE]
    const { namespace, name } = rollout.metadata
    if (deadline === undefined) {
      const seconds = rollout.spec.strategy.blueGreen?.scaleDownDelaySeconds ?? 30
      const at = new Date(clock.now() + seconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z')
      const annotations = { ...set.metadata.annotations, [DEADLINE]: at }
      write(this.#api, this.#api.resources.key('apps/replicasets'), {
        ...set,
        metadata: { ...set.metadata, annotations },
      })
      return true
    }
    const left = Date.parse(deadline) - clock.now()
    if (left > 0) this.#manager.again(this, namespace, name, left + 5)
    return left > 0
  }

  #finish(view: View): void {
    const { rollout, fresh, all } = view
    const kind = this.#api.resources.key('apps/replicasets')
    const now = all.map(
      set => (this.#api.store.get(kind, set.metadata.namespace, set.metadata.name) ?? set) as ReplicaSet,
    )
    const latest = now.find(set => set.metadata.uid === fresh.metadata.uid) ?? fresh
    const stepped = this.#step({ ...view, fresh: latest, all: now })
    if (rollout.spec.strategy.blueGreen !== undefined) this.#pointServices(rollout, stepped)
    const status = withCounts(rollout, stepped, latest, now, this.#api.clock)
    if (!same(status, rollout.status)) writeStatus(this.#api, this.#api.resources.key(KEY), { ...rollout, status })
    const { namespace, name } = rollout.metadata
    if (!isComplete(rollout, status) && status.abort !== true) {
      this.#manager.again(this, namespace, name, Math.max(deadlineIn({ ...rollout, status }, this.#api.clock), 0) + 20)
    }
  }

  /** Goes on to the next step, pauses, or makes the new ReplicaSet the stable one. */
  #step(view: View): RolloutStatus {
    const { rollout, fresh, status } = view
    if (status.abort === true || rollout.spec.paused === true) return status
    const hash = hashOf(fresh)
    const healthy =
      (fresh.status.availableReplicas ?? 0) >= fresh.spec.replicas &&
      (fresh.status.observedGeneration ?? 0) >= (fresh.metadata.generation ?? 0)
    const full = healthy && fresh.spec.replicas === (rollout.spec.replicas ?? 1)
    if (rollout.spec.strategy.blueGreen !== undefined) return this.#cutOver(view, full)
    const steps = rollout.spec.strategy.canary?.steps ?? []
    const index = status.currentStepIndex ?? 0
    const step = steps[index]
    if (step === undefined) {
      return full ? { ...omit(status, 'promoteFull'), stableRS: hash } : status
    }
    if (step.pause !== undefined) return this.#pause(rollout, status, step.pause.duration)
    if (!healthy || fresh.spec.replicas !== weighed(rollout, step.setWeight ?? 0)) return status
    this.#manager.again(this, rollout.metadata.namespace, rollout.metadata.name)
    return { ...status, currentStepIndex: index + 1 }
  }

  #pause(rollout: Rollout, status: RolloutStatus, duration: number | string | undefined): RolloutStatus {
    const { clock } = this.#api
    const [pause] = status.pauseConditions ?? []
    const next = {
      ...omit(status, 'pauseConditions', 'controllerPause'),
      currentStepIndex: (status.currentStepIndex ?? 0) + 1,
    }
    const { namespace, name } = rollout.metadata
    if (pause === undefined) {
      // Somebody took the pause away: the step is over.
      if (status.controllerPause === true) {
        this.#manager.again(this, namespace, name)
        return next
      }
      this.#manager.again(this, namespace, name)
      return {
        ...status,
        controllerPause: true,
        pauseConditions: [{ reason: 'CanaryPauseStep', startTime: clock.stamp() }],
      }
    }
    if (duration === undefined) return status
    const left = Date.parse(pause.startTime) + Number.parseInt(String(duration), 10) * 1000 - clock.now()
    this.#manager.again(this, namespace, name, Math.max(left, 0) + 5)
    return left > 0 ? status : next
  }

  #cutOver({ rollout, fresh, status }: View, full: boolean): RolloutStatus {
    const hash = hashOf(fresh)
    const { activeSelector } = status.blueGreen ?? {}
    const base = { ...status, blueGreen: { ...status.blueGreen, previewSelector: hash } }
    if (activeSelector === hash) return full ? { ...omit(base, 'promoteFull'), stableRS: hash } : base
    if (!full) return base
    const automatic = rollout.spec.strategy.blueGreen?.autoPromotionEnabled !== false
    const promoted = automatic || status.promoteFull === true || activeSelector === undefined
    const resumed = status.controllerPause === true && (status.pauseConditions ?? []).length === 0
    if (promoted || resumed) {
      this.#manager.again(this, rollout.metadata.namespace, rollout.metadata.name)
      return {
        ...omit(base, 'pauseConditions', 'controllerPause'),
        blueGreen: { activeSelector: hash, previewSelector: hash },
        stableRS: hash,
      }
    }
    if ((status.pauseConditions ?? []).length > 0) return base
    return {
      ...base,
      controllerPause: true,
      pauseConditions: [{ reason: 'BlueGreenPause', startTime: this.#api.clock.stamp() }],
    }
  }

  /** The controller owns the hash in the selectors of its services. */
  #pointServices(rollout: Rollout, status: RolloutStatus): void {
    const { activeService, previewService } = rollout.spec.strategy.blueGreen ?? {}
    const kind = this.#api.resources.key('/services')
    for (const [name, hash] of [
      [activeService, status.blueGreen?.activeSelector],
      [previewService, status.blueGreen?.previewSelector],
    ]) {
      const service = name === undefined ? undefined : this.#api.store.get(kind, rollout.metadata.namespace, name)
      if (service === undefined || hash === undefined) continue
      const spec = service.spec as Fields & { selector?: Record<string, string> }
      if (spec.selector?.[HASH] === hash) continue
      write(this.#api, kind, { ...service, spec: { ...spec, selector: { ...spec.selector, [HASH]: hash } } })
    }
  }
}

/** What a changed template or a finished promotion resets (rollout/sync.go: resetRolloutStatus; pause.go). */
function nextStatus(rollout: Rollout, fresh: ReplicaSet, hash: string, now: string): RolloutStatus {
  const old = rollout.status ?? {}
  const steps = rollout.spec.strategy.canary?.steps ?? []
  const stepHash = shortHash(rollout.spec.strategy.canary?.steps ?? null)
  const first = old.stableRS === undefined || old.stableRS === ''
  let status: RolloutStatus = old
  if (old.currentPodHash !== hash || old.currentStepHash !== stepHash) {
    const skips = first || old.stableRS === hash
    status = {
      ...omit(old, 'abort', 'abortedAt', 'pauseConditions', 'controllerPause', 'promoteFull'),
      currentPodHash: hash,
      currentStepHash: stepHash,
      ...(steps.length === 0 ? {} : { currentStepIndex: skips ? steps.length : 0 }),
    }
  } else if (old.promoteFull === true) {
    const cleared = omit(old, 'abort', 'abortedAt', 'pauseConditions', 'controllerPause')
    status = steps.length === 0 ? cleared : { ...cleared, currentStepIndex: steps.length }
  } else if (old.abort === true) {
    const cleared = omit(old, 'pauseConditions', 'controllerPause')
    const index = old.stableRS === hash ? steps.length : 0
    status = { ...cleared, abortedAt: old.abortedAt ?? now, ...(steps.length === 0 ? {} : { currentStepIndex: index }) }
  }
  return fresh.metadata.deletionTimestamp === undefined ? status : old
}
