import { freshStore, plainLoop, rollBack } from './support/engine.ts'
import { inFolder, interleave, median } from './support/measure.ts'
import { ms, percent, type Row } from './support/row.ts'

const STEPS = 1000
const AT_ONCE = 50
const LIMIT = 0.05

/** What a run of 1,000 steps, 50 at a time, takes beyond the time of the steps themselves. */
export async function bench(): Promise<Row[]> {
  return inFolder(async dir => {
    const rows: Row[] = []
    // 200 ms is a short step: to switch a host's link over SSH takes as long. The other one shows where the cost lies.
    for (const [stepMs, rounds, limit] of [
      [200, 5, LIMIT],
      [50, 7, null],
    ] as const) {
      const shape = { targets: STEPS, stepMs, limit: AT_ONCE }
      const { run, bare } = await interleave(rounds, {
        run: () => rollBack(freshStore(dir), shape),
        bare: () => plainLoop(shape),
      })
      rows.push(rowOf(stepMs, median(run), median(bare), limit))
    }
    return rows
  })
}

function rowOf(stepMs: number, run: number, bare: number, limit: number | null): Row {
  const over = run / bare - 1
  return {
    what: `run of 1,000 steps of ${stepMs} ms, 50 at a time`,
    backout: ms(run),
    compared: `a plain loop that waits as long: ${ms(bare)}`,
    ratio: `+${percent(over)}`,
    goal: limit === null ? null : { text: 'under +5 %', met: over < limit },
  }
}
