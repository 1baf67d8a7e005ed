import { spawnSync } from 'node:child_process'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { played } from '../test/support/merge.ts'
import { CARRIED, carried } from './support/carrying.ts'
import { against, memory, printing, ROUNDS, ROWS, told, tool } from './support/databases.ts'
import { inFolder, interleave, timed } from './support/measure.ts'
import { notHere, type Row } from './support/row.ts'
import { type Access, subjectOf } from './support/subjects.ts'

const PRINT = `fingerprint of a SQLite table of ${told(ROWS)} rows of 200 bytes, 8 columns`

const TABLE =
  'CREATE TABLE t (id integer PRIMARY KEY, big integer, amount numeric, ok integer, at text, code text, share real, name text);'
const FILL = (from: number, to: number) =>
  `INSERT INTO t WITH RECURSIVE s(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM s WHERE i < ${to})
   SELECT i, i * 7, (i % 1000) / 1.0, i % 2, datetime('2020-01-01', i || ' seconds'), hex(i * 1000003), i / 7.0,
     'customer number ' || i || ' with some padding text to make the row about two hundred bytes' FROM s;`

export async function bench(): Promise<Row[]> {
  return inFolder(async dir => {
    const merge = played({ base: TABLE + FILL(1, CARRIED), writes: FILL(CARRIED + 1, CARRIED * 2) })
    const db = new DatabaseSync(join(dir, 'bench.db'))
    db.exec(TABLE + FILL(1, ROWS))
    db.close()
    try {
      const access: Access = { kind: 'sqlite', dir, merge: merge.dir }
      const restore = async () => copyFileSync(join(merge.dir, 'base.db'), merge.ours)
      return [
        await fingerprint(access, join(dir, 'bench.db')),
        await carried('SQLite', await subjectOf(access).source(dir), dir, restore),
        await memory('SQLite', access, ['fingerprint', 'dump', 'proof', 'carry'], dir),
      ]
    } finally {
      rmSync(merge.dir, { recursive: true })
    }
  })
}

async function fingerprint(access: Access, file: string): Promise<Row> {
  const goal = 'below .sha3sum'
  if (spawnSync('sqlite3', ['--version']).error !== undefined)
    return notHere(PRINT, goal, 'the command line of SQLite is not installed; on Debian: apt-get install sqlite3')
  const print = await printing(subjectOf(access).engine)
  const took = await interleave(ROUNDS, {
    ours: () => timed(print),
    theirs: () => timed(() => tool(['sqlite3', '-readonly', file, '.sha3sum'])),
  })
  return against(PRINT, took.ours, 'sqlite3 .sha3sum', took.theirs, { text: goal, most: 1 })
}
