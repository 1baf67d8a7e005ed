import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { inFolder, interleave, median } from './support/measure.ts'
import { notHere, type Row } from './support/row.ts'

const WHAT = 'peak memory of a process that executes a run of 1,000 steps'
const LIMIT_MB = 150
const ROUNDS = 5

/** The most memory that a process held at a time (VmHWM): one that runs 1,000 steps, and one that does nothing. */
export async function bench(): Promise<Row[]> {
  if (process.platform !== 'linux') return [notHere(WHAT, 'under 150 MB', 'it is read from /proc, which is Linux')]
  return inFolder(async dir => {
    const worker = join(import.meta.dirname, 'support', 'run.ts')
    const { run, idle } = await interleave(ROUNDS, {
      run: () => peak(['--disable-warning=ExperimentalWarning', worker, dir]),
      idle: () => peak(['-e', REPORT]),
    })
    return [
      {
        what: WHAT,
        backout: mb(median(run)),
        compared: `node that does nothing: ${mb(median(idle))}`,
        ratio: `${(median(run) / median(idle)).toFixed(1)}x`,
        goal: { text: 'under 150 MB', met: median(run) < LIMIT_MB },
      },
    ]
  })
}

const REPORT = `console.log(require('node:fs').readFileSync('/proc/self/status', 'utf8'))`

function mb(value: number): string {
  return `${value.toFixed(0)} MB`
}

async function peak(argv: string[]): Promise<number> {
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => void (out += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}`)
  return peakOf(out)
}

/** VmHWM of a /proc/PID/status, in MB of 1,000,000 bytes. */
function peakOf(status: string): number {
  const kb = Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1] ?? Number.NaN)
  return (kb * 1024) / 1e6
}
