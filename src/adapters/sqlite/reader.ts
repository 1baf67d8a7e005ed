import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import type { Reader, Row } from '../../data/engine.ts'
import { recased } from '../../data/renames.ts'
import { type Again, count } from './database.ts'
import { fingerprint, rowCounts } from './fingerprint.ts'
import { readSchema } from './schema.ts'

const ROWS_AT_ONCE = 1_000

/** Reads one open database. Whoever opened it says of which instant, and how others see the same. */
export function readerOf(db: DatabaseSync, signal: AbortSignal, again: Again | null = null): Reader {
  return {
    query: async (sql, values = []) =>
      prepared(db, sql)
        .all(...bound(values))
        .map(plain),
    each: (sql, values, row) => each(db, sql, values, row, signal),
    schema: async () => readSchema(db),
    fingerprint: (schema, part) => fingerprint(db, schema, signal, part, again),
    rowCounts: async schema => rowCounts(db, schema),
    bytes: async () => count(db, 'SELECT page_count * page_size FROM pragma_page_count, pragma_page_size'),
    renames: async (base, _data, now) => recased(base, now, true),
  }
}

async function each(
  db: DatabaseSync,
  sql: string,
  values: readonly unknown[],
  row: (row: Row) => void | Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let seen = 0
  for (const found of prepared(db, sql).iterate(...bound(values))) {
    const waiting = row(plain(found))
    if (waiting !== undefined) await waiting
    if (++seen % ROWS_AT_ONCE !== 0) continue
    signal.throwIfAborted()
    await setImmediate()
  }
}

function prepared(db: DatabaseSync, sql: string) {
  const statement = db.prepare(sql)
  statement.setReadBigInts(true)
  return statement
}

function bound(values: readonly unknown[]): SQLInputValue[] {
  return values.map(v => (typeof v === 'boolean' ? Number(v) : (v as SQLInputValue)))
}

/** Whole numbers that a number holds exactly become one. */
function plain(row: Row): Row {
  for (const [name, value] of Object.entries(row)) {
    if (typeof value === 'bigint' && Number.isSafeInteger(Number(value))) row[name] = Number(value)
  }
  return row
}
