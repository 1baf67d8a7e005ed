import type { SchemaShape } from './schema.ts'
import type { Read } from './touched-statement.ts'

/** A name as it stands in `Touched`. */
export function plain(name: string): string {
  return name.replaceAll('"', '').toLowerCase()
}

/** What statements may call a table of `SchemaShape`: with its schema and without. */
export function partsOf(table: string): string[] {
  return [plain(table), plain(table.split('.').at(-1) ?? table)]
}

export function isKnown({ tables }: SchemaShape, name: string): boolean {
  return Object.keys(tables).some(table => partsOf(table).includes(name))
}

/**
 * Rows are written under a name that is no table's own: through a view, in a part of a table, or in one that others inherit
 * from. Which columns of which table that were, the names do not tell.
 */
export function writesElsewhere(all: readonly Read[], schemas: readonly SchemaShape[]): boolean {
  const known = tablesIn(all, schemas)
  const views = new Set(schemas.flatMap(({ views: of }) => Object.keys(of).flatMap(partsOf)))
  const constraints = schemas.flatMap(({ tables }) => Object.values(tables).flatMap(t => t.constraints))
  const parents = textsAfter(constraints, /^inherits (.+)$/)
  const parts = textsAfter(constraints, /^partition (\S+) of /)
  const isTable = (target: string) => {
    const last = target.split('.').at(-1) ?? target
    return (known.has(target) || known.has(last)) && !views.has(last)
  }
  return all.some(({ targets, fires, wrote, names }) => {
    if (targets === null || (wrote !== null && names.some(name => parents.has(name)))) return true
    return fires ? !targets.every(isTable) : targets.some(target => parts.has(target.split('.').at(-1) ?? target))
  })
}

/** Tables before and after, and those that come and go with the statements. */
function tablesIn(all: readonly Read[], schemas: readonly SchemaShape[]): Set<string> {
  const known = new Set(schemas.flatMap(({ tables }) => Object.keys(tables).flatMap(partsOf)))
  for (const { made, altered } of all) {
    if (made !== null && !made.part) known.add(made.name)
    const last = altered?.table.split('.').at(-1)
    if (altered?.now != null && last !== undefined && known.has(last)) known.add(altered.now)
  }
  return known
}

function textsAfter(constraints: readonly string[], pattern: RegExp): Set<string> {
  return new Set(constraints.flatMap(text => partsOf(pattern.exec(text)?.[1] ?? '')))
}
