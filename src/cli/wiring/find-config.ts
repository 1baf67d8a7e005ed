import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** backout.yaml of this folder or of one above it, unless one is named. */
export function findConfig(named: string | undefined, from = process.cwd()): string {
  const said = named ?? process.env['BACKOUT_CONFIG']
  if (said !== undefined && said !== '') return resolve(said)
  for (let dir = resolve(from); ; dir = dirname(dir)) {
    const file = join(dir, 'backout.yaml')
    if (existsSync(file)) return file
    if (dirname(dir) === dir) return join(resolve(from), 'backout.yaml')
  }
}
