import { FLAGS } from './support/built.ts'
import { join } from 'node:path'
import { inFolder, interleave, median } from './support/measure.ts'
import { LINUX_ONLY, mb, peak, REPORT } from './support/peak.ts'
import { notHere, type Row } from './support/row.ts'

const WHAT = 'peak memory of a process that executes a run of 1,000 steps'
const LIMIT_MB = 150
const ROUNDS = 5

/** The most memory that a process held at a time (VmHWM): one that runs 1,000 steps, and one that does nothing. */
export async function bench(): Promise<Row[]> {
  if (LINUX_ONLY !== null) return [notHere(WHAT, 'under 150 MB', LINUX_ONLY)]
  return inFolder(async dir => {
    const worker = join(import.meta.dirname, 'support', 'run.ts')
    const { run, idle } = await interleave(ROUNDS, {
      run: () => peak([...FLAGS, worker, dir]),
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
