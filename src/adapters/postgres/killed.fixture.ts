import { readFileSync } from 'node:fs'
import type { Backup } from '../../core/contract.ts'
import { postgresConnectionShape } from './config.ts'
import { postgresEngine } from './engine.ts'

/** Loads a backup and puts it in place, and kills itself at the n-th write: arguments are a file of settings, and n. */
const [, , file = '', at = '0'] = process.argv
const { settings, backup, mark } = JSON.parse(readFileSync(file, 'utf8')) as {
  settings: object
  backup: Backup
  mark: string
}
const engine = postgresEngine(postgresConnectionShape.parse(settings), '/')
let writes = 0
const job = {
  signal: new AbortController().signal,
  progress: () => {},
  guard: () => {
    if (++writes !== Number(at)) return
    // A moment later: what was asked for right before is under way.
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), Math.random() * 30)
  },
}
if ((await engine.found('swap', mark, job.signal)) === null && (await engine.kept(mark, job.signal)) === null) {
  await engine.beside(backup, 'swap', mark, job)
}
await engine.swap(mark, job)
