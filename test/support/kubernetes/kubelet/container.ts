import { randomBytes } from 'node:crypto'
import { type Api } from '../api.ts'
import { type Container, type ContainerState, type ContainerStatus, type Pod, type Probe } from '../types.ts'
import { environment } from './environment.ts'
import { fullName, type Image, type Registry, repository } from './registry.ts'
import { type Running, start } from './run.ts'

export interface ContainerContext {
  readonly api: Api
  readonly registry: Registry
  /** Images that the node has: with `IfNotPresent` a moved tag is not noticed. */
  readonly cache: Map<string, Image>
  readonly backoffMs: number
  /** The pod as it is now. */
  readonly pod: () => Pod
  readonly changed: () => void
  /** Runs before the others, to its end; a sidecar stays. */
  readonly init: boolean
  readonly tell: (type: 'Normal' | 'Warning', reason: string, message: string) => void
}

const NEXT_ROUND_MS = 40
/** A kubelet lists its containers once a second: one that ended before was never seen to run. */
const SEEN_AFTER_MS = 200

/** An init container that stays beside the others, whatever its pod says of restarts (GA in 1.33). */
export function isSidecar({ restartPolicy }: Container): boolean {
  return restartPolicy === 'Always'
}

/** One container on a node: pulled, started, probed, restarted with back-off (pkg/kubelet/kuberuntime). */
export class ContainerWorker {
  readonly spec: Container
  readonly #c: ContainerContext
  #image: Image | null = null
  #running: Running | null = null
  #state: ContainerState = { waiting: { reason: 'ContainerCreating' } }
  #lastState: ContainerState = {}
  #restarts = 0
  #ready = false
  #started = false
  #id: string | undefined
  #pulls = 0
  #stopped = false
  #cancelProbe: () => void = () => {}
  previous: readonly string[] | null = null

  constructor(spec: Container, context: ContainerContext) {
    this.spec = spec
    this.#c = context
  }

  get running(): Running | null {
    return this.#running
  }

  /** It runs, and its startup probe has let it by. */
  get started(): boolean {
    return this.#started
  }

  get lines(): readonly string[] {
    return this.#running?.lines ?? this.previous ?? []
  }

  get state(): ContainerState {
    return this.#state
  }

  status(): ContainerStatus {
    const full = fullName(this.spec.image)
    return {
      name: this.spec.name,
      image: this.#image === null ? this.spec.image : full,
      imageID: this.#image === null ? '' : `${repository(full)}@${this.#image.digest}`,
      ready: this.#ready,
      started: this.#started,
      restartCount: this.#restarts,
      ...(this.#id === undefined ? {} : { containerID: this.#id }),
      state: this.#state,
      lastState: this.#lastState,
    }
  }

  pull(): void {
    if (this.#stopped) return
    const cached = this.#c.cache.get(fullName(this.spec.image))
    const policy = this.spec.imagePullPolicy
    if (policy === 'Never' && cached === undefined) {
      return this.#wait(
        'ErrImageNeverPull',
        `Container image "${this.spec.image}" is not present with pull policy of Never`,
      )
    }
    if (cached !== undefined && policy !== 'Always') return this.#start(cached)
    this.#c.tell('Normal', 'Pulling', `Pulling image "${this.spec.image}"`)
    const found = this.#c.registry.resolve(this.spec.image)
    this.#c.api.clock.after(found?.pullMs ?? 5, () => this.#pulled())
  }

  #pulled(): void {
    if (this.#stopped) return
    const found = this.#c.registry.resolve(this.spec.image)
    if (found !== undefined) {
      this.#c.cache.set(fullName(this.spec.image), found)
      this.#c.tell('Normal', 'Pulled', `Successfully pulled image "${this.spec.image}"`)
      return this.#start(found)
    }
    const full = fullName(this.spec.image)
    const why = `failed to pull and unpack image "${full}": failed to resolve reference "${full}": ${full}: not found`
    const text = `rpc error: code = NotFound desc = ${why}`
    this.#c.tell('Warning', 'Failed', `Failed to pull image "${this.spec.image}": ${text}`)
    this.#wait('ErrImagePull', text)
    this.#pulls += 1
    this.#c.api.clock.after(20, () => {
      if (this.#stopped || this.#state.waiting === undefined) return
      this.#wait('ImagePullBackOff', `Back-off pulling image "${this.spec.image}": ErrImagePull: ${text}`)
    })
    this.#c.api.clock.after(this.#c.backoffMs * 2 ** Math.min(this.#pulls - 1, 5), () => this.pull())
  }

