import type { ComponentId } from './words.ts'

/** What depends on what, in both directions, nearest first. Answers are worked out once. */
export class Graph {
  readonly #down: ReadonlyMap<ComponentId, readonly ComponentId[]>
  readonly #up = new Map<ComponentId, ComponentId[]>()
  readonly #cache = { down: new Map<ComponentId, Set<ComponentId>>(), up: new Map<ComponentId, Set<ComponentId>>() }

  constructor(nodes: readonly { id: ComponentId; dependsOn: readonly ComponentId[] }[]) {
    this.#down = new Map(nodes.map(n => [n.id, n.dependsOn]))
    for (const { id, dependsOn } of nodes) {
      for (const on of dependsOn) this.#up.set(on, [...(this.#up.get(on) ?? []), id])
    }
  }

  /** Everything that `id` depends on, directly or not. */
  dependencies(id: ComponentId): ReadonlySet<ComponentId> {
    return this.#reach(id, this.#down, this.#cache.down)
  }

  /** Everything that depends on `id`, directly or not. */
  dependents(id: ComponentId): ReadonlySet<ComponentId> {
    return this.#reach(id, this.#up, this.#cache.up)
  }

  #reach(
    from: ComponentId,
    edges: ReadonlyMap<ComponentId, readonly ComponentId[]>,
    cache: Map<ComponentId, Set<ComponentId>>,
  ): Set<ComponentId> {
    const known = cache.get(from)
    if (known !== undefined) return known
    const out = new Set<ComponentId>()
    const queue = [...(edges.get(from) ?? [])]
    for (let i = 0; i < queue.length; i++) {
      const id = queue[i]
      if (id === undefined || id === from || out.has(id)) continue
      out.add(id)
      queue.push(...(edges.get(id) ?? []))
    }
    cache.set(from, out)
    return out
  }

  /** A cycle as the list of its members, or null. */
  cycle(): ComponentId[] | null {
    const state = new Map<ComponentId, 'open' | 'closed'>()
    for (const start of this.#down.keys()) {
      const found = this.#walk(start, state, [])
      if (found !== null) return found
    }
    return null
  }

  #walk(
    id: ComponentId,
    state: Map<ComponentId, 'open' | 'closed'>,
    path: readonly ComponentId[],
  ): ComponentId[] | null {
    if (state.get(id) === 'closed') return null
    if (state.get(id) === 'open') return [...path.slice(path.indexOf(id)), id]
    state.set(id, 'open')
    for (const next of this.#down.get(id) ?? []) {
      const found = this.#walk(next, state, [...path, id])
      if (found !== null) return found
    }
    state.set(id, 'closed')
    return null
  }
}
