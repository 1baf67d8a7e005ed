import { type Api } from '../api.ts'
import { tell, writeStatus } from '../controllers/owned.ts'
import { withCondition } from '../controllers/pods.ts'
import { ApiError } from '../status.ts'
import { type Condition, type Pod, same } from '../types.ts'
import { ContainerWorker, isSidecar } from './container.ts'
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
  readonly #begun = new Set<ContainerWorker>()
  #ending = false
  #scheduled = false

  constructor(pod: Pod, context: PodContext) {
    this.#pod = pod
    this.#c = context
    const worker = (spec: Pod['spec']['containers'][number], init: boolean): ContainerWorker =>
      new ContainerWorker(spec, {
        ...context,
        init,
        pod: () => this.#pod,
        changed: () => this.#report(),
        tell: (type, reason, message) => tell(context.api, this.#pod, type, reason, message, 'kubelet'),
      })
    this.#containers = pod.spec.containers.map(one => worker(one, false))
    this.#inits = (pod.spec.initContainers ?? []).map(one => worker(one, true))
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

  /** Init containers one after the other, each once the one before has ended well or, a sidecar, has started; then all others. */
  #proceed(): void {
    const next = this.#inits.find(one => !hasLetBy(one))
    for (const one of next === undefined ? this.#containers : [next]) {
      if (this.#begun.has(one)) continue
      this.#begun.add(one)
      one.pull()
    }
  }

  update(pod: Pod): void {
    this.#pod = pod
    if (pod.metadata.deletionTimestamp !== undefined)
      void this.end((pod.metadata.deletionGracePeriodSeconds ?? 30) * 1000)
  }

  async end(graceMs: number): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    await Promise.all(this.#containers.map(one => one.stop(graceMs)))
    // They serve the others until these have ended.
    await Promise.all(this.#inits.map(one => one.stop(graceMs)))
    // How it ended is told before it is gone.
    this.#write()
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
      this.#endSidecars()
      this.#write()
    })
  }

  /** Whom they were there for has ended, and is not started again. */
  #endSidecars(): void {
    if (!this.#isOver()) return
    for (const one of this.#sidecars) if (one.running !== null) void one.stop(1_000)
  }

  get #sidecars(): ContainerWorker[] {
    return this.#inits.filter(one => isSidecar(one.spec))
  }

  #afterInit(): void {
    if (!this.#ending && this.#inits.some(hasLetBy)) this.#proceed()
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
    const stay = [...this.#sidecars.map(one => one.status()), ...containers]
    const unready = stay.filter(one => !one.ready).map(one => one.name)
    const initialised = this.#inits.every(hasLetBy)
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
    const { restartPolicy } = this.#pod.spec
    if (this.#isOver() && this.#sidecars.every(one => one.running === null))
      return this.#ends.every(code => code === 0) ? 'Succeeded' : 'Failed'
    const first = this.#inits.filter(one => !isSidecar(one.spec))
    if (first.some(one => (one.state.terminated?.exitCode ?? 0) !== 0) && restartPolicy === 'Never') return 'Failed'
    const begun = states.some(state => state.running !== undefined || state.terminated !== undefined)
    const crashing = states.some(state => state.waiting?.reason === 'CrashLoopBackOff')
    return begun || crashing ? 'Running' : 'Pending'
  }

  get #ends(): number[] {
    return this.#containers.flatMap(({ state: { terminated } }) =>
      terminated === undefined ? [] : [terminated.exitCode],
    )
  }

  /** All but its sidecars have ended, and none is started again. */
  #isOver(): boolean {
    const { restartPolicy } = this.#pod.spec
    const ends = this.#ends
    const well = ends.every(code => code === 0)
    const final = restartPolicy === 'Never' || this.#ending || (restartPolicy === 'OnFailure' && well)
    return ends.length === this.#containers.length && final
  }
}

/** Whether what comes after an init container may begin. */
function hasLetBy({ spec, state, started }: ContainerWorker): boolean {
  return isSidecar(spec) ? started : state.terminated?.exitCode === 0
}
