import type { Rename } from './renames.ts'
import type { SchemaShape } from './schema.ts'
import type { Read } from './touched-statement.ts'
import { partsOf } from './touched-targets.ts'

/** Tables by their names before the migrations and after, in lower case. */
export type Moved = readonly (readonly [was: string, now: string])[]

/**
 * Which tables bear another name after these statements, in their order, by what they say. None where they cannot have run
 * like that: then nobody can tell which way a name went.
 */
export function movedBy(all: readonly Read[], base: SchemaShape | undefined): Moved {
  const origin = new Map<string, string | null>()
  // Two of one name, in two schemas: a statement names either.
  for (const name of namesIn(base)) origin.set(name, origin.has(name) ? null : name)
  for (const { made, altered, targets, fires } of all) {
    if (made !== null && !(made.kept && origin.has(last(made.name)))) origin.set(last(made.name), null)
    // Nothing else takes anything away without firing.
    if (!fires) for (const name of targets ?? []) origin.delete(last(name))
    if (altered?.now == null) continue
    const [was, now] = [last(altered.table), last(altered.now)]
    const from = origin.get(was)
    if (from === undefined || (was !== now && origin.has(now))) return []
    origin.delete(was)
    origin.set(now, from)
  }
  return [...origin].flatMap(([now, was]) => (was === null || was === now ? [] : [[was, now] as const]))
}

/** The same as tables of the two schemas: of those that are gone and new by their names, and of no others. */
export function movedTables(moved: Moved, base: SchemaShape, now: SchemaShape): Rename[] {
  return moved.flatMap(([was, is]): Rename[] => {
    const [then, ...thenMore] = calledIn(base, was)
    const [here, ...hereMore] = calledIn(now, is)
    if (then === undefined || here === undefined || thenMore.length + hereMore.length > 0) return []
    if (now.tables[then] !== undefined || base.tables[here] !== undefined) return []
    return [{ was: { table: then, column: null }, now: { table: here, column: null } }]
  })
}

function calledIn({ tables }: SchemaShape, name: string): string[] {
  return Object.keys(tables).filter(table => partsOf(table).includes(name))
}

function namesIn(schema: SchemaShape | undefined): string[] {
  return Object.keys(schema?.tables ?? {}).map(table => partsOf(table).at(-1) ?? table)
}

function last(name: string): string {
  return name.split('.').at(-1) ?? name
}
