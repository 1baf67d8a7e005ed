import type { DatabaseSync } from 'node:sqlite'
import type { FingerprintPart } from '../../data/engine.ts'
import type { Fingerprint, TableFingerprint } from '../../data/fingerprint.ts'
import type { SchemaShape } from '../../data/schema.ts'
import { all, type Again, quoted } from './database.ts'
import { digestsOf, type Part } from './digests.ts'
import { digestsOnThreads } from './threads.ts'

export const METHOD = 'sqlite-2'

/** Reads every value of every table of the schema, where it can on several threads. */
export async function fingerprint(
  db: DatabaseSync,
  schema: SchemaShape,
  signal: AbortSignal,
  part?: FingerprintPart,
  again: Again | null = null,
): Promise<Fingerprint> {
  const parts = partsOf(schema, part)
  const threaded = again === null ? null : await digestsOnThreads(db, again, parts, signal)
  const tables: Record<string, TableFingerprint> = {}
  for (const [i, each] of parts.entries()) {
    tables[each.table] = threaded?.[i] ?? (await digestsOf(db, each, signal))
  }
  return { method: METHOD, tables }
}

function partsOf(schema: SchemaShape, part?: FingerprintPart): Part[] {
  const named = Object.entries(schema.tables).filter(([name]) => part === undefined || part.tables.includes(name))
  return named.map(([table, shape]) => {
    const wanted = part?.columns?.[table] ?? Object.keys(shape.columns)
    const columns = wanted.filter(c => shape.columns[c]?.generated === false)
    return { table, shape, columns, ...(part?.rows === undefined ? {} : { rows: part.rows }) }
  })
}

/** Rows of each table. Cheap beside a fingerprint. */
export function rowCounts(db: DatabaseSync, schema: SchemaShape): Record<string, number> {
  const names = Object.keys(schema.tables)
  return Object.fromEntries(
    names.map(name => [name, Number(all(db, `SELECT count(*) AS n FROM ${quoted(name)}`)[0]?.['n'])]),
  )
}
