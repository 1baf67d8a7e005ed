import { readFileSync } from 'node:fs'
import { freshStore, rollBack } from './engine.ts'

/** A process of its own that executes one run and says how much memory it took at the most. */
const [dir = '.', shape = ''] = process.argv.slice(2)
await rollBack(freshStore(`${dir}/${process.pid}`), {
  targets: 1000,
  stepMs: 5,
  limit: 50,
  batches: shape === 'batches',
})
process.stdout.write(readFileSync('/proc/self/status', 'utf8'))
