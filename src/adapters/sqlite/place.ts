import { realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { BackoutError } from '../../core/errors.ts'

/** What an SQLite database is found by. */
export interface Where {
  /** As in the settings; relative to `baseDir`. */
  readonly path: string
  readonly baseDir: string
  /** For scratch copies. */
  readonly stateDir: string
  /** How long to wait for a lock. Milliseconds. */
  readonly busyMs: number
}

/** The file that the path stands for, also where it is not there. Links are followed. Absolute. */
export function fileAt({ path, baseDir }: Where): string {
  const absolute = resolve(baseDir, path)
  return real(absolute) ?? join(real(dirname(absolute)) ?? dirname(absolute), basename(absolute))
}

function real(path: string): string | null {
  try {
    return realpathSync(path)
  } catch {
    return null
  }
}

/** Throws `database_missing` where there is nothing, `not_a_file` where there is something else. */
export function fileThere(where: Where): string {
  const file = fileAt(where)
  const there = statSync(file, { throwIfNoEntry: false })
  if (there?.isFile() === true) return file
  throw new BackoutError({
    code: there === undefined ? 'database_missing' : 'not_a_file',
    what: there === undefined ? `There is no file ${file}` : `${file} is not a file`,
    next: 'name the database file in `path:`',
    exit: there === undefined ? 'failed' : 'usage',
  })
}