  #start(image: Image): void {
    if (this.#stopped) return
    this.#image = image
    const made = environment(this.#c.api, this.#c.pod(), this.spec)
    if ('missing' in made) {
      this.#wait('CreateContainerConfigError', made.missing)
      this.#c.tell('Warning', 'Failed', `Error: ${made.missing}`)
      this.#c.api.clock.after(this.#c.backoffMs, () => this.pull())
      return
    }
    const running = start(image, this.spec, made.env, this.#c.api.clock)
    const startedAt = this.#c.api.clock.stamp()
    this.#running = running
    this.#id = `containerd://${randomBytes(32).toString('hex')}`
    running.onEnd = code => this.#ended(running, code, startedAt)
    const seen = (): void => {
      if (this.#running !== running || this.#stopped) return
      this.#state = { running: { startedAt } }
      void this.#startUp(running, image)
      this.#c.changed()
    }
    if (image.shell !== true && image.exits === undefined) seen()
    else void running.begun.then(() => this.#c.api.clock.after(SEEN_AFTER_MS, seen))
  }

  /** Nothing else is probed before, and what comes after a sidecar does not begin. */
  async #startUp(running: Running, image: Image): Promise<void> {
    const { clock } = this.#c.api
    const { startupProbe } = this.spec
    const ok = startupProbe === undefined || (await this.#probe(startupProbe, image, clock.now()))
    if (this.#running !== running || this.#stopped) return
    if (!ok) {
      const every = (startupProbe?.periodSeconds ?? 10) * 1000
      this.#cancelProbe = clock.after(every, () => void this.#startUp(running, image))
      return
    }
    this.#started = true
    this.#ready = this.spec.readinessProbe === undefined && image.readyAfterMs === undefined
    if (!this.#ready) this.#probeLater(image, this.#c.api.clock.now())
    this.#c.changed()
  }

  #probeLater(image: Image, startedAt: number): void {
    const { clock } = this.#c.api
    const probe = this.spec.readinessProbe
    const first = Math.max((probe?.initialDelaySeconds ?? 0) * 1000, image.readyAfterMs ?? 0)
    const look = async (): Promise<void> => {
      const running = this.#running
      const ok = running !== null && (await this.#probe(probe, image, startedAt))
      if (this.#running !== running || this.#stopped) return
      if (ok !== this.#ready) {
        this.#ready = ok
        this.#c.changed()
      }
      if (probe !== undefined && running !== null)
        this.#cancelProbe = clock.after((probe.periodSeconds ?? 10) * 1000, () => void look())
    }
    this.#cancelProbe = clock.after(Math.max(first, 1), () => void look())
  }

  async #probe(probe: Probe | undefined, image: Image, startedAt: number): Promise<boolean> {
    if (this.#c.api.clock.now() < startedAt + (image.readyAfterMs ?? 0)) return false
    if (probe === undefined) return true
    if (probe.exec !== undefined) return (await this.#running?.exec(probe.exec.command)) === 0
    const asked = probe.httpGet?.port ?? probe.tcpSocket?.port
    const named = (this.spec['ports'] as { name?: string; containerPort: number }[] | undefined)?.find(
      port => port.name === asked,
    )
    return (image.listens ?? []).includes(Number(named?.containerPort ?? asked))
  }

  #ended(running: Running, code: number, startedAt: string): void {
    this.previous = running.lines
    this.#running = null
    this.#started = false
    this.#ready = false
    this.#cancelProbe()
    const reason = code === 0 ? 'Completed' : 'Error'
    const id = this.#id === undefined ? {} : { containerID: this.#id }
    const terminated = { exitCode: code, reason, startedAt, finishedAt: this.#c.api.clock.stamp(), ...id }
    this.#state = { terminated }
    this.#c.changed()
    if (!this.#stopped && this.#restartsAfter(code)) this.#restart(terminated)
  }

  #restartsAfter(code: number): boolean {
    if (isSidecar(this.spec)) return true
    const policy = this.#c.pod().spec.restartPolicy
    return policy !== 'Never' && (code !== 0 || (policy === 'Always' && !this.#c.init))
  }

  /** The first restart comes at once; each one after it waits twice as long. */
  #restart(terminated: NonNullable<ContainerState['terminated']>): void {
    const { clock } = this.#c.api
    const pod = this.#c.pod()
    const again = (): void => {
      if (this.#stopped) return
      this.#lastState = { terminated }
      this.#restarts += 1
      this.pull()
    }
    if (this.#restarts === 0) return void clock.after(5, again)
    const wait = this.#c.backoffMs * 2 ** Math.min(this.#restarts - 1, 5)
    const seconds = 10 * 2 ** Math.min(this.#restarts - 1, 5)
    const where = `pod=${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`
    const backOff = (): void => {
      if (this.#stopped) return
      this.#lastState = { terminated }
      this.#wait('CrashLoopBackOff', `back-off ${seconds}s restarting failed container=${this.spec.name} ${where}`)
      this.#c.tell('Warning', 'BackOff', `Back-off restarting failed container ${this.spec.name} in pod ${where}`)
    }
    // Its end is seen first: a kubelet decides about the next start in its next round.
    clock.after(NEXT_ROUND_MS, backOff)
    clock.after(Math.max(wait, 2 * NEXT_ROUND_MS), again)
  }

  #wait(reason: string, message: string): void {
    this.#ready = false
    this.#state = { waiting: { reason, message } }
    this.#c.changed()
  }

  /** Answers when it has ended. */
  stop(graceMs: number): Promise<void> {
    this.#stopped = true
    this.#cancelProbe()
    const running = this.#running
    if (running === null) return Promise.resolve()
    return new Promise(resolve => {
      const ended = running.onEnd
      running.onEnd = code => {
        ended(code)
        resolve()
      }
      running.stop(graceMs)
    })
  }
}
