import { FLAGS } from './support/built.ts'
import { join } from 'node:path'
import { freshStore, plainLoop, rollBack } from './support/engine.ts'
import { inFolder, interleave, median } from './support/measure.ts'
import { LINUX_ONLY, mb, peak } from './support/peak.ts'
import { ms, percent, type Row } from './support/row.ts'

const HOSTS = 1000
const SWITCH_MS = 200
const ROUNDS = 3
const LIMIT = 0.05
const LIMIT_MB = 250

/** What scheduling a large fleet costs beyond the time of the steps themselves, and the memory that it takes. */
export async function bench(): Promise<Row[]> {
  return inFolder(async dir => {
    const rows: Row[] = []
    // The adapter watches each service for 3 s after its restart, if nobody sets that. The other one shows where the cost lies.
    for (const [restartMs, limit] of [
      [1000, LIMIT],
      [SWITCH_MS, null],
    ] as const) {
      const shape = { targets: HOSTS, stepMs: SWITCH_MS, restartMs, limit: 50, batches: true }
      const { run, bare } = await interleave(ROUNDS, {
        run: () => rollBack(freshStore(dir), shape),
        bare: () => plainLoop(shape),
      })
      rows.push(rowOf(restartMs, median(run), median(bare), limit))
    }
    return [...rows, await memoryRow(dir)]
  })
}

function rowOf(restartMs: number, run: number, bare: number, limit: number | null): Row {
  const steps = `a switch of ${SWITCH_MS} ms and a restart of ${restartMs} ms each`
  const over = run / bare - 1
  return {
    what: `${HOSTS.toLocaleString('en')} simulated hosts, a canary and batches of 5 %, a gate between them, ${steps}`,
    backout: ms(run),
    compared: `a plain loop that waits as long: ${ms(bare)}`,
    ratio: `+${percent(over)}`,
    goal: limit === null ? null : { text: 'under +5 %', met: over < limit },
  }
}

async function memoryRow(dir: string): Promise<Row> {
  const what = 'peak memory of the process that does it'
  if (LINUX_ONLY !== null) return { what, backout: '', compared: LINUX_ONLY, ratio: '', goal: null }
  const worker = join(import.meta.dirname, 'support', 'run.ts')
  const used = await peak([...FLAGS, worker, dir, 'batches'])
  return { what, backout: mb(used), compared: '', ratio: '', goal: { text: 'under 250 MB', met: used < LIMIT_MB } }
}
