import { BOOKKEEPING, type Bookkeeping } from './bookkeeping.ts'

/** A tool's bookkeeping, and the table that it is kept in, as `SchemaShape` names it. */
export interface Recognised {
  readonly tool: Bookkeeping
  readonly table: string
}

/** What the settings say of it, and what is known otherwise. Tables by whatever name a person gives them. */
export interface Asked {
  /** The schema of names without one. */
  readonly home: string
  readonly tool?: string | undefined
  /** Where it is named, only it and those in `also` are bookkeeping. */
  readonly table?: string | undefined
  readonly also: Readonly<Record<string, { readonly tool?: string | undefined }>>
  /** Tools of which an earlier version had read a table: that one counts whatever else it holds. */
  readonly loose: readonly string[]
}

export const UNASKED: Asked = { home: '', also: {}, loose: [] }

type Tables = Readonly<Record<string, readonly string[]>>

/**
 * The bookkeepings that a database holds: those of the settings' table and tool first, then those of tools with more marks,
 * of one tool that where the connection looks first, those with settings of their own last. `tables` maps each table, as `SchemaShape` names it, to its columns. `amiss`: what
 * the settings name and is not there, or is none. For people.
 */
export function recogniseAll(tables: Tables, asked: Asked = UNASKED): { found: Recognised[]; amiss: string[] } {
  const amiss: string[] = []
  const named = ([name, tool]: readonly [string, string | undefined]): Recognised[] => {
    const table = Object.keys(tables).find(t => isTable(t, name, asked.home))
    const found = table === undefined ? undefined : toolOfNamed(tables, table, tool)
    if (table !== undefined && found !== undefined) return [{ tool: found, table }]
    amiss.push(table === undefined ? `there is no table ${name}` : `${name} ${unlike(table, tool)}`)
    return []
  }
  const also = Object.entries(asked.also).flatMap(([name, { tool }]) => named([name, tool]))
  if (asked.table !== undefined) return { found: once([...named([asked.table, asked.tool]), ...also]), amiss }
  const listed = (table: string) => Object.keys(asked.also).some(name => isTable(table, name, asked.home))
  const before = asked.loose.map(tool => takenBefore(tables, tool))
  const others = Object.keys(tables).flatMap(table => {
    const tool = listed(table)
      ? undefined
      : (toolOfAny(tables, table, asked) ?? before.find(b => b?.table === table)?.tool)
    return tool === undefined ? [] : [{ tool, table }]
  })
  // The tool that was named has applied nothing yet: what another one left is nothing that the settings speak of.
  const none = asked.tool !== undefined && !others.some(o => o.tool.tool === asked.tool)
  return { found: [...(none ? [] : others.toSorted(byMarks(asked.tool))), ...once(also)], amiss }
}

/** A table may be named twice, with its schema and without. */
function once(found: readonly Recognised[]): Recognised[] {
  return found.filter(({ table }, i) => found.findIndex(f => f.table === table) === i)
}

function unlike(table: string, tool: string | undefined): string {
  if (tool !== undefined) return `does not look like the bookkeeping of ${tool}`
  const known = BOOKKEEPING.some(b => isNamed(table, b.table))
  return known
    ? 'does not look like the bookkeeping of a tool'
    : 'is no name that a tool uses by itself: say its `tool`'
}

function byMarks(tool: string | undefined): (a: Recognised, b: Recognised) => number {
  const rank = (r: Recognised) => (r.tool.tool === tool ? -1 : BOOKKEEPING.indexOf(r.tool))
  const away = (r: Recognised) => Number(partsOf(r.table).schema !== null)
  return (a, b) => rank(a) - rank(b) || away(a) - away(b)
}

/** A table that a person named is taken at their word, as long as it has what the tool's queries read. */
function toolOfNamed(tables: Tables, table: string, tool: string | undefined): Bookkeeping | undefined {
  const mine = BOOKKEEPING.filter(b => (tool === undefined ? isNamed(table, b.table) : b.tool === tool))
  return mine.find(b => looksLike(tables, table, b)) ?? mine.find(b => has(tables[table], b.columns))
}

/** The one table of a tool that earlier versions read: the first of its name that had its columns, whatever else it had. */
function takenBefore(tables: Tables, name: string): Recognised | undefined {
  const tool = BOOKKEEPING.find(b => b.tool === name)
  const table = Object.keys(tables).find(
    t => tool !== undefined && isNamed(t, tool.table) && has(tables[t], tool.columns),
  )
  return tool === undefined || table === undefined ? undefined : { tool, table }
}

