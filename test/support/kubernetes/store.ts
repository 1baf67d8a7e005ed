import { type Obj } from './types.ts'
import { keyOf, type Resource } from './resources.ts'

export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly key: string
  readonly revision: number
  readonly object: Obj
  /** The object before; null for a new one. */
  readonly before: Obj | null
}

/** How many changes a watch can be behind. etcd keeps five minutes; what is older is 410 Gone. */
const KEPT = 2000

/**
 * What etcd is to the API server: objects by key, one revision for everything, and the changes since. Stored objects are
 * never changed in place.
 */
export class Store {
  #revision = 1000
  readonly #objects = new Map<string, Map<string, Obj>>()
  #changes: Change[] = []
  /** Changes up to here are forgotten. */
  #compacted = 1000
  readonly #listeners = new Set<(change: Change) => void>()

  get revision(): number {
    return this.#revision
  }

  get compacted(): number {
    return this.#compacted
  }

  get(resource: Resource, namespace: string | undefined, name: string): Obj | undefined {
    return this.#objects.get(keyOf(resource))?.get(path(namespace, name))
  }

  /** By name, as etcd answers them. */
  list(resource: Resource, namespace?: string): Obj[] {
    const all = [...(this.#objects.get(keyOf(resource))?.entries() ?? [])]
    const some = namespace === undefined ? all : all.filter(([, object]) => object.metadata.namespace === namespace)
    return some.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object)
  }

  /** Stores a new or changed object under the next revision and answers it as stored. */
  put(resource: Resource, object: Obj): Obj {
    const key = keyOf(resource)
    const at = path(object.metadata.namespace, object.metadata.name)
    const before = this.#objects.get(key)?.get(at) ?? null
    this.#revision += 1
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#revision) } }
    const bucket = this.#objects.get(key) ?? new Map<string, Obj>()
    this.#objects.set(key, bucket.set(at, stored))
    this.#record({
      type: before === null ? 'ADDED' : 'MODIFIED',
      key,
      revision: this.#revision,
      object: stored,
      before,
    })
    return stored
  }

  /** The deleted object carries the revision of its deletion, as a watch shows it. */
  remove(resource: Resource, object: Obj): Obj {
    const key = keyOf(resource)
    const at = path(object.metadata.namespace, object.metadata.name)
    const before = this.#objects.get(key)?.get(at)
    if (before === undefined) return object
    this.#revision += 1
    const gone = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#revision) } }
    this.#objects.get(key)?.delete(at)
    this.#record({ type: 'DELETED', key, revision: this.#revision, object: gone, before })
    return gone
  }

  /** Every change after a revision; null where some of them are forgotten. */
  since(revision: number): Change[] | null {
    return revision < this.#compacted ? null : this.#changes.filter(change => change.revision > revision)
  }

  /** Forgets all changes until now, as etcd's compaction does. */
  compact(): void {
    this.#changes = []
    this.#compacted = this.#revision
  }

  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #record(change: Change): void {
    this.#changes.push(change)
    if (this.#changes.length > KEPT) this.#compacted = this.#changes.shift()?.revision ?? this.#compacted
    for (const listener of this.#listeners) listener(change)
  }
}

function path(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`
}
