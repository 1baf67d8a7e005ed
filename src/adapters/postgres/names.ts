/** A table by its parts; `schema` is null for the one that the connection looks in first. */
export interface Named {
  readonly schema: string | null
  readonly name: string
}

/** Backout's own objects, which are no part of what an application has. */
export const OWN = 'backout_'

/** Names are cut by PostgreSQL after so many bytes. */
export const LONGEST_NAME = 63

export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function literal(text: string): string {
  const plain = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? ` E${plain.replaceAll('\\', '\\\\')}` : plain
}

/** As `SchemaShape` names it: parts are quoted where they hold a dot or a quote. */
export function joined(schema: string | null, name: string): string {
  const part = (text: string) => (/[."]/.test(text) ? quote(text) : text)
  return schema === null ? part(name) : `${part(schema)}.${part(name)}`
}

/** The other way round of `joined`. */
export function split(text: string): Named {
  const parts = [...text.matchAll(/"((?:[^"]|"")*)"|([^."]+)/g)].map(m => m[2] ?? (m[1] ?? '').replaceAll('""', '"'))
  const [first = '', second] = parts
  return second === undefined ? { schema: null, name: first } : { schema: first, name: second }
}

/** A table of `SchemaShape` as SQL. `home`: the schema of names without one; null: whatever the connection looks in. */
export function sqlName(text: string, home: string | null = null): string {
  const { schema, name } = split(text)
  const in_ = schema ?? home
  return in_ === null ? quote(name) : `${quote(in_)}.${quote(name)}`
}

/** Shortened to so many bytes of UTF-8, at a character's end. */
export function cut(text: string, bytes: number): string {
  let out = ''
  let size = 0
  for (const char of text) {
    size += Buffer.byteLength(char)
    if (size > bytes) break
    out += char
  }
  return out
}
