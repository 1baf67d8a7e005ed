import { type Api } from '../api.ts'
import { type Change } from '../store.ts'
import { type Condition, type Deployment, type Pod, type ReplicaSet, same } from '../types.ts'
import { type Controller, type ControllerManager, keyOfObject, ownerKey } from './manager.ts'
import { claim, controlledBy, tell, writeStatus } from './owned.ts'
import { withCondition } from './pods.ts'
import { deadlineIn, hasDeadline, isComplete, progress, progressing, statusOf, withProgress } from './progress.ts'
import {
  byAge,
  DESIRED,
  findNew,
  makeNew,
  prune,
  renumbered,
  replicaAnnotations,
  REVISION,
  revisionOf,
  saveSet,
} from './revisions.ts'
import { type Bounds, boundsOf, initialReplicas, proportions, scaleDownOld, scaleUpNew } from './rolling.ts'

const SOURCE = 'deployment-controller'

interface Sets {
  fresh: ReplicaSet | undefined
  old: ReplicaSet[]
}

/** pkg/controller/deployment: one sync does one thing and writes the status; the changes it makes bring the next. */
export class DeploymentController implements Controller {
  readonly name = 'deployment'
  readonly #api: Api
  readonly #manager: ControllerManager

  constructor(api: Api, manager: ControllerManager) {
    this.#api = api
    this.#manager = manager
  }

  keysOf(change: Change): string[] {
    if (change.key === 'apps/deployments') return [keyOfObject(change.object)]
    if (change.key === 'apps/replicasets') {
      const before = change.before === null ? [] : ownerKey(change.before, 'Deployment')
      return [...ownerKey(change.object, 'Deployment'), ...before]
    }
    // A Recreate deployment waits for the last pod to be gone.
    if (change.key !== '/pods' || change.type !== 'DELETED') return []
    const sets = this.#api.resources.key('apps/replicasets')
    return ownerKey(change.object, 'ReplicaSet').flatMap(key => {
      const [namespace = '', name = ''] = key.split('/')
      const set = this.#api.store.get(sets, namespace, name)
      return set === undefined ? [] : ownerKey(set, 'Deployment')
    })
  }

  sync(namespace: string, name: string): void {
    let deployment = this.#read(namespace, name)
    if (deployment === undefined) return
    const all = claim<ReplicaSet>(
      this.#api,
      deployment,
      deployment.spec.selector,
      this.#api.resources.key('apps/replicasets'),
    )
    if (deployment.metadata.deletionTimestamp !== undefined)
      return this.#status(deployment, this.#split(deployment, all), false)
    deployment = this.#pausedCondition(deployment)
    if (deployment.spec.paused === true) return this.#scaleOnly(deployment, this.#split(deployment, all))
    if (this.#isScaling(deployment, all)) return this.#scaleOnly(deployment, this.#split(deployment, all))
    if (deployment.spec.strategy.type === 'Recreate') this.#recreate(deployment, all)
    else this.#roll(deployment, all)
  }

  #read(namespace: string, name: string): Deployment | undefined {
    return this.#api.store.get(this.#api.resources.key('apps/deployments'), namespace, name) as Deployment | undefined
  }

