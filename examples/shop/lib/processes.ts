import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { readIfThere } from './files.ts'

/** The process that a pid file names, if it is alive and still the one that was started with this command; else null. */
export function pidOf(pidFile: string, command: readonly string[]): number | null {
  const pid = Number(readIfThere(pidFile) ?? '')
  return Number.isInteger(pid) && pid > 1 && runs(pid, command) ? pid : null
}

/** Whether this very command runs under this id: a process that merely got the same id later is not taken for it. */
export function runs(pid: number, command: readonly string[]): boolean {
  if (!isAlive(pid)) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `${command.join('\0')}\0`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || process.platform === 'linux') return false
  }
  try {
    const shown = execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
    return shown.trim() === command.join(' ')
  } catch {
    return false
  }
}

/** A process that ended and that nobody has asked after yet is not alive. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  const stat = readIfThere(`/proc/${pid}/stat`)
  return stat === null || !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Asks until the answer is true; false where it was not within so many milliseconds. */
export async function until(ask: () => boolean | Promise<boolean>, ms: number, everyMs = 20): Promise<boolean> {
  const end = performance.now() + ms
  while (!(await ask())) {
    if (performance.now() > end) return false
    await sleep(everyMs)
  }
  return true
}
