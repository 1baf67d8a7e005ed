import { join } from 'node:path'

const folder = process.env['BACKOUT_TEST_SHIPPED']
if (folder === undefined)
  throw new Error('tools/test-setup.ts, which vitest calls first, did not bundle the command line')

/** The command line as it is shipped. */
export const MAIN = join(folder, 'main.js')
/** What may be loaded before it, to kill it at a point. */
export const KILL_AT = join(folder, 'kill-at.js')
