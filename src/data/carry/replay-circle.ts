import type { Ground } from './piece.ts'
import { LINE, type Lines, TO_PUT } from './replay-lines.ts'
import type { Strangers } from './strangers.ts'

export interface Circle {
  /** Tables that refer to each other, or one that does to itself. */
  readonly group: readonly string[]
  readonly places: readonly { readonly lines: Lines | null }[]
  readonly strangers: Strangers
}

/**
 * Marks lines that refer to a row that is not there and does not come either, and what refers to these in turn, down to the
 * last: found out before anything is written, for by writing each look would find one link of a chain only.
 */
export async function markCut({ merger }: Ground, { group, places, strangers }: Circle): Promise<void> {
  const all = places.flatMap(({ lines }) => lines ?? [])
  const idOf = (lines: Lines, n: unknown) => `${all.indexOf(lines)}:${Number(n)}`
  const children = new Map<string, string[]>()
  const cut: string[] = []
  for (const lines of all) {
    for (const reference of strangers.referencesOf(lines.kept.table).filter(r => group.includes(r.table))) {
      const query = strangers.orphans(lines, reference, TO_PUT)
      const orphans = new Set((query === null ? [] : await merger.query(query)).map(({ n }) => idOf(lines, n)))
      const waiting = new Set<string>()
      for (const parent of all.filter(l => l.kept.what === 'rows' && l.kept.table === reference.table)) {
        const pairs = orphans.size === 0 ? null : strangers.parents(lines, reference, parent, TO_PUT)
        for (const { n, p } of pairs === null ? [] : await merger.query(pairs)) {
          const [child, from] = [idOf(lines, n), idOf(parent, p)]
          if (!orphans.has(child)) continue
          waiting.add(child)
          children.set(from, children.get(from) ?? [])
          children.get(from)?.push(child)
        }
      }
      cut.push(...[...orphans].filter(id => !waiting.has(id)))
    }
  }
  await mark(all, reached(cut, children))
}

function reached(from: readonly string[], children: ReadonlyMap<string, readonly string[]>): Set<string> {
  const found = new Set(from)
  for (const id of found) for (const child of children.get(id) ?? []) found.add(child)
  return found
}

const AT_ONCE = 1_000

async function mark(all: readonly Lines[], ids: ReadonlySet<string>): Promise<void> {
  for (const [i, lines] of all.entries()) {
    const numbers = [...ids].flatMap(id => (id.startsWith(`${i}:`) ? [id.slice(id.indexOf(':') + 1)] : []))
    for (let at = 0; at < numbers.length; at += AT_ONCE) {
      const some = numbers.slice(at, at + AT_ONCE)
      await lines.mark(LINE.cut, `SELECT w.n AS n FROM ${lines.work} AS w WHERE w.n IN (${some.join(', ')})`)
    }
  }
}
