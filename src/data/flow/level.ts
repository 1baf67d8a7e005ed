import { BOOKKEEPING, type Bookkeeping } from '../bookkeeping.ts'
import type { Dialect, Reader } from '../engine.ts'
import {
  homesOf,
  isIn,
  leftOutByName,
  lockTable,
  ownTables,
  partsOf,
  type Recognised,
  recogniseAll,
} from '../recognise.ts'
import type { SchemaShape } from '../schema.ts'
import { sessionHolder } from '../session-locks.ts'
import { isEarlier, keptIn, nameOfBook } from './levels.ts'
import type { DatabaseSettings, Level } from './settings.ts'
import type { Site } from './site.ts'
import { shownValue } from './values.ts'

/** A migration under way. */
export interface Running {
  readonly tool: string
  readonly table: string
  /** The server's own number of the session. */
  readonly session: string
}

/** One bookkeeping, as it is now. */
export interface Book extends Recognised {
  /** By its real name, also where the connection looks in it first. */
  readonly schema: string
  readonly applied: readonly string[]
  /** Scripts that ran beside them, any number of times; null: the tool has no such, or does not list them. */
  readonly again: readonly string[] | null
  /** When they were applied, as ISO text, of those of which the tool kept it. */
  readonly times: ReadonlyMap<string, string>
  /** Those times are the same everywhere, so that they can be compared with another tool's. */
  readonly zoned: boolean
  /** The only migrations that the tool can undo; null: any that has a way back. */
  readonly undoable: readonly string[] | null
}

/** What the database says of itself. */
export interface Live {
  /** The one that the settings name, or else that has the most marks, first. None where the settings ask by a query. */
  readonly books: readonly Book[]
  readonly level: Level
  /** What tools are doing right now, by the locks that they hold. For people. */
  readonly running: readonly string[]
  /** Those of them that a session of the server does, which holds the tool's lock. */
  readonly sessions: readonly Running[]
  /** The same, and what a tool began and did not end: it may have died over it. */
  readonly unfinished: readonly string[]
  /** Bookkeeping that the settings name and that is not there, or is none. For people. */
  readonly amiss: readonly string[]
  /** Tables of the tools themselves. */
  readonly own: ReadonlySet<string>
  /** The schema of names without one. */
  readonly home: string
  /** As far as it binds an application: the bookkeeping of migration tools, and tables named as such, are left out. */
  readonly schema: SchemaShape
}

/** `than`: the level that it will be compared with; what an earlier version took for bookkeeping is then taken so too. */
export async function readLive(site: Site, db: Reader, than?: Level): Promise<Live> {
  const { migrations } = site.settings
  const whole = await db.schema()
  const home = await homeOf(db, site.engine.dialect)
  const earlier = than !== undefined && isEarlier(than) ? keptIn(than).map(k => k.tool) : []
  const tables = columnsOf(whole)
  const { found, amiss } =
    migrations.applied === undefined
      ? recogniseAll(tables, { ...migrations, home, loose: earlier })
      : { found: [], amiss: unread(migrations) }
  const own = ownTables(tables, found)
  const theirs = BOOKKEEPING.filter(b => earlier.includes(b.tool))
  const schema = without(whole, found, name => {
    return own.has(name) || migrations.tables.includes(name) || theirs.some(tool => leftOutByName(name, tool))
  })
  const common = { amiss, own, home, schema }
  if (migrations.applied !== undefined) {
    const level = { tool: 'custom', table: null, applied: await firstColumn(db, migrations.applied) }
    return { ...common, books: [], level, running: [], sessions: [], unfinished: [] }
  }
  const books: Book[] = []
  for (const kept of found) books.push(await bookOf(db, site.engine.dialect, kept, whole, home))
  const work = await workOf(db, site.engine.dialect, found, tables)
  return { ...common, ...work, books, level: levelOf(books) }
}

/** Where a query says what is applied, no table is looked for. */
function unread({ table, also }: DatabaseSettings['migrations']): string[] {
  const named = [...(table === undefined ? [] : [table]), ...Object.keys(also)]
  return named.map(name => `${name} is not read beside \`migrations.applied\``)
}

function columnsOf({ tables }: SchemaShape): Record<string, readonly string[]> {
  return Object.fromEntries(Object.entries(tables).map(([name, t]) => [name, Object.keys(t.columns)]))
}

const HOME = { postgres: 'current_schema()', mysql: 'DATABASE()', sqlite: "'main'" } as const

async function homeOf(db: Reader, { kind }: Dialect): Promise<string> {
  return (await firstColumn(db, `SELECT ${HOME[kind]} AS name`))[0] ?? ''
}

function levelOf(books: readonly Book[]): Level {
  const [first, ...more] = books.map(({ tool, table, applied }) => ({ tool: tool.tool, table, applied: [...applied] }))
  if (first === undefined) return { tool: null, table: null, applied: [] }
  return more.length === 0 ? first : { ...first, more }
}

