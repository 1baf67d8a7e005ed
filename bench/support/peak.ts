import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Why memory cannot be measured on this machine, or null. */
export const LINUX_ONLY = process.platform === 'linux' ? null : 'it is read from /proc, which is Linux'

/** What a script prints at its end, so that `peak` can tell. */
export const REPORT = `console.log(require('node:fs').readFileSync('/proc/self/status', 'utf8'))`

export function mb(value: number): string {
  return `${value.toFixed(0)} MB`
}

/** The most memory that a node process held at a time, in MB. It must print its /proc/self/status at its end. */
export async function peak(argv: string[]): Promise<number> {
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
