import { type Api } from '../api.ts'
import { tell, writeStatus } from '../controllers/owned.ts'
import { withCondition } from '../controllers/pods.ts'
import { ApiError } from '../status.ts'
import { type Condition, type Pod, same } from '../types.ts'
import { ContainerWorker } from './container.ts'
import { missingVolume } from './environment.ts'
import { type Image, type Registry } from './registry.ts'

interface PodContext {
  readonly api: Api
  readonly registry: Registry
  readonly cache: Map<string, Image>
  readonly backoffMs: number
}

/** One pod on its node: its containers, and what the API server is told about them. */
export class PodWorker {
  readonly #c: PodContext
  readonly #containers: ContainerWorker[]
  readonly #inits: ContainerWorker[]
  #pod: Pod
  #ending = false
  #scheduled = false

  constructor(pod: Pod, context: PodContext) {
    this.#pod = pod
    this.#c = context
    const worker = (spec: Pod['spec']['containers'][number]): ContainerWorker =>
      new ContainerWorker(spec, {
        ...context,
        pod: () => this.#pod,
        changed: () => this.#report(),
        tell: (type, reason, message) => tell(context.api, this.#pod, type, reason, message, 'kubelet'),
      })
    this.#containers = pod.spec.containers.map(worker)
    this.#inits = (pod.spec.initContainers ?? []).map(worker)
  }

  get pod(): Pod {
    return this.#pod
  }

  container(name: string | null): ContainerWorker | undefined {
    return name === null
      ? this.#containers[0]
      : [...this.#containers, ...this.#inits].find(one => one.spec.name === name)
  }

  begin(): void {
    this.#report()
    this.#mount()
  }

  #mount(): void {
    if (this.#ending) return
    const missing = missingVolume(this.#c.api, this.#pod)
    if (missing === null) return this.#proceed()
    tell(this.#c.api, this.#pod, 'Warning', 'FailedMount', missing, 'kubelet')
    this.#c.api.clock.after(this.#c.backoffMs, () => this.#mount())
  }

  /** Init containers one after the other, then all others. */
  #proceed(): void {
    const next = this.#inits.find(one => one.state.terminated?.exitCode !== 0)
    if (next === undefined) for (const container of this.#containers) container.pull()
    else next.pull()
  }

  update(pod: Pod): void {
    this.#pod = pod
    if (pod.metadata.deletionTimestamp !== undefined)
      void this.end((pod.metadata.deletionGracePeriodSeconds ?? 30) * 1000)
  }

  async end(graceMs: number): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    await Promise.all([...this.#containers, ...this.#inits].map(one => one.stop(graceMs)))
    this.#report()
    this.#remove()
  }

  /** Ends its processes without telling anybody: the node is gone. */
  async kill(): Promise<void> {
    this.#ending = true
    await Promise.all([...this.#containers, ...this.#inits].map(one => one.stop(0)))
  }

  #remove(): void {
    const kind = this.#c.api.resources.key('/pods')
    const { namespace, name, uid } = this.#pod.metadata
    const there = this.#c.api.store.get(kind, namespace, name)
    if (there === undefined || there.metadata.uid !== uid) return
    this.#c.api.delete(kind, namespace, name, { gracePeriodSeconds: 0 })
  }

  #report(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#afterInit()
      this.#write()
    })
  }

  #afterInit(): void {
    const waiting = this.#containers.every(
      one => one.running === null && one.state.waiting?.reason === 'ContainerCreating',
    )
    const last = this.#inits.find(one => one.state.terminated?.exitCode !== 0)
    const begun = this.#inits.filter(one => one.state.terminated?.exitCode === 0).length
    if (this.#inits.length === 0 || !waiting || this.#ending || begun === 0) return
    if (last === undefined || last.state.waiting?.reason === 'ContainerCreating') this.#proceed()
  }

  #write(): void {
    const kind = this.#c.api.resources.key('/pods')
    const { namespace, name, uid } = this.#pod.metadata
    const there = this.#c.api.store.get(kind, namespace, name) as Pod | undefined
    if (there === undefined || there.metadata.uid !== uid) return
    const status = this.#status(there)
    if (same(status, there.status)) return
    try {
      this.#pod = writeStatus(this.#c.api, kind, { ...there, status })
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.#report()
    }
  }

  #status(there: Pod): Pod['status'] {
    const now = this.#c.api.clock.stamp()
    const inits = this.#inits.map(one => one.status())
    const containers = this.#containers.map(one => one.status())
    const phase = this.#phase()
    const over = phase === 'Succeeded'
    const unready = containers.filter(one => !one.ready).map(one => one.name)
    const initialised = inits.every(one => one.state.terminated?.exitCode === 0)
    const because = (bad: boolean): Partial<Condition> =>
      over
        ? { reason: 'PodCompleted' }
        : bad
          ? { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` }
          : {}
    const set = (type: string, ok: boolean, more: Partial<Condition> = {}): Condition => ({
      type,
      status: ok ? 'True' : 'False',
      lastProbeTime: null,
      lastTransitionTime: now,
      ...more,
    })
    const ready = unready.length === 0 && !over
    let conditions = there.status.conditions
    conditions = withCondition(conditions, set('PodReadyToStartContainers', phase !== 'Succeeded'))
    conditions = withCondition(conditions, set('Initialized', initialised, over ? { reason: 'PodCompleted' } : {}))
    conditions = withCondition(conditions, set('Ready', ready, because(!ready)))
    conditions = withCondition(conditions, set('ContainersReady', ready, because(!ready)))
    return {
      ...there.status,
      phase,
      conditions,
      hostIP: '172.18.0.2',
      podIP: `10.244.0.${(Number(there.metadata.resourceVersion) % 250) + 2}`,
      startTime: there.status.startTime ?? now,
      containerStatuses: containers,
      ...(inits.length === 0 ? {} : { initContainerStatuses: inits }),
    }
  }

  #phase(): Pod['status']['phase'] {
    const states = this.#containers.map(one => one.state)
    const ended = states.flatMap(state => (state.terminated === undefined ? [] : [state.terminated.exitCode]))
    const { restartPolicy } = this.#pod.spec
    const final =
      restartPolicy === 'Never' || this.#ending || (restartPolicy === 'OnFailure' && ended.every(code => code === 0))
    if (ended.length === states.length && final) return ended.every(code => code === 0) ? 'Succeeded' : 'Failed'
    const initFailed = this.#inits.some(one => (one.state.terminated?.exitCode ?? 0) !== 0)
    if (initFailed && restartPolicy === 'Never') return 'Failed'
    const begun = states.some(state => state.running !== undefined || state.terminated !== undefined)
    const crashing = states.some(state => state.waiting?.reason === 'CrashLoopBackOff')
    return begun || crashing ? 'Running' : 'Pending'
  }
}
