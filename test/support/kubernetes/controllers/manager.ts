import { type Api } from '../api.ts'
import { ApiError } from '../status.ts'
import { type Change } from '../store.ts'
import { type Obj } from '../types.ts'

/** A control loop: what changes makes it look again, and what it does when it looks. */
export interface Controller {
  readonly name: string
  /** Which objects, as `namespace/name`, a change makes it look at. */
  keysOf(change: Change): string[]
  sync(namespace: string, name: string): void
}

const RETRY_MS = 25

/** kube-controller-manager: runs each controller for each object that something changed about, one at a time. */
export class ControllerManager {
  readonly #api: Api
  readonly #controllers: Controller[] = []
  readonly #dirty = new Map<Controller, Set<string>>()
  #scheduled = false
  #stopped = false
  /** Mistakes of the stand-in itself; a test run must not pass over them. */
  readonly failures: Error[] = []

  constructor(api: Api) {
    this.#api = api
    api.store.listen(change => this.#hear(change))
  }

  add(controller: Controller): void {
    this.#controllers.push(controller)
    this.#dirty.set(controller, new Set())
  }

  /** Looks at an object again, now or later, though nothing changed. */
  again(controller: Controller, namespace: string | undefined, name: string, ms = 0): void {
    this.#api.clock.after(ms, () => this.#mark(controller, `${namespace ?? ''}/${name}`))
  }

  stop(): void {
    this.#stopped = true
  }

  #hear(change: Change): void {
    for (const controller of this.#controllers) {
      for (const key of controller.keysOf(change)) this.#mark(controller, key)
    }
  }

  #mark(controller: Controller, key: string): void {
    this.#dirty.get(controller)?.add(key)
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    setImmediate(() => this.#run())
  }

  #run(): void {
    this.#scheduled = false
    for (const [controller, keys] of this.#dirty) {
      const now = [...keys]
      keys.clear()
      for (const key of now) if (!this.#stopped) this.#sync(controller, key)
    }
  }

  #sync(controller: Controller, key: string): void {
    const [namespace = '', name = ''] = key.split('/')
    try {
      controller.sync(namespace, name)
    } catch (error) {
      if (!(error instanceof ApiError)) this.failures.push(error as Error)
      else this.again(controller, namespace, name, RETRY_MS)
    }
  }
}

export function keyOfObject(object: Obj): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`
}

/** The key of whoever controls an object, if it is of that kind. */
export function ownerKey(object: Obj, kind: string): string[] {
  const owner = controllerOf(object)
  return owner?.kind === kind ? [`${object.metadata.namespace ?? ''}/${owner.name}`] : []
}

export function controllerOf(object: Obj): { kind: string; name: string; uid: string } | undefined {
  return object.metadata.ownerReferences?.find(owner => owner.controller === true)
}
