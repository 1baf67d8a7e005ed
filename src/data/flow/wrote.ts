import { BackoutError } from '../../core/errors.ts'
import type { SchemaShape } from '../schema.ts'
import type { Touched } from '../touched.ts'
import { plain } from '../touched-targets.ts'

/** As it is said that the migrations wrote nothing. */
const NOTHING = 'none'

/**
 * What somebody says that the migrations wrote: "orders" (rows of it may have come and gone), "orders.total" (cells of that
 * column only), "none". Throws `wrote_unknown` where a word names neither a table nor a column.
 */
export function wroteBy(words: readonly string[], schemas: readonly SchemaShape[], database: string): Touched {
  const tables = new Set<string>()
  const columns = new Map<string, Set<string>>()
  const whole = new Set<string>()
  for (const word of words.filter(w => w !== NOTHING)) {
    const [table, column] = namedIn(schemas, word) ?? unknown(word, database)
    tables.add(table)
    if (column === null) whole.add(table)
    else columns.set(table, new Set([...(columns.get(table) ?? []), column]))
  }
  const only = [...columns].filter(([table]) => !whole.has(table)).map(([table, list]) => [table, [...list]] as const)
  return { tables: [...tables], columns: Object.fromEntries(only) }
}

function namedIn(schemas: readonly SchemaShape[], word: string): [table: string, column: string | null] | null {
  const wanted = plain(word)
  for (const { tables } of schemas) {
    for (const [name, shape] of Object.entries(tables)) {
      const table = plain(name)
      if (table === wanted) return [table, null]
      const column = Object.keys(shape.columns).find(c => `${table}.${plain(c)}` === wanted)
      if (column !== undefined) return [table, plain(column)]
    }
  }
  return null
}

function unknown(word: string, database: string): never {
  throw new BackoutError({
    code: 'wrote_unknown',
    what: `${word} is neither a table nor a column of ${database}`,
    next: 'name them as the database does: --wrote orders.total, or --wrote orders where rows came or went; --wrote none',
    exit: 'usage',
  })
}
