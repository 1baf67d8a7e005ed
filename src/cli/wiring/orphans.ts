import { readdir, readFile } from 'node:fs/promises'
import type { Clock } from '../../core/clock.ts'
import { BackoutError } from '../../core/errors.ts'

const WAIT_MS = 15_000

/**
 * Waits until no supervised child of an earlier owner of the run is alive: its supervisor ends it within seconds once
 * the owner's end of the lifeline has closed.
 */
export async function orphansGone(runId: string, clock: Clock): Promise<void> {
  const began = clock.mono()
  for (;;) {
    const alive = await childrenOf(runId)
    if (alive.length === 0) return
    if (clock.mono() - began > WAIT_MS) {
      throw new BackoutError({
        code: 'orphans_alive',
        what: `Commands of an earlier process of run ${runId} are still alive: ${alive.join(', ')}`,
        next: 'look what they do; end them (kill -9), then: backout resume',
        exit: 'busy',
      })
    }
    await clock.sleep(100)
  }
}

/** Process ids of supervisors that carry the run's mark as their name (see exec/supervisor.ts). */
async function childrenOf(runId: string): Promise<number[]> {
  const names = await readdir('/proc').catch(() => [])
  const pids = names.filter(name => /^\d+$/.test(name)).map(Number)
  const marked = await Promise.all(
    pids.map(async pid => {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      const [shell, flag, , mark] = line.split('\0')
      return shell?.endsWith('/sh') && flag === '-c' && mark?.startsWith(`${runId}.`)
    }),
  )
  return pids.filter((_, i) => marked[i])
}
