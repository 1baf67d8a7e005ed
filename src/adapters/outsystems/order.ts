/** What an application uses, by name. */
export type Producers = Readonly<Record<string, readonly string[]>>

/**
 * Names in an order in which every application comes after those that it uses, directly or through others that do not change.
 * `unplaced`: those of which the settings say nothing. `cycle`: those that use one another, which have no order.
 */
export function bottomUp(
  names: readonly string[],
  producers: Producers,
): { readonly order: readonly string[]; readonly unplaced: readonly string[]; readonly cycle: readonly string[] } {
  const known = new Set([...Object.keys(producers), ...Object.values(producers).flat()])
  const unplaced = names.length < 2 ? [] : names.filter(name => !known.has(name))
  const below = new Map(names.map(name => [name, reached(name, producers)]))
  const left = [...names].toSorted()
  const order: string[] = []
  while (left.length > 0) {
    const next = left.findIndex(name => left.every(other => other === name || below.get(name)?.has(other) !== true))
    if (next < 0) return { order, unplaced, cycle: left }
    order.push(...left.splice(next, 1))
  }
  return { order, unplaced, cycle: [] }
}

/** All that an application uses, directly or not. */
function reached(name: string, producers: Producers): Set<string> {
  const seen = new Set<string>()
  const left = [...(producers[name] ?? [])]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    left.push(...(producers[next] ?? []))
  }
  return seen
}
