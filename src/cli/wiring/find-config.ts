import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { BackoutError } from '../../core/errors.ts'

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
export function findConfig(named: string | undefined, from = process.cwd()): string {
  const said = saidConfig(named)
  if (said !== undefined) return resolve(said)
  for (let dir = resolve(from); ; dir = dirname(dir)) {
    const file = join(dir, 'backout.yaml')
    if (existsSync(file)) return file
    if (dirname(dir) === dir) return join(resolve(from), 'backout.yaml')
  }
}
