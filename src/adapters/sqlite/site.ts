import type { DatabaseSync } from 'node:sqlite'
import { stat } from 'node:fs/promises'
import type { Observation, OpenContext } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { type Json, toJson } from '../../core/json.ts'
import type { Bookkeeping } from '../../data/bookkeeping.ts'
import { type SchemaShape, schemaHash } from '../../data/schema.ts'
import type { SqliteConfig } from './config.ts'
import { type Access, all, fileOf, isDamage, reading } from './database.ts'
import { rowCounts } from './fingerprint.ts'
import { type Level, readMigrations, readSchema } from './schema.ts'

/** One database file of one component. */
export interface Site {
  readonly config: SqliteConfig
  readonly ctx: OpenContext
  /** What was measured, as long as the files are as they were then: a plan asks several times. */
  readonly measured: Map<string, { stamp: string; value: unknown }>
}

/** The answer of last time where none of the files was touched since. What is about to destroy something never uses it. */
export async function measuredOnce<T>(site: Site, key: string, files: string[], measure: () => Promise<T>): Promise<T> {
  const stamp = await stampOf(files)
  const known = site.measured.get(key)
  if (known?.stamp === stamp) return known.value as T
  const value = await measure()
  site.measured.set(key, { stamp, value })
  return value
}

async function stampOf(files: string[]): Promise<string> {
  const all = files.flatMap(file => [file, `${file}-wal`])
  const stats = await Promise.all(all.map(file => stat(file, { bigint: true }).catch(() => null)))
  return stats.map(s => (s === null ? '-' : `${s.ino}:${s.size}:${s.mtimeNs}`)).join(' ')
}

/** Where the file is, and how to get at it. */
export interface Place extends Access {
  readonly identity: string
}

export async function placeOf(site: Site, signal: AbortSignal): Promise<Place> {
  const file = await fileOf(site.config.path, site.ctx.baseDir)
  return { file, identity: `sqlite:${file}`, busyMs: site.config.busyLimit, signal }
}

/** What the database says of itself. */
export interface Live {
  readonly tool: Bookkeeping | null
  readonly level: Level
  readonly unfinished: readonly string[]
  readonly schema: SchemaShape
}

export function readLive(site: Site, db: DatabaseSync): Live {
  const { tool, applied, tables } = site.config.migrations
  const migrations = readMigrations(db, tool, applied)
  return { ...migrations, schema: readSchema(db, migrations.tool, tables) }
}

export type FileState = 'ok' | 'missing' | 'damaged'

/** A file that is gone or damaged is an answer, not an error: it is what a restore is for. Other errors are thrown. */
export async function readOrTell<T>(place: Place, work: (db: DatabaseSync) => T | Promise<T>): Promise<T | FileState> {
  const there = await stat(place.file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (there === null) return 'missing'
  if (!there.isFile()) throw notAFile(place.file)
  try {
    return await reading(place, work)
  } catch (error) {
    if (isDamage(error)) return 'damaged'
    throw error
  }
}

function notAFile(file: string): BackoutError {
  return new BackoutError({
    code: 'database_missing',
    what: `${file} is not a file`,
    next: 'name the database file in `path:`',
    exit: 'usage',
  })
}

export async function observe(site: Site, signal: AbortSignal): Promise<Observation> {
  const place = await placeOf(site, signal)
  const read = await readOrTell(place, db => {
    const live = readLive(site, db)
    const journal = String(all(db, 'PRAGMA journal_mode')[0]?.['journal_mode'])
    return { live, rows: rowCounts(db, live.schema), journal }
  })
  if (typeof read === 'string') {
    const what = read === 'missing' ? 'there is no file' : 'the file is no readable database'
    const state = { file: read, level: null, schema: null }
    return { identity: place.identity, state, detail: null, summary: what, inFlight: [] }
  }
  const { live, rows, journal } = read
  const bytes = (await stat(place.file)).size
  return {
    identity: place.identity,
    state: { file: 'ok', level: toJson(live.level), schema: schemaHash(live.schema) },
    detail: { bytes, rows, journal } satisfies Json,
    summary: `${shownLevel(live.level)}, ${Object.keys(rows).length} tables`,
    inFlight: live.unfinished.map(what => ({ what, since: null })),
  }
}

export function shownLevel(level: Level): string {
  if (level.tool === null) return 'no migration tool known'
  return level.applied.length === 0 ? 'no migrations' : `migration ${level.applied.at(-1)}`
}