  #split(deployment: Deployment, all: readonly ReplicaSet[]): Sets {
    const fresh = findNew(deployment, all)
    return { fresh, old: all.filter(set => set !== fresh).sort(byAge) }
  }

  /** Finds, renumbers or makes the ReplicaSet of the current template. */
  #ensureNew(deployment: Deployment, all: readonly ReplicaSet[]): { deployment: Deployment; sets: Sets } | null {
    const { fresh, old } = this.#split(deployment, all)
    const bounds = boundsOf(deployment)
    if (fresh === undefined) {
      const made = makeNew(this.#api, deployment, old, {
        replicas: initialReplicas(deployment, all, bounds),
        surge: bounds.surge,
      })
      if ('collision' in made) {
        const collisionCount = (deployment.status.collisionCount ?? 0) + 1
        this.#save({ ...deployment, status: { ...deployment.status, collisionCount } })
        return null
      }
      if ('error' in made) throw made.error
      const { set } = made
      const text = `Created new replica set "${set.metadata.name}"`
      if (set.spec.replicas > 0) this.#tellScaled(deployment, set.metadata.name, 'up', 0, set.spec.replicas)
      const numbered = this.#withRevision(deployment, revisionOf(set))
      return { deployment: this.#condition(numbered, 'NewReplicaSetCreated', text), sets: { fresh: set, old } }
    }
    const next = renumbered(deployment, fresh, all)
    if (deployment.spec.minReadySeconds !== undefined)
      next.spec = { ...next.spec, minReadySeconds: deployment.spec.minReadySeconds }
    const saved = same(next, fresh) ? fresh : saveSet(this.#api, next)
    let numbered = this.#withRevision(deployment, revisionOf(saved))
    if (progressing(deployment.status.conditions) === undefined && hasDeadline(deployment)) {
      numbered = this.#condition(numbered, 'FoundNewReplicaSet', `Found new replica set "${saved.metadata.name}"`)
    }
    return { deployment: numbered, sets: { fresh: saved, old } }
  }

  #withRevision(deployment: Deployment, revision: number): Deployment {
    if (revisionOf(deployment) === revision) return deployment
    const annotations = { ...deployment.metadata.annotations, [REVISION]: String(revision) }
    // Written through the status, which does not raise the generation.
    return this.#save({ ...deployment, metadata: { ...deployment.metadata, annotations } })
  }

  #condition(deployment: Deployment, reason: string, message: string): Deployment {
    if (!hasDeadline(deployment)) return deployment
    const conditions = withCondition(deployment.status.conditions, progress('True', reason, message, this.#api.clock))
    return this.#save({ ...deployment, status: { ...deployment.status, conditions } })
  }

  #roll(deployment: Deployment, all: readonly ReplicaSet[]): void {
    const ensured = this.#ensureNew(deployment, all)
    if (ensured === null) return
    const { sets } = ensured
    const bounds = boundsOf(ensured.deployment)
    const fresh = sets.fresh as ReplicaSet
    const up = scaleUpNew(ensured.deployment, fresh, [...sets.old, fresh], bounds)
    if (up !== fresh.spec.replicas) {
      sets.fresh = this.#scale(ensured.deployment, fresh, up, bounds)
    } else {
      for (const { set, replicas } of scaleDownOld(ensured.deployment, fresh, sets.old, bounds)) {
        sets.old[sets.old.indexOf(set)] = this.#scale(ensured.deployment, set, replicas, bounds)
      }
    }
    this.#finish(ensured.deployment, sets)
  }

  #recreate(deployment: Deployment, all: readonly ReplicaSet[]): void {
    const split = this.#split(deployment, all)
    const bounds = boundsOf(deployment)
    const running = split.old.filter(set => set.spec.replicas > 0)
    if (running.length > 0) {
      for (const set of running) this.#scale(deployment, set, 0, bounds)
      return this.#status(deployment, split, true)
    }
    if (this.#podsOf(split.old).length > 0) return this.#status(deployment, split, true)
    const ensured = this.#ensureNew(deployment, all)
    if (ensured === null) return
    const fresh = ensured.sets.fresh as ReplicaSet
    ensured.sets.fresh = this.#scale(ensured.deployment, fresh, deployment.spec.replicas, bounds)
    this.#finish(ensured.deployment, ensured.sets)
  }

  #podsOf(sets: readonly ReplicaSet[]): Pod[] {
    const pods = sets.flatMap(set => controlledBy<Pod>(this.#api, set, this.#api.resources.key('/pods')))
    return pods.filter(pod => pod.status.phase !== 'Failed' && pod.status.phase !== 'Succeeded')
  }

  #finish(deployment: Deployment, sets: Sets): void {
    if (isComplete(deployment, deployment.status)) prune(this.#api, deployment, sets.old)
    this.#status(deployment, sets, true)
  }

  /** A paused deployment, and one whose number of replicas was changed, keeps its ReplicaSets and only scales them. */
  #scaleOnly(deployment: Deployment, sets: Sets): void {
    const bounds = boundsOf(deployment)
    const all = [...sets.old, ...(sets.fresh === undefined ? [] : [sets.fresh])]
    for (const { set, replicas } of proportions(deployment, sets.fresh, all, bounds))
      this.#scale(deployment, set, replicas, bounds)
    if (deployment.spec.paused === true) prune(this.#api, deployment, sets.old)
    this.#status(deployment, this.#split(deployment, this.#controlled(deployment)), deployment.spec.paused !== true)
  }

  #controlled(deployment: Deployment): ReplicaSet[] {
    return controlledBy<ReplicaSet>(this.#api, deployment, this.#api.resources.key('apps/replicasets'))
  }

  #isScaling(deployment: Deployment, all: readonly ReplicaSet[]): boolean {
    return all.some(set => {
      const desired = set.metadata.annotations?.[DESIRED]
      return set.spec.replicas > 0 && desired !== undefined && Number(desired) !== deployment.spec.replicas
    })
  }

  #scale(deployment: Deployment, set: ReplicaSet, replicas: number, bounds: Bounds): ReplicaSet {
    const annotations = { ...set.metadata.annotations, ...replicaAnnotations(deployment, bounds.surge) }
    const next = { ...set, metadata: { ...set.metadata, annotations }, spec: { ...set.spec, replicas } }
    if (same(next, set)) return set
    if (replicas !== set.spec.replicas) {
      this.#tellScaled(
        deployment,
        set.metadata.name,
        replicas > set.spec.replicas ? 'up' : 'down',
        set.spec.replicas,
        replicas,
      )
    }
    return saveSet(this.#api, next)
  }

  #tellScaled(deployment: Deployment, set: string, way: 'up' | 'down', from: number, to: number): void {
    tell(
      this.#api,
      deployment,
      'Normal',
      'ScalingReplicaSet',
      `Scaled ${way} replica set ${set} from ${from} to ${to}`,
      SOURCE,
    )
  }

  #pausedCondition(deployment: Deployment): Deployment {
    if (!hasDeadline(deployment)) return deployment
    const current = progressing(deployment.status.conditions)
    if (current?.reason === 'ProgressDeadlineExceeded') return deployment
    const wasPaused = current?.reason === 'DeploymentPaused'
    const isPaused = deployment.spec.paused === true
    if (wasPaused === isPaused) return deployment
    const condition: Condition = isPaused
      ? progress('Unknown', 'DeploymentPaused', 'Deployment is paused', this.#api.clock)
      : progress('Unknown', 'DeploymentResumed', 'Deployment is resumed', this.#api.clock)
    const conditions = withCondition(deployment.status.conditions, condition)
    return this.#save({ ...deployment, status: { ...deployment.status, conditions } })
  }

  #status(deployment: Deployment, sets: Sets, withRollout: boolean): void {
    const { clock } = this.#api
    const all = [...sets.old, ...(sets.fresh === undefined ? [] : [sets.fresh])]
    const status = statusOf(deployment, sets.fresh, all, boundsOf(deployment), clock)
    if (withRollout) status.conditions = withProgress(deployment, status, sets.fresh, clock)
    status.conditions = withFailure(status.conditions ?? [], all)
    if (!same(status, deployment.status)) this.#save({ ...deployment, status })
    const left = deadlineIn({ ...deployment, status }, clock)
    if (left !== null)
      this.#manager.again(this, deployment.metadata.namespace, deployment.metadata.name, Math.max(left, 0) + 20)
  }

  #save(deployment: Deployment): Deployment {
    return writeStatus(this.#api, this.#api.resources.key('apps/deployments'), deployment)
  }
}

/** A ReplicaSet that cannot make pods (quota) shows on its deployment. */
function withFailure(conditions: readonly Condition[], all: readonly ReplicaSet[]): Condition[] {
  const failure = all.flatMap(set => set.status.conditions ?? []).find(condition => condition.type === 'ReplicaFailure')
  const others = conditions.filter(condition => condition.type !== 'ReplicaFailure')
  return failure === undefined ? others : [...others, { lastUpdateTime: failure.lastTransitionTime ?? '', ...failure }]
}
