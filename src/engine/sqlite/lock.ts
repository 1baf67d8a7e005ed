import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Lock } from '../store.ts'

export interface Owner {
  readonly pid: number
  readonly host: string
  readonly run: string
  readonly since: string
}

/**
 * The exclusive right to an environment: an open `BEGIN EXCLUSIVE` on a database of its own. The operating system frees
 * it when the process dies, and keeps it while the process is merely stopped, which no heartbeat can tell apart.
 */
export function takeLock(folder: string, name: string, run: string): Lock {
  const file = join(folder, `${name}.json`)
  const db = openLock(folder, name)
  try {
    const owner: Owner = { pid: process.pid, host: hostname(), run, since: new Date().toISOString() }
    writeFileSync(`${file}.new`, JSON.stringify(owner))
    renameSync(`${file}.new`, file)
  } catch (error) {
    db.close()
    throw unusable(folder, name, error)
  }
  let held = true
  return {
    check() {
      if (held) return
      throw new BackoutError({ code: 'lock_lost', what: `This process no longer owns ${name}`, next: 'backout status' })
    },
    release() {
      if (!held) return
      held = false
      rmSync(file, { force: true })
      db.close()
    },
  }
}

/** Somebody who only looks holds it for a moment: it is waited for. */
const MOMENT_MS = 300

function openLock(folder: string, name: string): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    db = new DatabaseSync(join(folder, `${name}.lock`), { timeout: MOMENT_MS })
    db.exec('PRAGMA journal_mode = DELETE')
    db.exec('BEGIN EXCLUSIVE')
    return db
  } catch (error) {
    db?.close()
    throw isBusy(error) ? busy(folder, name, error) : unusable(folder, name, error)
  }
}

const SQLITE_BUSY = 5

export function isBusy(error: unknown): boolean {
  const code = (error as { errcode?: number } | null)?.errcode
  return code !== undefined && (code & 0xff) === SQLITE_BUSY
}

/** Who holds the right now, or null. Tries the lock itself: the file beside it may be from a process that died. */
export function lockOwner(folder: string, name: string): Owner | null {
  let db: DatabaseSync
  try {
    db = new DatabaseSync(join(folder, `${name}.lock`), { timeout: 0, readOnly: true })
  } catch {
    return null
  }
  try {
    db.exec('SELECT count(*) FROM sqlite_schema')
    return null
  } catch (error) {
    return isBusy(error) ? readOwner(folder, name) : null
  } finally {
    db.close()
  }
}

/** Whether the owner is stopped (Ctrl-Z, SIGSTOP): alive, and doing nothing. False where this machine cannot tell. */
export function isStopped(owner: Owner): boolean {
  if (owner.host !== hostname()) return false
  try {
    return /\) [Tt] /.test(readFileSync(`/proc/${owner.pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

function readOwner(folder: string, name: string): Owner {
  try {
    return JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Owner
  } catch {
    return { pid: 0, host: 'unknown', run: 'unknown', since: '' }
  }
}

function busy(folder: string, name: string, error: unknown): BackoutError {
  const owner = readOwner(folder, name)
  const known = owner.pid > 0
  const stopped = isStopped(owner)
  const who = known ? `: process ${owner.pid} on ${owner.host}, run ${owner.run}, since ${owner.since}` : ''
  const end = known
    ? `; where that process hangs, end it (kill -9 ${owner.pid} on ${owner.host}) and then: backout resume`
    : ''
  return new BackoutError({
    code: 'environment_busy',
    what: `Another process is at work on ${name}${who}`,
    cause: stopped
      ? `process ${owner.pid} is stopped (Ctrl-Z, SIGSTOP), and a stopped process may go on at any time`
      : messageOf(error),
    next: stopped ? `let it go on (fg, or kill -CONT ${owner.pid})${end}` : `backout status${end}`,
    exit: 'busy',
    from: error,
  })
}

function unusable(folder: string, name: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'lock_unusable',
    what: `The lock of ${name} in ${folder} cannot be taken`,
    cause: error instanceof Error ? error.message : String(error),
    next: 'make room there, or make the folder writable for this user; then run it again',
    exit: 'failed',
    from: error,
  })
}
