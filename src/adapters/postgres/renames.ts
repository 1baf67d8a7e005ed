import type { Rename } from '../../data/renames.ts'
import type { SchemaShape } from '../../data/schema.ts'

/**
 * What has another name than in `base`, by the database's own numbers, which survive a rename. A restored database has other
 * numbers than the one that was dumped: there none are known.
 */
export function renames(base: SchemaShape, now: SchemaShape): Rename[] {
  const live = new Map(Object.entries(now.tables).map(([name, shape]) => [shape.id, { name, shape }]))
  return Object.entries(base.tables).flatMap(([was, then]) => {
    const found = then.id === undefined ? undefined : live.get(then.id)
    if (found === undefined) return []
    const columns = new Map(Object.entries(found.shape.columns).map(([name, column]) => [column.id, name]))
    const renamed = Object.entries(then.columns).flatMap(([name, column]) => {
      const called = columns.get(column.id)
      if (called === undefined || called === name) return []
      return [{ was: { table: was, column: name }, now: { table: found.name, column: called } }]
    })
    const table = { was: { table: was, column: null }, now: { table: found.name, column: null } }
    return found.name === was ? renamed : [table, ...renamed]
  })
}
