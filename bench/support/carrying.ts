import { join } from 'node:path'
import { applyCarry, planCarry } from '../../src/data/carry/index.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import type { CarrySource } from '../../src/data/carry/source.ts'
import { JOB, ROUNDS, ROWS, told } from './databases.ts'
import { median, timed } from './measure.ts'
import { ms, notHere, type Row } from './row.ts'

/** How many rows are carried, and how many there were before. */
export const CARRIED = ROWS / 5

const GOAL = 100_000
const GOAL_TEXT = `at least ${told(GOAL)} rows/s`
const what = (name: string) =>
  `carrying ${told(CARRIED)} new rows forward over a restore on ${name}: found, put in, and the rest proven unchanged`

/** Carries everything, after a plan that nobody waits for. Answers how long the carrying took. */
export async function carry(source: CarrySource): Promise<number> {
  const plan = await planCarry(source, NOTHING_SAID, JOB)
  return timed(async () => {
    const outcome = await applyCarry(source, NOTHING_SAID, JOB, { hash: plan.hash })
    if (!outcome.proof.ok || outcome.carried !== CARRIED) throw new Error('what was carried was not proven')
  })
}

/** `restore`: ours is again what it was right after the restore. */
export async function carried(
  name: string,
  source: CarrySource,
  dir: string,
  restore: () => Promise<unknown>,
): Promise<Row> {
  const took: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await restore()
    took.push(await carry({ ...source, dir: join(dir, `carry-${round}`) }))
  }
  await restore()
  const rate = CARRIED / (median(took) / 1000)
  return {
    what: what(name),
    backout: ms(median(took)),
    compared: 'nothing else does it',
    ratio: `${told(Math.round(rate))} rows/s`,
    goal: { text: GOAL_TEXT, met: rate >= GOAL },
  }
}

export function notCarried(name: string, reason: string): Row {
  return notHere(what(name), GOAL_TEXT, reason)
}
