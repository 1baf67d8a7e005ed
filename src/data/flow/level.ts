import { sameJson, toJson } from '../../core/json.ts'
import {
  type Bookkeeping,
  between,
  isBookkeeping,
  isIn,
  isNamed,
  type Recognised,
  recogniseAll,
} from '../bookkeeping.ts'
import type { Dialect, Reader } from '../engine.ts'
import type { SchemaShape } from '../schema.ts'
import { sessionHolder } from '../session-locks.ts'
import type { DatabaseSettings, Level } from './settings.ts'
import type { Site } from './site.ts'
import { shownValue } from './values.ts'

/** A migration under way. */
export interface Running {
  readonly tool: string
  /** The server's own number of the session. */
  readonly session: string
}

/** What the database says of itself. */
export interface Live {
  readonly tool: Bookkeeping | null
  readonly level: Level
  /** What the tool is doing right now, by the lock that it holds. For people. */
  readonly running: readonly string[]
  /** Those of them that a session of the server does, which holds the tool's lock. */
  readonly sessions: readonly Running[]
  /** The same, and what the tool began and did not end: it may have died over it. */
  readonly unfinished: readonly string[]
  /** The only migrations that the tool can undo; null: any that has a way back. */
  readonly undoable: readonly string[] | null
  /** As far as it binds an application: the bookkeeping of migration tools, and tables named as such, are left out. */
  readonly schema: SchemaShape
}

export async function readLive(site: Site, db: Reader): Promise<Live> {
  const { migrations } = site.settings
  const whole = await db.schema()
  const found = keptIn(whole, migrations)
  const schema = without(whole, found, migrations.tables)
  const { dialect } = site.engine
  const halfDone: string[] = []
  const running: string[] = []
  const sessions: Running[] = []
  for (const kept of found) {
    halfDone.push(...(await halfDoneOf(db, dialect, kept)))
    const { tool } = kept
    if (await isLocked(db, dialect, tool, whole)) {
      running.push(`${tool.tool} holds its migration lock (${tool.lock?.table})`)
    }
    const session = await sessionHolder(db, dialect, kept)
    if (session === null) continue
    sessions.push({ tool: tool.tool, session })
    running.push(`${tool.tool} is migrating right now (session ${session} holds its lock)`)
  }
  const state = { running, sessions, unfinished: [...halfDone, ...running], schema }
  const [first, ...more] = found
  if (migrations.applied !== undefined) {
    const level = { tool: 'custom', applied: await firstColumn(db, migrations.applied) }
    return { tool: null, level, running: [], sessions: [], unfinished: [], undoable: null, schema }
  }
  if (first === undefined) return { ...state, tool: null, level: { tool: null, applied: [] }, undoable: null }
  const applied = await appliedOf(db, dialect, first)
  const others = await Promise.all(more.map(async k => [k.tool.tool, await appliedOf(db, dialect, k)] as const))
  const level = {
    tool: first.tool.tool,
    applied,
    ...(others.length === 0 ? {} : { others: Object.fromEntries(others) }),
  }
  const undoable =
    first.tool.undoable === undefined ? null : await firstColumn(db, spelt(first.tool.undoable, dialect, first))
  return { ...state, tool: first.tool, level, undoable }
}

export function sameLevel(a: Level, b: Level | undefined): boolean {
  return b !== undefined && sameJson(toJson(a), toJson(b))
}

export function shownLevel(level: Level): string {
  if (level.tool === null) return 'no migration tool known'
  return level.applied.length === 0 ? 'no migrations' : `migration ${level.applied.at(-1)}`
}

/** The one that the settings name, or else that has the most marks, comes first. */
function keptIn(schema: SchemaShape, { tool, applied }: DatabaseSettings['migrations']): Recognised[] {
  if (applied !== undefined) return []
  const tables = Object.fromEntries(Object.entries(schema.tables).map(([name, t]) => [name, Object.keys(t.columns)]))
  return recogniseAll(tables, tool)
}

function without(schema: SchemaShape, found: readonly Recognised[], own: readonly string[]): SchemaShape {
  const theirs = (name: string) => own.includes(name) || found.some(({ tool }) => isBookkeeping(name, tool))
  const atHome = (name: string) => found.some(({ tool: { home } }) => home !== undefined && isIn(name, home))
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

async function halfDoneOf(db: Reader, dialect: Dialect, kept: Recognised): Promise<string[]> {
  const { tool } = kept
  const dirty = tool.dirty === undefined ? [] : await firstColumn(db, spelt(tool.dirty, dialect, kept))
  return dirty.map(name => `${tool.tool} migration ${name} began and did not end`)
}

async function isLocked(db: Reader, dialect: Dialect, tool: Bookkeeping, schema: SchemaShape): Promise<boolean> {
  if (tool.lock === undefined) return false
  const { table, held } = tool.lock
  const there = Object.keys(schema.tables).find(name => isNamed(name, table))
  return there !== undefined && (await db.query(spelt(held, dialect, { tool, table: there }))).length > 0
}

async function appliedOf(db: Reader, dialect: Dialect, kept: Recognised): Promise<string[]> {
  return firstColumn(db, spelt(kept.tool.applied, dialect, kept))
}

/** The tool's query with names quoted as this system does, and the table where it is. */
function spelt(sql: string, dialect: Dialect, { table }: Recognised): string {
  return sql.replaceAll(/"([^"]+)"/g, (_, name: string) =>
    isNamed(table, name) ? dialect.table(table) : dialect.quote(name),
  )
}

async function firstColumn(db: Reader, sql: string): Promise<string[]> {
  return (await db.query(sql)).map(row => shownValue(Object.values(row)[0]) ?? '')
}

/** Further tools whose level is not that of the release: nothing here undoes what they applied. For people. */
export function othersMoved(then: Level, now: Level): string[] {
  const tools = new Set([...Object.keys(then.others ?? {}), ...Object.keys(now.others ?? {})])
  return [...tools].flatMap(tool => {
    const { extra, missing } = between(then.others?.[tool] ?? [], now.others?.[tool] ?? [], false)
    const said = [
      ...(extra.length === 0 ? [] : [`${tool} applied ${extra.toReversed().join(', ')} since`]),
      ...(missing.length === 0 ? [] : [`${tool} undid ${missing.join(', ')} since`]),
    ]
    return said
  })
}
