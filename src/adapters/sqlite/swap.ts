import { link, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { BackoutError } from '../../core/errors.ts'
import type { Job } from '../../data/engine.ts'
import { all, count, isDamage, patiently } from './database.ts'
import { COMPANIONS, setJournal, syncFile } from './dump.ts'
import { holdersOf } from './holders.ts'

interface Spot {
  readonly file: string
  readonly busyMs: number
}

/** Puts the staged file in the database's place. The old file is kept under another name; the place is never empty. */
export async function swap(spot: Spot, staged: string, kept: string, job: Job): Promise<void> {
  const { file } = spot
  const old = await stat(file).catch(() => null)
  const lock = old === null ? null : await takeAlone(spot, job.signal)
  let swapped = false
  try {
    if (lock !== null) keepNumbersIssued(lock.db, staged)
    await syncFile(staged)
    job.signal.throwIfAborted()
    job.guard()
    if (old !== null) await keep(file, kept)
    for (const end of COMPANIONS) await setAside(`${file}${end}`, `${kept}${end}`)
    job.guard()
    await rename(staged, file)
    swapped = true
    await syncFile(dirname(file))
  } finally {
    lock?.db.close()
    if (lock?.wal === true && !swapped) setJournal(file, 'WAL')
  }
}

/**
 * Makes sure that nobody else has the database open, and keeps others out. Turning WAL off moves what stands in the log
 * into the file and works only alone; a file that is no database any more cannot be locked, only looked at.
 */
async function takeAlone(spot: Spot, signal: AbortSignal): Promise<{ db: DatabaseSync; wal: boolean } | null> {
  const holders = await holdersOf(spot.file)
  if (holders.length > 0) {
    throw new BackoutError({
      code: 'database_open',
      what: `The database ${spot.file} is open in ${holders.map(h => `process ${h.pid} (${h.command})`).join(', ')}`,
      cause: 'what it writes after the restore would be lost',
      next: 'stop it, then resume the run',
      exit: 'failed',
    })
  }
  const access = { ...spot, signal }
  const db = new DatabaseSync(spot.file, { timeout: 0 })
  try {
    const wal = await patiently(access, () => all(db, 'PRAGMA journal_mode')[0]?.['journal_mode'] === 'wal')
    await patiently(access, () => db.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE'))
    return { db, wal }
  } catch (error) {
    db.close()
    if (isDamage(error)) return null
    throw error
  }
}

/** A number that was once given to a row (an order in a customer's mailbox) is never given to another. */
function keepNumbersIssued(live: DatabaseSync, staged: string): void {
  const issued = sequences(live)
  if (issued.size === 0) return
  const db = new DatabaseSync(staged)
  try {
    const before = sequences(db)
    const counting = all(db, `SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%autoincrement%'`)
    for (const name of counting.map(row => String(row['name']))) {
      const seq = issued.get(name)
      const known = before.get(name)
      if (seq === undefined || (known !== undefined && known >= seq)) continue
      db.prepare('DELETE FROM sqlite_sequence WHERE name = ?').run(name)
      db.prepare('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)').run(name, seq)
    }
  } finally {
    db.close()
  }
}

function sequences(db: DatabaseSync): Map<string, bigint> {
  if (count(db, `SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'`) === 0) return new Map()
  const statement = db.prepare('SELECT name, seq FROM sqlite_sequence')
  statement.setReadBigInts(true)
  return new Map(statement.all().map(row => [String(row['name']), row['seq'] as bigint]))
}

async function keep(file: string, kept: string): Promise<void> {
  try {
    await link(file, kept)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if ((await stat(kept)).ino === (await stat(file)).ino) return
    throw new BackoutError({
      code: 'restored_and_changed',
      what: `${file} was restored by this step already, and is not what the backup held any more`,
      next: `compare it with ${kept} by hand, then resolve the step`,
      exit: 'failed',
    })
  }
}

async function setAside(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
