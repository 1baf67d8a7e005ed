import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { expectNothingLost } from '../../../test/support/merge-oracle.ts'
import { type RandomStory, story } from '../../../test/support/merge-random.ts'
import { applyCarry, planCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { Job } from '../../data/engine.ts'
import { listedIn, type Played, played, type Story } from './test/merge.ts'

const why = noMariadb()
const RUNS = Number(process.env['BACKOUT_RANDOM_MYSQL'] ?? 6)
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

describe.skipIf(why !== null)(`C14: carrying forward into MariaDB${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
  })
  afterAll(() => server?.dispose())

  it('loses no committed row of random stories without listing it, and touches nothing else', async () => {
    const check = async (random: RandomStory) => {
      const merge = await played(server, translated(random))
      try {
        await holds(merge)
      } finally {
        await merge.dispose()
      }
    }
    await fc.assert(fc.asyncProperty(story, check), { numRuns: RUNS, endOnFailure: true })
  }, 600_000)
})

async function holds({ source, renames, dump, orphans }: Played): Promise<void> {
  const before = await dump('ours')
  const plan = await planCarry(source, NOTHING_SAID, job)
  expect(await dump('ours', true)).toEqual(before)
  const outcome = await applyCarry(source, NOTHING_SAID, job, { hash: plan.hash, batch: 3 })
  expect(outcome.proof.problems).toEqual([])
  const world = {
    base: await dump('base'),
    own: null,
    theirs: await dump('theirs'),
    before,
    after: await dump('ours'),
    schemas: source.schemas,
    renames,
    listed: await listedIn(source, outcome),
  }
  for (const table of plan.tables) expectNothingLost(world, table)
  expect(await orphans()).toEqual([])
  const done = await dump('ours', true)
  const again = await applyCarry(source, NOTHING_SAID, job, { hash: plan.hash, batch: 3 })
  expect([again.carried, again.proof.problems]).toEqual([0, []])
  expect(await dump('ours', true)).toEqual(done)
}

/** The stories are written for SQLite: in MariaDB's words. Whatever is refused then was never committed. */
function translated({ base, rows, early, release, meanwhile, writes, after, told }: RandomStory): Story {
  const say = (sql: string) =>
    sql
      .replaceAll('VARCHAR(9) COLLATE NOCASE', 'varchar(9) COLLATE utf8mb4_general_ci')
      .replaceAll(/\bBLOB\b/g, 'varbinary(40)')
      .replaceAll(/\b(c\d) {2}/g, '$1 datetime ')
      .replaceAll(/\bTEXT\b/g, 'varchar(40)')
      .replaceAll(/\bREAL\b/g, 'double')
      .replaceAll(/\bNUMERIC\b/g, 'decimal(30,6)')
      .replaceAll(`'a' || char(0) || 'b'`, `'2020-01-01'`)
      .replaceAll(/'was' \|\| (\d+)/g, `'was$1'`)
      .replaceAll(`c0 IS NOT 'b'`, `NOT (c0 <=> 'b')`)
  return {
    base: [...base, ...rows].map(say),
    early: early.map(say),
    release: release.map(change => ({ ...change, sql: say(change.sql) })),
    meanwhile: meanwhile.map(say),
    writes: writes.map(say),
    after: after.map(say),
    told,
  }
}
