import type { Fingerprint } from '../../data/fingerprint.ts'
import { type Rename, renameCandidates, settle, type Weighed } from '../../data/renames.ts'
import type { SchemaShape } from '../../data/schema.ts'

/**
 * What has another name than in `base`. Known by the database's own numbers where both are of the same database; a
 * restored one has others, and there equal content tells. `print`: the fingerprint of tables of now.
 */
export async function renames(
  base: SchemaShape,
  data: Fingerprint,
  now: SchemaShape,
  print: (tables: readonly string[]) => Promise<Fingerprint>,
): Promise<Rename[]> {
  if (sameDatabase(base, now)) return byId(base, now)
  const candidates = renameCandidates(base, now, (a, b) => a.type === b.type)
  if (candidates.length === 0) return []
  const live = await print([...new Set(candidates.map(c => c.now.table))])
  return settle(candidates.map(c => weigh(c, data, live))).renames.map(({ was, now }) => ({ was, now }))
}

/** The id of a table begins with that of its database. */
function sameDatabase(base: SchemaShape, now: SchemaShape): boolean {
  const origins = [base, now].map(schema => {
    const id = Object.values(schema.tables)[0]?.id
    return id?.slice(0, id.lastIndexOf('.'))
  })
  return origins[0] !== undefined && origins[0] === origins[1]
}

function byId(base: SchemaShape, now: SchemaShape): Rename[] {
  const live = new Map(Object.entries(now.tables).map(([name, shape]) => [shape.id, { name, shape }]))
  return Object.entries(base.tables).flatMap(([was, then]) => {
    const found = live.get(then.id)
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

/** Digests hold the rows' keys: where they are equal, every row has under the new name what it had under the old one. */
function weigh(pair: Rename, data: Fingerprint, live: Fingerprint): Weighed {
  const [then, now] = [data.tables[pair.was.table], live.tables[pair.now.table]]
  const told = { ...pair, rows: now?.rows ?? 0, equal: 0, telling: 0, samePlace: false, untold: null }
  if (then === undefined || now === undefined || data.method !== live.method) {
    return { ...told, untold: 'the digests of then and now do not compare' }
  }
  if (then.rows !== now.rows) return { ...told, untold: 'rows came or went since' }
  const columns = pair.was.column === null ? Object.keys(then.columns) : [pair.was.column]
  const called = (column: string) => pair.now.column ?? column
  const equal = columns.every(c => then.columns[c] !== undefined && then.columns[c] === now.columns[called(c)])
  if (!equal) return told
  const values = columns.map(c => Number.parseInt(then.columns[c] ?? '0', 10))
  return { ...told, equal: now.rows, telling: Math.max(0, ...values) }
}
