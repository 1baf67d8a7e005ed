import { constants } from 'node:fs'
import { chmod, chown, copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { backup as copyPages, DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import type { Backup } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { dumpedIn } from '../../data/dumped.ts'
import type { Dumped, Job, Reader } from '../../data/engine.ts'
import { all, isBusy, openFrozen, reading } from './database.ts'
import { readerOf } from './reader.ts'

export const COPY = 'database.sqlite'
const PAGES_AT_ONCE = 5_000
export const COMPANIONS = ['-wal', '-shm', '-journal']

const factsShape = z.object({ journal: z.string(), mode: z.number() })

/** Copies the database while others may go on using it: the copy and what `work` reads are of one instant. */
export async function dump<T>(
  source: { file: string; busyMs: number },
  dir: string,
  job: Job,
  work: (db: Reader) => Promise<T>,
): Promise<{ dumped: Dumped; read: T }> {
  return reading({ ...source, signal: job.signal }, async (db, again) => {
    job.progress({ text: `copying ${source.file}` })
    await copy(db, join(dir, COPY), job)
    const version = String(all(db, 'SELECT sqlite_version() AS v')[0]?.['v'])
    const journal = String(all(db, 'PRAGMA main.journal_mode')[0]?.['journal_mode'])
    const mode = (await stat(source.file)).mode & 0o777
    const dumped: Dumped = {
      made: `online backup of SQLite ${version}`,
      covers: ['the whole file'],
      leaves: ['databases that are attached to it'],
      facts: { journal, mode },
    }
    return { dumped, read: await work(readerOf(db, job.signal, again)) }
  })
}

async function copy(db: DatabaseSync, to: string, job: Job): Promise<void> {
  await rm(to, { force: true })
  try {
    await copyPages(db, to, {
      rate: PAGES_AT_ONCE,
      progress: ({ totalPages, remainingPages }) => {
        job.signal.throwIfAborted()
        job.progress({ text: 'copying pages', done: totalPages - remainingPages, total: totalPages })
      },
    })
    // One file that stands for itself: a database in WAL mode would want to write files beside it when read.
    setJournal(to, 'DELETE')
  } catch (error) {
    job.signal.throwIfAborted()
    throw isBusy(error) ? error : failed(to, error)
  }
}

function failed(to: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'backup_failed',
    what: `The database could not be copied to ${to}; nothing of the copy was kept`,
    cause: messageOf(error),
    next: 'see that the disk of the backups has room for another copy of the database, then try again',
    exit: 'failed',
    from: error,
  })
}

/** What lies there as it lies, its logs included. */
export async function copyAsIs(file: string, dir: string): Promise<void> {
  for (const end of ['', ...COMPANIONS]) {
    const there = await stat(`${file}${end}`).catch(() => null)
    if (there?.isFile()) await copyFile(`${file}${end}`, join(dir, `${COPY}${end}`))
  }
}

/** Puts the content of a backup at `to`, whole or not at all, checked by SQLite itself. */
export async function unpack(backup: Backup, to: string): Promise<void> {
  const part = `${to}.part`
  await removeAll(to)
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  try {
    await copyFile(join(backup.dir, COPY), part, constants.COPYFILE_FICLONE)
    const problems = integrityOf(part)
    if (problems.length > 0) throw damaged(backup.id, problems)
    await rename(part, to)
  } finally {
    await rm(part, { force: true })
  }
}

/** Makes what was unpacked ready to take the place of `file`: owner, rights, journal, and safely on disk. */
export async function makeReady(backup: Backup, staged: string, file: string): Promise<void> {
  const { journal, mode } = factsShape.parse(dumpedIn(backup)?.facts ?? backup.facts)
  const old = await stat(file).catch(() => null)
  await chmod(staged, old === null ? mode : old.mode & 0o777)
  if (old !== null) await chown(staged, old.uid, old.gid)
  if (journal === 'wal') setJournal(staged, 'WAL')
  await syncFile(staged)
}

export function setJournal(file: string, mode: 'WAL' | 'DELETE'): void {
  const db = new DatabaseSync(file)
  try {
    db.exec(`PRAGMA journal_mode = ${mode}`)
  } finally {
    db.close()
  }
}

export async function syncFile(path: string): Promise<void> {
  await using handle = await open(path, 'r')
  await handle.sync()
}

export async function removeAll(file: string): Promise<void> {
  for (const end of ['', ...COMPANIONS]) await rm(`${file}${end}`, { force: true })
}

function damaged(id: string, problems: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'backup_damaged',
    what: `The backup ${id} is no sound database`,
    cause: problems.slice(0, 5).join('\n'),
    next: 'take an earlier backup: `backout releases` lists them',
    exit: 'blocked',
  })
}

function integrityOf(file: string): string[] {
  try {
    const db = openFrozen(file)
    try {
      const said = all(db, 'PRAGMA integrity_check(20)').map(row => String(Object.values(row)[0]))
      return said.filter(line => line !== 'ok')
    } finally {
      db.close()
    }
  } catch (error) {
    return [messageOf(error)]
  }
}
