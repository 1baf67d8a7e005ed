/** The longest name of a database or table. Characters. */
export const LONGEST = 64

/** A name for SQL. */
export function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

/** A string for SQL. Backslashes stand for themselves in the sessions of this adapter. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** A table's name as `SchemaShape` has it. */
export function shownName(table: string): string {
  return /[."]/.test(table) ? `"${table.replaceAll('"', '""')}"` : table
}

/** The parts of a name of `SchemaShape`: the database, where it is not the connection's own, and the table. */
export function partsOf(name: string): string[] {
  const parts = name.match(/"(?:[^"]|"")*"|[^."]+/g) ?? [name]
  return parts.map(part => (part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part))
}

/** The table alone. */
export function bareName(name: string): string {
  return partsOf(name).at(-1) ?? name
}

/** A table's name of `SchemaShape` as SQL; in the database `inside`, where one is given. */
export function tableSql(name: string, inside?: string): string {
  const parts = partsOf(name)
  return (parts.length === 1 && inside !== undefined ? [inside, ...parts] : parts).map(quoted).join('.')
}

/** Objects of Backout's own, which no application knows of. */
export function isOwn(name: string): boolean {
  return /^_?backout_/i.test(name)
}

/** A value of information_schema as text; '' for NULL. */
export function text(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8')
  return typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | bigint)
}
