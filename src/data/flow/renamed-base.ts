import { called } from '../references.ts'
import type { Rename } from '../renames.ts'
import type { SchemaShape, TableShape } from '../schema.ts'

/** What the columns and tables of then are called now. */
type Names = ReadonlyMap<string, string>

/**
 * The schema of then in the names of now, so that what was renamed is compared with what it was. A rename that was undone
 * meanwhile counts no more.
 */
export function underNewNames(base: SchemaShape, live: SchemaShape, renames: readonly Rename[]): SchemaShape {
  const there = renames.filter(r => isInForce(r, live, renames))
  if (there.length === 0) return base
  const tables: Names = new Map(there.flatMap(r => (r.now.column === null ? [[r.was.table, r.now.table]] : [])))
  const columnsOf = (table: string): Names =>
    new Map(
      there.flatMap(({ was, now }) =>
        was.table === table && was.column !== null && now.column !== null ? [[was.column, now.column]] : [],
      ),
    )
  const named = Object.entries(base.tables).map(([name, shape]) => {
    const say = (text: string) => saidNow(text, columnsOf(name), Object.keys(base.tables), tables, columnsOf)
    return [tables.get(name) ?? name, tableNow(shape, columnsOf(name), say)] as const
  })
  return { ...base, tables: Object.fromEntries(named) }
}

/** Its new name is there, and its old one is nothing's, or that of something that was renamed too. */
function isInForce({ was, now }: Rename, live: SchemaShape, renames: readonly Rename[]): boolean {
  const here = live.tables[now.table]
  if (now.column === null) {
    return (
      here !== undefined &&
      (live.tables[was.table] === undefined || renames.some(r => r.now.column === null && r.now.table === was.table))
    )
  }
  if (here?.columns[now.column] === undefined || was.column === null) return false
  const taken = renames.some(r => r.now.table === now.table && r.now.column === was.column)
  return here.columns[was.column] === undefined || taken
}

function tableNow(shape: TableShape, columns: Names, say: (text: string) => string): TableShape {
  const named = <T>(list: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(list).map(([name, value]) => [columns.get(name) ?? name, value]))
  const indexes = Object.entries(shape.indexes).map(([name, index]) => [name, { ...index, on: say(index.on) }])
  return {
    ...shape,
    columns: named(shape.columns),
    key: shape.key.map(name => columns.get(name) ?? name),
    indexes: Object.fromEntries(indexes),
    constraints: shape.constraints.map(say),
  }
}

/** What a constraint refers to is named by the names of the other table. */
function saidNow(
  text: string,
  columns: Names,
  known: readonly string[],
  tables: Names,
  columnsOf: (table: string) => Names,
): string {
  const reference = /^(foreign key .*?\breferences )([^()]+?)( ?\([^()]*\))(.*)$/is.exec(text)
  if (reference === null) return replaced(text, columns)
  const [, own = '', to = '', list = '', rest = ''] = reference
  const table = called(known, to) ?? to
  return `${replaced(own, columns)}${tables.get(table) ?? to}${replaced(list, columnsOf(table))}${rest}`
}

/** Words and quoted names that are among these; what stands in a text stays. */
function replaced(text: string, names: Names): string {
  if (names.size === 0) return text
  return text.replaceAll(
    /'(?:[^']|'')*'|(["`])(.*?)\1|[\p{L}_][\p{L}\p{N}_$]*/gu,
    (word, quote?: string, inner?: string) => {
      const name = names.get(inner ?? word)
      if (name === undefined) return word
      const mark = quote ?? (/^[a-z_][a-z0-9_$]*$/.test(name) ? '' : '"')
      return `${mark}${name}${mark}`
    },
  )
}
