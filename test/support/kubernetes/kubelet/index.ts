import { type Api } from '../api.ts'
import { type Pod } from '../types.ts'
import { PodWorker } from './pod.ts'
import { type Image, type Registry } from './registry.ts'

/** The kubelets of all nodes: they run the pods that are given to them. */
export class Kubelets {
  readonly #api: Api
  readonly #registry: Registry
  readonly #backoffMs: number
  readonly #workers = new Map<string, PodWorker>()
  readonly #caches = new Map<string, Map<string, Image>>()
  #stopped = false

  constructor(api: Api, registry: Registry, backoffMs: number) {
    this.#api = api
    this.#registry = registry
    this.#backoffMs = backoffMs
    api.store.listen(change => {
      if (change.key === '/pods') this.#hear(change.object as Pod, change.type === 'DELETED')
    })
  }

  worker(pod: { metadata: { uid?: string } }): PodWorker | undefined {
    return this.#workers.get(pod.metadata.uid ?? '')
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all([...this.#workers.values()].map(worker => worker.kill()))
  }

  #hear(pod: Pod, gone: boolean): void {
    const uid = pod.metadata.uid ?? ''
    const worker = this.#workers.get(uid)
    if (gone) {
      this.#workers.delete(uid)
      void worker?.kill()
    } else if (worker !== undefined) {
      worker.update(pod)
    } else if (pod.spec.nodeName !== undefined && !this.#stopped) {
      this.#begin(pod, pod.spec.nodeName)
    }
  }

  #begin(pod: Pod, node: string): void {
    const cache = this.#caches.get(node) ?? new Map<string, Image>()
    this.#caches.set(node, cache)
    const context = { api: this.#api, registry: this.#registry, cache, backoffMs: this.#backoffMs }
    const worker = new PodWorker(pod, context)
    this.#workers.set(pod.metadata.uid ?? '', worker)
    this.#api.clock.after(1, () => worker.begin())
  }
}
