import { existsSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { BackoutError, messageOf } from '../../core/errors.ts'

/** What names the configuration; undefined: nothing does. An empty variable of the environment counts as none. */
export function saidConfig(named: string | undefined): string | undefined {
  if (named === '') {
    throw new BackoutError({
      code: 'config_unreadable',
      what: '--config names no file, as an empty variable does',
      next: 'name the file, or leave --config out',
      exit: 'usage',
    })
  }
  return named ?? (process.env['BACKOUT_CONFIG'] || undefined)
}

/** backout.yaml of this folder or of one above it, unless one is named. */
export function findConfig(named: string | undefined): string {
  const said = saidConfig(named)
  if (said !== undefined) return wholePath(said)
  const from = here()
  for (let dir = resolve(from); ; dir = dirname(dir)) {
    const file = join(dir, 'backout.yaml')
    if (existsSync(file)) return file
    if (dirname(dir) === dir) return join(resolve(from), 'backout.yaml')
  }
}

/** Of what is named by its whole path it does not matter where that was typed. */
export function wholePath(path: string): string {
  return isAbsolute(path) ? resolve(path) : resolve(here(), path)
}

/** The folder that a command is typed in. */
function here(): string {
  try {
    return process.cwd()
  } catch (error) {
    throw new BackoutError({
      code: 'folder_gone',
      what: 'The folder that this was typed in was deleted',
      cause: messageOf(error),
      next: 'cd to one that exists; or name the configuration by its whole path: --config /…/backout.yaml',
      exit: 'usage',
      from: error,
    })
  }
}
