import type { Node, Step } from './contract.ts'
import type { StepId } from './words.ts'

export type StepLookup = (id: StepId) => Step | undefined

/** How long a node should take, in milliseconds: sums along sequences, the longest lane of what runs side by side. */
export function estimate(node: Node, lookup: StepLookup): number {
  if ('step' in node) return lookup(node.step)?.estimateMs ?? 0
  if ('gate' in node) return node.forMs
  if ('seq' in node) return node.seq.reduce((sum, n) => sum + estimate(n, lookup), 0)
  return lanes(node.par, node.limit, n => estimate(n, lookup))
}

/** Simulates the schedule: each item starts when a lane is free and all before it have ended. */
function lanes(
  items: readonly { id: string; after: readonly string[]; node: Node }[],
  limit: number,
  cost: (node: Node) => number,
): number {
  const ends = new Map<string, number>()
  const free = Array.from({ length: Math.max(1, Math.min(limit, items.length)) }, () => 0)
  const left = [...items]
  const known = new Set(items.map(item => item.id))
  while (left.length > 0) {
    const next = left.findIndex(item => item.after.every(id => ends.has(id) || !known.has(id)))
    const [item] = left.splice(Math.max(0, next), 1)
    if (item === undefined) break
    const ready = Math.max(0, ...item.after.map(id => ends.get(id) ?? 0))
    const lane = free.indexOf(Math.min(...free))
    const end = Math.max(ready, free[lane] ?? 0) + cost(item.node)
    free[lane] = end
    ends.set(item.id, end)
  }
  return Math.max(0, ...ends.values())
}

/** How long steps took when they were really applied, by their id, the newest first. Milliseconds. */
export type Durations = ReadonlyMap<StepId, readonly number[]>

/** So many of the newest count: a system gets slower or faster in time. */
const COUNTED = 5

/** The median of the newest durations; null where there is none. */
export function measured(durations: readonly number[] = []): { readonly ms: number; readonly of: number } | null {
  const counted = durations.slice(0, COUNTED).toSorted((a, b) => a - b)
  const middle = counted.slice(Math.floor((counted.length - 1) / 2), Math.floor(counted.length / 2) + 1)
  if (middle.length === 0) return null
  return { ms: Math.round(middle.reduce((sum, ms) => sum + ms, 0) / middle.length), of: counted.length }
}
