import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type Clock, systemClock } from '../core/clock.ts'
import { BackoutError, messageOf } from '../core/errors.ts'

/** How long another process may be at it. Milliseconds. */
const PATIENCE_MS = 15_000
const LOOK_EVERY_MS = 15

/**
 * Does what reads a file and writes it again while nobody else does the like in this folder, in this process or another:
 * an open `BEGIN EXCLUSIVE` on a database of its own, which the kernel frees when the process dies. Throws `ledger_busy`
 * where somebody else holds it for longer than 15 s.
 */
export async function alone<T>(folder: string, work: () => Promise<T>, clock: Clock = systemClock): Promise<T> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const lock = new DatabaseSync(join(folder, 'ledger.lock'), { timeout: 0 })
  try {
    await take(lock, folder, clock)
    return await work()
  } finally {
    lock.close()
  }
}

async function take(lock: DatabaseSync, folder: string, clock: Clock): Promise<void> {
  const began = clock.mono()
  for (;;) {
    try {
      lock.exec('BEGIN EXCLUSIVE')
      return
    } catch (error) {
      if (!isBusy(error)) throw error
      if (clock.mono() - began > PATIENCE_MS) throw busy(folder, error)
      await clock.sleep(LOOK_EVERY_MS)
    }
  }
}

const SQLITE_BUSY = 5

function isBusy(error: unknown): boolean {
  return (((error as { errcode?: number } | null)?.errcode ?? 0) & 0xff) === SQLITE_BUSY
}

function busy(folder: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'ledger_busy',
    what: `Another process has been changing marks or upgrades in ${folder} for ${PATIENCE_MS / 1000} s`,
    cause: messageOf(error),
    next: `find out which one has ${join(folder, 'ledger.lock')} open (fuser, lsof): let it go on, or end it; then try again`,
    exit: 'busy',
    from: error,
  })
}
