import type { SchemaShape, TableShape } from './schema.ts'

/** What a foreign key says, as the tables call their columns. */
export interface ForeignKey {
  readonly columns: readonly string[]
  readonly table: string
  readonly to: readonly string[]
}

/** The foreign key that a constraint of a table is; null: it is none, or names what the schema has not. */
export function foreignKeyIn(text: string, table: TableShape | undefined, schema: SchemaShape): ForeignKey | null {
  const found = /^foreign key \(([^()]+)\) references ([^()]+?) ?\(([^()]*)\)/i.exec(text)
  const to = tableNamed(schema, found?.[2])
  const parent = to === null ? undefined : schema.tables[to]
  if (found === null || table === undefined || to === null || parent === undefined) return null
  const from = columnsIn(table, found[1])
  const into = found[3] === '' ? [...parent.key] : columnsIn(parent, found[3])
  if (from === null || into === null || from.length !== into.length) return null
  return { columns: from, table: to, to: into }
}

function tableNamed({ tables }: SchemaShape, name: string | undefined): string | null {
  return name === undefined ? null : (called(Object.keys(tables), name) ?? null)
}

/** The columns of a list, as the table calls them; null where it lacks one. */
function columnsIn(table: TableShape, list: string | undefined): string[] | null {
  const columns = list?.split(',').map(word => called(Object.keys(table.columns), word))
  return columns === undefined || columns.includes(undefined) ? null : columns.filter(c => c !== undefined)
}

/** Which of these is meant: letter case only counts where it tells two apart. */
export function called(names: readonly string[], word: string): string | undefined {
  const wanted = bare(word)
  return names.find(n => bare(n) === wanted) ?? names.find(n => bare(n).toLowerCase() === wanted.toLowerCase())
}

function bare(name: string): string {
  return name.trim().replaceAll(/["`]/g, '')
}
