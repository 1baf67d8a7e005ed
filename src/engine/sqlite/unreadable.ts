import { accessSync, constants, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { isBusy } from './lock.ts'

/** What to do where another process is in the middle of a write, and does not end it. */
export const HELD =
  'backout status names the process at work: where it is stopped, let it go on (fg, kill -CONT); where it hangs, end it (kill -9)'

/** Why a journal cannot be opened or read, and what to do about it: a disk that is full is not a broken one. */
export function unreadable(file: string, error: unknown): BackoutError {
  if (isBusy(error)) {
    const what = `Another process is in the middle of a write to the journal ${file}`
    const cause = messageOf(error)
    return new BackoutError({ code: 'journal_busy', what, cause, next: HELD, exit: 'busy', from: error })
  }
  const what = `The journal ${file} cannot be read`
  return new BackoutError({ code: 'journal_unreadable', what, ...reasonOf(file, error), exit: 'failed', from: error })
}

const SQLITE = { readOnly: 8, io: 10, full: 13, cannotOpen: 14 } as const
/** Less than this, and the files that SQLite needs beside a journal even to read it do not fit. */
const LEAST_BYTES = 64 * 1024

function reasonOf(file: string, error: unknown): { cause: string; next: string } {
  const home = dirname(file)
  const code = ((error as { errcode?: number } | null)?.errcode ?? 0) & 0xff
  if (code === SQLITE.readOnly || (code === SQLITE.cannotOpen && !isWritable(home))) {
    const next = `run as the user who owns ${home}, on a disk that can be written: SQLite keeps files beside a journal also to read it`
    return { cause: `this user may not write in ${home}, or its disk is mounted read-only: ${messageOf(error)}`, next }
  }
  if (code === SQLITE.full || ((code === SQLITE.io || code === SQLITE.cannotOpen) && isFull(home))) {
    const next = 'make room (100 MiB at least; docs/recovery.md, "Disk full"), then: backout status'
    return { cause: `no room is left on the disk of ${home}: ${messageOf(error)}`, next }
  }
  const next = 'see docs/recovery.md, "The journal cannot be opened"; change nothing in that folder before'
  return { cause: messageOf(error), next }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function isFull(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize < LEAST_BYTES
  } catch {
    return false
  }
}
