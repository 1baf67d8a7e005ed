import { spawnSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sqliteEngine } from '../src/adapters/sqlite/engine.ts'
import { applyCarry, planCarry } from '../src/data/carry/index.ts'
import { NOTHING_SAID } from '../src/data/carry/options.ts'
import { runLocal } from '../src/exec/local.ts'
import { JOB, played } from '../test/support/merge.ts'
import { inFolder, interleave, median, ratio, timed } from './support/measure.ts'
import { ms, notHere, type Row, times } from './support/row.ts'

const ROUNDS = 3
const ROWS = 1_000_000
const CARRIED = 200_000
const PRINT = 'fingerprint of a SQLite table of 1,000,000 rows of 200 bytes, 8 columns'
const CARRY = `carrying ${CARRIED.toLocaleString('en')} new rows forward over a restore on SQLite: found, put in, and the rest proven unchanged`
const GOAL = 'at least 100,000 rows/s'

const TABLE = (name: string) =>
  `CREATE TABLE ${name} (id integer PRIMARY KEY, big integer, amount numeric, ok integer, at text, code text, share real, name text);`
const FILL = (name: string, from: number, to: number) =>
  `INSERT INTO ${name} WITH RECURSIVE s(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM s WHERE i < ${to})
   SELECT i, i * 7, (i % 1000) / 1.0, i % 2, datetime('2020-01-01', i || ' seconds'), hex(i * 1000003), i / 7.0,
     'customer number ' || i || ' with some padding text to make the row about two hundred bytes' FROM s;`

export async function bench(): Promise<Row[]> {
  return [await print(), await carried()]
}

async function print(): Promise<Row> {
  const goal = 'below .sha3sum'
  if (spawnSync('sqlite3', ['--version']).error !== undefined)
    return notHere(PRINT, goal, 'the command line of SQLite is not installed; on Debian: apt-get install sqlite3')
  return inFolder(async dir => {
    const file = join(dir, 'bench.db')
    const db = new DatabaseSync(file)
    db.exec(TABLE('t') + FILL('t', 1, ROWS))
    db.close()
    const engine = sqliteEngine({ path: file, baseDir: dir, stateDir: dir, busyMs: 1000 })
    const schema = await engine.reading(JOB.signal, read => read.schema())
    const took = await interleave(ROUNDS, {
      ours: () => timed(() => engine.reading(JOB.signal, read => read.fingerprint(schema))),
      theirs: () => timed(() => tool(['sqlite3', '-readonly', file, '.sha3sum'])),
    })
    const share = ratio(took.ours, took.theirs)
    return {
      what: PRINT,
      backout: ms(median(took.ours)),
      compared: `sqlite3 .sha3sum: ${ms(median(took.theirs))}`,
      ratio: times(share),
      goal: { text: goal, met: share < 1 },
    }
  })
}

async function carried(): Promise<Row> {
  const merge = played({ base: TABLE('t') + FILL('t', 1, CARRIED), writes: FILL('t', CARRIED + 1, CARRIED * 2) })
  const took: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    copyFileSync(join(merge.dir, 'base.db'), merge.ours)
    const source = { ...merge.source, dir: join(merge.dir, `carry-${i}`) }
    const plan = await planCarry(source, NOTHING_SAID, JOB)
    took.push(
      await timed(async () => {
        const outcome = await applyCarry(source, NOTHING_SAID, JOB, { hash: plan.hash })
        if (!outcome.proof.ok) throw new Error('what was carried was not proven')
      }),
    )
  }
  const rate = CARRIED / (median(took) / 1000)
  return {
    what: CARRY,
    backout: ms(median(took)),
    compared: 'nothing else does it',
    ratio: `${Math.round(rate).toLocaleString('en')} rows/s`,
    goal: { text: GOAL, met: rate >= 100_000 },
  }
}

async function tool(argv: readonly string[]): Promise<void> {
  const { code, stderr } = await runLocal({ argv, limitMs: 600_000 })
  if (code !== 0) throw new Error(`${argv[0]} ended with ${code}: ${stderr}`)
}
