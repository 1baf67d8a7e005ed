import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Everything that tests put into the temporary folder lies in one, which goes with them. Short: sockets lie in it. */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'bt-'))
  process.env['TMPDIR'] = folder
  // Hundreds of processes of the command line are started: what one of them has compiled, the next need not.
  process.env['NODE_COMPILE_CACHE'] = join(folder, 'compiled')
  return () => rmSync(folder, { recursive: true, force: true })
}
