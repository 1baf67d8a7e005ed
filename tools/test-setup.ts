import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundle } from './bundle.ts'
import { isAlive, scratchFolder } from './test-scratch.ts'

const root = join(import.meta.dirname, '..')
const CACHE = join(root, 'node_modules', '.cache')

/**
 * Everything that tests put into the temporary folder lies in one, which goes with them. The command line is bundled once,
 * for hundreds of its processes are started, and what one has compiled, the next need not.
 */
export default async function setup(): Promise<() => void> {
  const folder = scratchFolder()
  process.env['TMPDIR'] = folder
  process.env['NODE_COMPILE_CACHE'] = join(folder, 'compiled')
  forgetOld()
  const shipped = join(CACHE, `shipped-${process.pid}`)
  mkdirSync(shipped, { recursive: true })
  writeFileSync(join(shipped, 'package.json'), '{ "type": "module" }\n')
  await bundle(shipped, { 'kill-at': join(root, 'test', 'crash', 'kill-at.fixture.ts') })
  process.env['BACKOUT_TEST_SHIPPED'] = shipped
  return () => {
    rmSync(folder, { recursive: true, force: true })
    rmSync(shipped, { recursive: true, force: true })
  }
}

/** What a run that was killed left behind. */
function forgetOld(): void {
  const left = readdirSync(CACHE).filter(name => /^shipped-\d+$/.test(name) && !isAlive(Number(name.slice(8))))
  for (const name of left) rmSync(join(CACHE, name), { recursive: true, force: true })
}
