import { type Api } from '../api.ts'
import { suffix } from '../names.ts'
import { type Change } from '../store.ts'
import { type Condition, type Job, type Pod, same } from '../types.ts'
import { type Controller, type ControllerManager, keyOfObject, ownerKey } from './manager.ts'
import { claim, create, ownerReference, tell, writeStatus } from './owned.ts'
import { isActive, isReady, podFrom } from './pods.ts'
import { count } from './replicaset.ts'

interface End {
  readonly type: 'Complete' | 'Failed'
  readonly reason: string
  readonly message: string
}

/** pkg/controller/job: runs pods until enough have succeeded or too many have failed. */
export class JobController implements Controller {
  readonly name = 'job'
  readonly #api: Api
  readonly #manager: ControllerManager
  readonly #retryMs: number

  constructor(api: Api, manager: ControllerManager, retryMs: number) {
    this.#api = api
    this.#manager = manager
    this.#retryMs = retryMs
  }

  keysOf(change: Change): string[] {
    if (change.key === 'batch/jobs') return [keyOfObject(change.object)]
    return change.key === '/pods' ? ownerKey(change.object, 'Job') : []
  }

  sync(namespace: string, name: string): void {
    const job = this.#api.store.get(this.#api.resources.key('batch/jobs'), namespace, name) as Job | undefined
    if (job === undefined || job.metadata.deletionTimestamp !== undefined) return
    if (isOver(job)) return this.#expire(job)
    const pods = this.#pods(job)
    const end = this.#end(job, pods)
    if (end !== null) this.#stop(pods)
    else if (job.spec.suspend !== true) this.#run(job, pods)
    this.#status(job, end)
  }

  #pods(job: Job): Pod[] {
    return claim<Pod>(this.#api, job, job.spec.selector, this.#api.resources.key('/pods'))
  }

  #end(job: Job, pods: readonly Pod[]): End | null {
    const { completions = 1, backoffLimit, activeDeadlineSeconds } = job.spec
    const succeeded = pods.filter(pod => pod.status.phase === 'Succeeded').length
    if (succeeded >= completions) {
      return { type: 'Complete', reason: 'CompletionsReached', message: 'Reached expected number of succeeded pods' }
    }
    const restarts = pods.filter(isActive).flatMap(pod => pod.status.containerStatuses ?? [])
    const failures = this.#failed(pods, job) + restarts.reduce((sum, one) => sum + one.restartCount, 0)
    if (failures > backoffLimit) {
      return { type: 'Failed', reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' }
    }
    const started = Date.parse(job.status.startTime ?? this.#api.clock.stamp())
    if (activeDeadlineSeconds === undefined) return null
    const left = started + activeDeadlineSeconds * 1000 - this.#api.clock.now()
    if (left <= 0)
      return { type: 'Failed', reason: 'DeadlineExceeded', message: 'Job was active longer than specified deadline' }
    this.#manager.again(this, job.metadata.namespace, job.metadata.name, left + 5)
    return null
  }

  #run(job: Job, pods: readonly Pod[]): void {
    const { completions = 1, parallelism } = job.spec
    const succeeded = pods.filter(pod => pod.status.phase === 'Succeeded').length
    const active = pods.filter(isActive).length
    const missing = Math.min(parallelism, completions - succeeded) - active
    const failures = this.#failed(pods, job)
    const wait =
      failures === 0 ? 0 : this.#lastFailure(pods) + this.#retryMs * 2 ** (failures - 1) - this.#api.clock.now()
    if (missing > 0 && wait > 0) return this.#manager.again(this, job.metadata.namespace, job.metadata.name, wait)
    for (let i = 0; i < missing; i += 1) this.#create(job)
  }