function without(schema: SchemaShape, found: readonly Recognised[], theirs: (table: string) => boolean): SchemaShape {
  const homes = homesOf(found)
  const atHome = (name: string) => homes.some(home => isIn(name, home))
  return {
    tables: omitting(schema.tables, theirs),
    views: omitting(schema.views, atHome),
    triggers: omitting(schema.triggers, atHome),
    others: omitting(schema.others, atHome),
  }
}

function omitting<T>(of: Record<string, T>, leave: (name: string) => boolean): Record<string, T> {
  return Object.fromEntries(Object.entries(of).filter(([name]) => !leave(name)))
}

/** What is under way, and what died. Tools that take one lock for a whole database hold it for one session. */
async function workOf(
  db: Reader,
  dialect: Dialect,
  found: readonly Recognised[],
  tables: Readonly<Record<string, readonly string[]>>,
): Promise<Pick<Live, 'running' | 'sessions' | 'unfinished'>> {
  const halfDone: string[] = []
  const running: string[] = []
  const sessions: Running[] = []
  for (const kept of found) {
    const { tool, table } = kept
    const several = found.filter(f => f.tool === tool).length > 1
    const name = nameOfBook({ tool: tool.tool, table }, several)
    const dirty = tool.dirty === undefined ? [] : await firstColumn(db, spelt(tool.dirty, dialect, kept))
    halfDone.push(...dirty.map(migration => `${name} migration ${migration} began and did not end`))
    const lock = lockTable(tables, kept)
    if (lock !== undefined && (await isHeld(db, dialect, tool, lock))) {
      running.push(`${name} holds its migration lock (${lock})`)
    }
    const session = await sessionHolder(db, dialect, kept)
    if (session === null || sessions.some(s => s.tool === tool.tool && s.session === session)) continue
    sessions.push({ tool: tool.tool, table, session })
    running.push(`${name} is migrating right now (session ${session} holds its lock)`)
  }
  return { running, sessions, unfinished: [...halfDone, ...running] }
}

async function isHeld(db: Reader, dialect: Dialect, { lock }: Bookkeeping, table: string): Promise<boolean> {
  return lock !== undefined && (await db.query(inTable(lock.held, dialect, lock.table, table))).length > 0
}

async function bookOf(
  db: Reader,
  dialect: Dialect,
  kept: Recognised,
  { tables }: SchemaShape,
  home: string,
): Promise<Book> {
  const { tool, table } = kept
  const columns = Object.entries(tables[table]?.columns ?? {})
  const [when, shape] = columns.find(([name]) => name.toLowerCase() === tool.when) ?? []
  const time = when === undefined ? null : dialect.iso(dialect.quote(when), shape?.type ?? '')
  const rows = await db.query(timed(spelt(tool.applied, dialect, kept), time))
  const [names, at] = [rows.map(row => valueAt(row, 0)), rows.map(row => valueAt(row, 1))]
  const applied = names.map(name => name ?? '')
  return {
    ...kept,
    schema: partsOf(table).schema ?? home,
    applied,
    again: tool.again === undefined ? null : await firstColumn(db, spelt(tool.again, dialect, kept)),
    times: new Map(applied.flatMap((name, i) => (at[i] == null ? [] : [[name, at[i]] as const]))),
    zoned: isZoned(dialect, shape?.type ?? ''),
    undoable: tool.undoable === undefined ? null : await firstColumn(db, spelt(tool.undoable, dialect, kept)),
  }
}

/** The same query, which gives the time of each row as well. */
function timed(sql: string, time: string | null): string {
  return time === null ? sql : sql.replace(' FROM ', () => `, ${time} AS backout_at FROM `)
}

/** Times without a zone are those of whoever wrote them. */
function isZoned({ kind }: Dialect, type: string): boolean {
  if (kind === 'postgres') return type.endsWith('with time zone')
  return kind === 'mysql' && /^timestamp\b/.test(type)
}

/** The tool's query with names quoted as this system does, and the table where it is. */
function spelt(sql: string, dialect: Dialect, { tool, table }: Recognised): string {
  return inTable(sql, dialect, tool.table, table)
}

function inTable(sql: string, dialect: Dialect, name: string, table: string): string {
  return sql.replaceAll(/"([^"]+)"/g, (_, said: string) => (said === name ? dialect.table(table) : dialect.quote(said)))
}

async function firstColumn(db: Reader, sql: string): Promise<string[]> {
  return (await db.query(sql)).map(row => valueAt(row, 0) ?? '')
}

function valueAt(row: Readonly<Record<string, unknown>>, at: number): string | null {
  return shownValue(Object.values(row)[at]) ?? null
}
