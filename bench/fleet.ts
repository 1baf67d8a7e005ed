import { FLAGS } from './support/built.ts'
import { join } from 'node:path'
import { freshStore, rollBack } from './support/engine.ts'
import { inFolder, median } from './support/measure.ts'
import { LINUX_ONLY, mb, peak } from './support/peak.ts'
import { ms, percent, type Row } from './support/row.ts'

const HOSTS = 1000
const STEP_MS = 200
const ROUNDS = 3
const LIMIT = 0.05
const LIMIT_MB = 250
const WHAT = `${HOSTS.toLocaleString('en')} simulated hosts, a canary and batches of 5 %, a gate between them, a switch and a restart of ${STEP_MS} ms each`

/** What scheduling a large fleet costs beyond the time of the steps themselves, and the memory that it takes. */
export async function bench(): Promise<Row[]> {
  return inFolder(async dir => {
    const taken: number[] = []
    let own = 0
    for (let i = 0; i < ROUNDS; i++) {
      const shape = { targets: HOSTS, stepMs: STEP_MS, limit: 50, batches: true }
      taken.push(await rollBack(freshStore(dir), shape, rounds => void (own = rounds * STEP_MS)))
    }
    const over = median(taken) / own - 1
    return [
      {
        what: WHAT,
        backout: ms(median(taken)),
        compared: `the steps' own time: ${ms(own)}`,
        ratio: `+${percent(over)}`,
        goal: { text: 'under +5 %', met: over < LIMIT },
      },
      await memoryRow(dir),
    ]
  })
}

async function memoryRow(dir: string): Promise<Row> {
  const what = 'peak memory of the process that does it'
  if (LINUX_ONLY !== null) return { what, backout: '', compared: LINUX_ONLY, ratio: '', goal: null }
  const worker = join(import.meta.dirname, 'support', 'run.ts')
  const used = await peak([...FLAGS, worker, dir, 'batches'])
  return { what, backout: mb(used), compared: '', ratio: '', goal: { text: 'under 250 MB', met: used < LIMIT_MB } }
}