  /** From 1.25 on, where its pods are tracked by finalizers, also what is deleted before it has ended. */
  #failed(pods: readonly Pod[], { status }: Job): number {
    const tracked = this.#api.resources.minor >= 25
    const own = pods.filter(({ status: { phase }, metadata: { deletionTimestamp } }) => {
      return phase === 'Failed' || (tracked && deletionTimestamp !== undefined && phase !== 'Succeeded')
    })
    return Math.max(own.length, status.failed ?? 0)
  }

  #lastFailure(pods: readonly Pod[]): number {
    const ends = pods.flatMap(pod =>
      (pod.status.containerStatuses ?? []).map(one => one.state.terminated?.finishedAt ?? ''),
    )
    return Math.max(0, ...ends.filter(at => at !== '').map(at => Date.parse(at)))
  }

  #create(job: Job): void {
    const { metadata, spec } = podFrom(job.spec.template)
    const name = `${job.metadata.name}-${suffix(5)}`
    try {
      create(this.#api, this.#api.resources.key('/pods'), job.metadata.namespace, {
        metadata: { ...metadata, name, generateName: `${job.metadata.name}-`, ownerReferences: [ownerReference(job)] },
        spec,
      })
      tell(this.#api, job, 'Normal', 'SuccessfulCreate', `Created pod: ${name}`, 'job-controller')
    } catch (error) {
      tell(this.#api, job, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`, 'job-controller')
      this.#manager.again(this, job.metadata.namespace, job.metadata.name, this.#retryMs)
    }
  }

  #stop(pods: readonly Pod[]): void {
    for (const pod of pods.filter(isActive)) {
      this.#api.delete(this.#api.resources.key('/pods'), pod.metadata.namespace, pod.metadata.name)
    }
  }

  #status(job: Job, end: End | null): void {
    const pods = this.#pods(job)
    const now = this.#api.clock.stamp()
    const succeeded = pods.filter(pod => pod.status.phase === 'Succeeded').length
    const terminating = pods.filter(pod => pod.metadata.deletionTimestamp !== undefined).length
    // A failed job is only told to be over once all of its pods have ended.
    const over = end !== null && pods.every(pod => pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed')
    const conditions = end === null ? [] : conditionsOf(end, over, now)
    const status: Job['status'] = {
      ...count('active', pods.filter(isActive).length),
      ready: pods.filter(pod => isActive(pod) && isReady(pod)).length,
      terminating,
      ...count('succeeded', succeeded),
      ...count('failed', this.#failed(pods, job)),
      ...(job.spec.suspend === true ? {} : { startTime: job.status.startTime ?? now }),
      ...(end?.type === 'Complete' && over ? { completionTime: now } : {}),
      uncountedTerminatedPods: {},
      ...(conditions.length === 0 ? {} : { conditions: merged(job.status.conditions, conditions) }),
    }
    if (!same(status, job.status)) writeStatus(this.#api, this.#api.resources.key('batch/jobs'), { ...job, status })
  }

  #expire(job: Job): void {
    const { ttlSecondsAfterFinished } = job.spec
    const at = job.status.conditions?.find(condition => condition.type === 'Complete' || condition.type === 'Failed')
    if (ttlSecondsAfterFinished === undefined) return
    const left = Date.parse(at?.lastTransitionTime ?? '') + ttlSecondsAfterFinished * 1000 - this.#api.clock.now()
    const { namespace, name } = job.metadata
    if (left > 0) return this.#manager.again(this, namespace, name, left + 5)
    this.#api.delete(this.#api.resources.key('batch/jobs'), namespace, name, { propagationPolicy: 'Background' })
  }
}

function isOver(job: Job): boolean {
  return (
    job.status.conditions?.some(one => (one.type === 'Complete' || one.type === 'Failed') && one.status === 'True') ??
    false
  )
}

/** Since 1.31 what the end will be is told before it is reached. */
function conditionsOf(end: End, over: boolean, now: string): Condition[] {
  const { reason, message } = end
  const first = end.type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget'
  const types = over ? [first, end.type] : [first]
  return types.map(type => ({ type, status: 'True', lastProbeTime: now, lastTransitionTime: now, reason, message }))
}

function merged(old: readonly Condition[] | undefined, next: readonly Condition[]): Condition[] {
  return next.map(condition => old?.find(one => one.type === condition.type) ?? condition)
}
