import { chmod, chown, link, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Backup, StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { type BackupFacts, unpack } from './backup.ts'
import { all, count, isDamage, patiently } from './database.ts'
import { holdersOf } from './holders.ts'
import type { Place } from './site.ts'

/** Names of the files of one restore: the new one before it is in place, and the old one that is kept. */
export function filesOf(file: string, idem: string): { staged: string; kept: string } {
  return { staged: `${file}.backout-${idem}`, kept: `${file}.before-${idem}` }
}

/** Puts the backup in the database's place. The old file is kept under another name; the place is never empty. */
export async function restore(place: Place, backup: Backup, facts: BackupFacts, act: StepAct): Promise<void> {
  const { staged, kept } = filesOf(place.file, act.idem)
  act.guard()
  act.progress({ text: `unpacking ${backup.id}` })
  try {
    await unpack(backup, staged)
    await likeTheOld(place.file, staged, facts)
    await swap(place, staged, kept, act, facts)
  } finally {
    await removeWithCompanions(staged)
  }
  await act.tell({ kind: 'kept', text: `The database as it was is kept as ${kept}`, data: { file: kept } })
}

export function broken(id: string, problems: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'backup_altered',
    what: `The backup ${id} is not what was made`,
    cause: problems.slice(0, 5).join('\n'),
    next: 'take another backup, or a copy of this one from elsewhere',
    exit: 'blocked',
  })
}

/** Owner and mode of the file that is replaced; of the one that was backed up, where there is none. */
async function likeTheOld(file: string, staged: string, facts: BackupFacts): Promise<void> {
  const old = await stat(file).catch(() => null)
  await chmod(staged, old === null ? facts.mode : old.mode & 0o777)
  if (old !== null) await chown(staged, old.uid, old.gid)
}

async function swap(place: Place, staged: string, kept: string, act: StepAct, facts: BackupFacts): Promise<void> {
  const old = await stat(place.file).catch(() => null)
  const lock = old === null ? null : await takeAlone(place)
  let swapped = false
  try {
    if (lock !== null) keepNumbersIssued(lock.db, staged)
    if (facts.journal === 'wal') setWal(staged)
    await syncFile(staged)
    act.signal.throwIfAborted()
    act.guard()
    if (old !== null) await keep(place.file, kept)
    for (const end of ['-wal', '-shm', '-journal']) await setAside(`${place.file}${end}`, `${kept}${end}`)
    act.guard()
    await rename(staged, place.file)
    swapped = true
    await syncFile(dirname(place.file))
  } finally {
    lock?.db.close()
    if (lock?.wal === true && !swapped) setWal(place.file)
  }
}

/**
 * Makes sure that nobody else has the database open, and keeps others out. Turning WAL off moves what stands in the log
 * into the file and works only alone; a file that is no database any more cannot be locked, only looked at.
 */
async function takeAlone(place: Place): Promise<{ db: DatabaseSync; wal: boolean } | null> {
  const holders = await holdersOf(place.file)
  if (holders.length > 0) {
    throw new BackoutError({
      code: 'database_open',
      what: `The database ${place.file} is open in ${holders.map(h => `process ${h.pid} (${h.command})`).join(', ')}`,
      cause: 'what it writes after the restore would be lost',
      next: 'stop it, then resume the run',
      exit: 'failed',
    })
  }
  const db = new DatabaseSync(place.file, { timeout: 0 })
  try {
    const wal = await patiently(place, () => all(db, 'PRAGMA journal_mode')[0]?.['journal_mode'] === 'wal')
    await patiently(place, () => db.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE'))
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

function setWal(file: string): void {
  const db = new DatabaseSync(file)
  db.exec('PRAGMA journal_mode = WAL')
  db.close()
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

async function syncFile(path: string): Promise<void> {
  await using handle = await open(path, 'r')
  await handle.sync()
}

async function removeWithCompanions(file: string): Promise<void> {
  for (const end of ['', '-wal', '-shm', '-journal']) await rm(`${file}${end}`, { force: true })
}
