import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundle } from './bundle.ts'
import { forgetOld, ownFolder, scratchFolder } from './test-scratch.ts'

const root = join(import.meta.dirname, '..')
const CACHE = join(root, 'node_modules', '.cache')
const SHIPPED = 'shipped-'

/**
 * Everything that tests put into the temporary folder lies in one, which goes with them. The command line is bundled once,
 * for hundreds of its processes are started, and what one has compiled, the next need not.
 */
export default async function setup(): Promise<() => void> {
  const folder = scratchFolder()
  process.env['TMPDIR'] = folder
  process.env['NODE_COMPILE_CACHE'] = join(folder, 'compiled')
  mkdirSync(CACHE, { recursive: true })
  forgetOld(CACHE, SHIPPED)
  const shipped = ownFolder(CACHE, SHIPPED)
  writeFileSync(join(shipped, 'package.json'), '{ "type": "module" }\n')
  await bundle(shipped, { 'kill-at': join(root, 'test', 'crash', 'kill-at.fixture.ts') })
  process.env['BACKOUT_TEST_SHIPPED'] = shipped
  return () => {
    rmSync(folder, { recursive: true, force: true })
    rmSync(shipped, { recursive: true, force: true })
  }
}
