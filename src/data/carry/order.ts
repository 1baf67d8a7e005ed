import type { Bonds } from '../engine.ts'

/**
 * Tables with what they refer to before them: strongly connected components of the foreign keys (Tarjan), those that
 * others refer to first. Tables of one component stand beside each other.
 */
export function parentsFirst(tables: readonly string[], bonds: Readonly<Record<string, Bonds>>): string[][] {
  const known = new Set(tables)
  const parents = (name: string) =>
    (bonds[name]?.references ?? []).map(r => r.table).filter(t => t !== name && known.has(t))
  const seen = new Map<string, { at: number; low: number; open: boolean }>()
  const stack: string[] = []
  const out: string[][] = []
  const visit = (root: string): void => {
    // An explicit stack: a chain of references may be longer than calls may be deep.
    const way: { name: string; left: string[] }[] = []
    const enter = (name: string) => {
      seen.set(name, { at: seen.size, low: seen.size, open: true })
      stack.push(name)
      way.push({ name, left: parents(name) })
    }
    enter(root)
    while (way.length > 0) {
      const here = way.at(-1) as (typeof way)[number]
      const mark = seen.get(here.name) as { at: number; low: number; open: boolean }
      const next = here.left.pop()
      if (next === undefined) {
        way.pop()
        const above = way.at(-1)
        const over = above === undefined ? undefined : seen.get(above.name)
        if (over !== undefined) over.low = Math.min(over.low, mark.low)
        if (mark.low === mark.at) out.push(close(here.name))
      } else {
        const known = seen.get(next)
        if (known === undefined) enter(next)
        else if (known.open) mark.low = Math.min(mark.low, known.at)
      }
    }
  }
  const close = (name: string): string[] => {
    const part = stack.splice(stack.indexOf(name))
    for (const member of part) (seen.get(member) as { open: boolean }).open = false
    return part.sort()
  }
  for (const name of [...tables].sort()) if (!seen.has(name)) visit(name)
  return out
}
