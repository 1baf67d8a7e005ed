import { existsSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type SQLOutputValue } from 'node:sqlite'
import { systemClock } from '../../core/clock.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { holdersOf } from './holders.ts'

const BUSY = 5
const LOCKED = 6
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CANTOPEN = 14
const NOTADB = 26

const RETRY_MS = 50

/** SQLite's primary result code; 0 for any other error. */
export function sqliteCode(error: unknown): number {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0
  return code & 0xff
}

export function isBusy(error: unknown): boolean {
  return [BUSY, LOCKED].includes(sqliteCode(error))
}

/** True where the file itself cannot be read as a database. */
export function isDamage(error: unknown): boolean {
  const code = sqliteCode(error instanceof BackoutError ? error.cause : error)
  return code === CORRUPT || code === NOTADB
}

export interface Access {
  readonly file: string
  /** How long to wait for a lock. Milliseconds. */
  readonly busyMs: number
  readonly signal: AbortSignal
  /** URI of another database, to be read as `base` beside it. */
  readonly base?: string
}

/** How another connection sees what one of this process sees. */
export interface Again {
  readonly how: { readonly file: string; readonly frozen: boolean }
  /** What is opened by now is of the same instant: nobody wrote since. */
  still(): boolean
}

/**
 * Runs `work` in one read transaction, so that everything it reads is of the same instant.
 * Throws `database_busy`, `database_missing`, `database_damaged`, `database_failed`.
 */
export async function reading<T>(access: Access, work: (db: DatabaseSync, again: Again) => T | Promise<T>): Promise<T> {
  return patiently(access, async () => {
    const { file } = access
    const db = openToRead(file)
    // A connection that reads nothing sees every commit of others.
    const watch = new DatabaseSync(file, { readOnly: true, timeout: 0 })
    try {
      const version = versionOf(watch)
      if (access.base !== undefined) db.prepare('ATTACH ? AS base').run(access.base)
      begin(db)
      return await work(db, { how: { file, frozen: false }, still: () => versionOf(watch) === version })
    } finally {
      watch.close()
      db.close()
    }
  })
}

/** A transaction begins with what it reads first. */
function begin(db: DatabaseSync): void {
  db.exec('BEGIN')
  db.prepare('SELECT count(*) FROM sqlite_schema').get()
}

/** Another number after every commit of another connection. */
function versionOf(db: DatabaseSync): number {
  return count(db, 'PRAGMA data_version')
}

/** Another connection to what is read already, in a transaction of its own. */
export function openAgain({ file, frozen }: Again['how']): DatabaseSync {
  if (frozen) return openFrozen(file)
  const db = openToRead(file)
  begin(db)
  return db
}

/** Tries again while another process holds a lock. Blocks nothing else meanwhile. */
export async function patiently<T>(access: Access, work: () => T | Promise<T>): Promise<T> {
  const until = systemClock.mono() + access.busyMs
  for (;;) {
    access.signal.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      if (!isBusy(error) || systemClock.mono() >= until) throw await explained(access.file, error)
    }
    await systemClock.sleep(RETRY_MS, access.signal)
  }
}

function openToRead(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 0 })
  try {
    db.prepare('SELECT count(*) FROM sqlite_schema').get()
    return db
  } catch (error) {
    db.close()
    if (sqliteCode(error) !== READONLY) throw error
  }
  // A process that was killed left its journal: SQLite takes the unfinished write back when a writer opens the file.
  const writer = new DatabaseSync(file, { timeout: 0 })
  try {
    writer.exec('PRAGMA query_only = ON')
    writer.prepare('SELECT count(*) FROM sqlite_schema').get()
    return writer
  } catch (error) {
    writer.close()
    throw error
  }
}

/** A database that nobody else writes: no locks, no files beside it. */
export function openFrozen(file: string): DatabaseSync {
  return new DatabaseSync(frozenUri(file), { readOnly: true })
}

export function frozenUri(file: string): string {
  return `file:${encodeURI(file).replaceAll('?', '%3f').replaceAll('#', '%23')}?mode=ro&immutable=1`
}

/** An error of SQLite with the file's name and what to do. Other errors stay as they are. */
export async function explained(file: string, error: unknown): Promise<unknown> {
  if (error instanceof BackoutError) return error
  const why = messageOf(error)
  const make = (code: string, what: string, next: string) =>
    new BackoutError({ code, what, cause: why, next, exit: 'failed', from: error })
  switch (sqliteCode(error)) {
    case 0:
      return error
    case BUSY:
    case LOCKED: {
      const holders = (await holdersOf(file)).map(h => `${h.pid} (${h.command})`).join(', ')
      const who = holders === '' ? 'another process' : `process ${holders}`
      return make('database_busy', `The database ${file} is locked by ${who}`, 'stop what uses it, then try again')
    }
    case CANTOPEN:
      return make(
        existsSync(file) ? 'database_denied' : 'database_missing',
        `The database ${file} cannot be opened`,
        'look at `path:` and at the rights',
      )
    case CORRUPT:
    case NOTADB:
      return make(
        'database_damaged',
        `The file ${file} is no readable SQLite database`,
        'go back by the rung `restore`, or put the right file there',
      )
    case FULL:
    case IOERR:
      return make('disk_full', `SQLite could not write or read beside ${file}`, 'free space on that disk, look at it')
    default:
      return make('database_failed', `SQLite refused to work with ${file}`, 'look at the cause')
  }
}

export type Row = Record<string, SQLOutputValue>

export function all(db: DatabaseSync, sql: string, ...values: SQLInputValue[]): Row[] {
  return db.prepare(sql).all(...values)
}

/** The first column of the first row as a number; 0 where there is none. */
export function count(db: DatabaseSync, sql: string): number {
  const row = db.prepare(sql).get()
  return row === undefined ? 0 : Number(Object.values(row)[0] ?? 0)
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