function toolOfAny(tables: Tables, table: string, { tool }: Asked): Bookkeeping | undefined {
  const ranked = BOOKKEEPING.toSorted((a, b) => Number(b.tool === tool) - Number(a.tool === tool))
  const mine = ranked.filter(b => isNamed(table, b.table))
  const mayBe = (b: Bookkeeping) => b.common === undefined || tool === undefined || b.tool === tool
  return mine.find(b => mayBe(b) && looksLike(tables, table, b))
}

function looksLike(tables: Tables, table: string, tool: Bookkeeping): boolean {
  const columns = tables[table] ?? []
  if (!has(columns, tool.columns)) return false
  if (tool.more !== undefined && !has([...tool.columns, ...tool.more], columns)) return false
  return tool.beside === undefined || sibling(tables, table, tool.beside) !== undefined
}

function has(columns: readonly string[] | undefined, wanted: readonly string[]): boolean {
  const there = new Set(columns?.map(c => c.toLowerCase()))
  return wanted.every(c => there.has(c.toLowerCase()))
}

/** The table of this name in the schema of another one. */
function sibling(tables: Tables, of: string, name: string): string | undefined {
  const { schema } = partsOf(of)
  return Object.keys(tables).find(t => isNamed(t, name) && partsOf(t).schema === schema)
}

/** The table in which a tool marks that it is at work. Its name follows that of the bookkeeping. */
export function lockTable(tables: Tables, { tool, table }: Recognised): string | undefined {
  if (tool.lock === undefined) return undefined
  const name = tool.lock.table.replace(tool.table, partsOf(table).name.toLowerCase())
  const at = sibling(tables, table, name)
  return at !== undefined && has(tables[at], [tool.lock.column]) ? at : undefined
}

/** The tables of the tools themselves, which hold nothing of the application. */
export function ownTables(tables: Tables, found: readonly Recognised[]): ReadonlySet<string> {
  const homes = homesOf(found)
  const own = found.flatMap(kept => {
    const beside = kept.tool.beside === undefined ? undefined : sibling(tables, kept.table, kept.tool.beside)
    return [kept.table, lockTable(tables, kept), beside]
  })
  const atHome = Object.keys(tables).filter(table => homes.some(home => isIn(table, home)))
  return new Set([...own.filter(table => table !== undefined), ...atHome])
}

/** Schemas that the tools keep for themselves. */
export function homesOf(found: readonly Recognised[]): string[] {
  return found.flatMap(({ tool: { home }, table }) => (home !== undefined && isIn(table, home) ? [home] : []))
}

/** What earlier versions left out of a baseline for its name alone, where they had recognised this tool. */
export function leftOutByName(table: string, { table: own, lock, beside, home }: Bookkeeping): boolean {
  if (home !== undefined && isIn(table, home)) return true
  return [own, lock?.table, beside].some(name => name !== undefined && isNamed(table, name))
}

/** Whether a table of `SchemaShape` has this name, in whatever schema it is. Letter case does not count. */
export function isNamed(table: string, name: string): boolean {
  return partsOf(table).name.toLowerCase() === name.toLowerCase()
}

/** Whether a person means this table by a name, with its schema or, where names need none, without. */
export function isTable(table: string, name: string, home: string): boolean {
  const [at, meant] = [partsOf(table), partsOf(name)]
  const schema = (of: string | null) => (of ?? home).toLowerCase()
  return at.name.toLowerCase() === meant.name.toLowerCase() && schema(at.schema) === schema(meant.schema)
}

const PARTS = /"((?:[^"]|"")*)"|([^."]+)/g

/** A table of `SchemaShape` by its parts; `schema` is null for the one that the connection looks in first. */
export function partsOf(table: string): { readonly schema: string | null; readonly name: string } {
  const parts = [...table.matchAll(PARTS)].map(m => m[2] ?? (m[1] ?? '').replaceAll('""', '"'))
  const [first = '', second] = parts
  return second === undefined ? { schema: null, name: first } : { schema: first, name: second }
}

/** Whether something of `SchemaShape` ("drizzle.x", "function pgroll.f(text)", "schema drizzle") is in this schema, or is it. */
export function isIn(name: string, schema: string): boolean {
  const bare = name.replace(/^(?:[a-z]+ )*/, '')
  return name === `schema ${schema}` || [`${schema}.`, `"${schema}".`].some(start => bare.startsWith(start))
}
