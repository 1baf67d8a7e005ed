import { rmSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { openMerging } from '../../src/adapters/sqlite/merging.ts'
import { type ApplyOptions, applyCarry } from '../../src/data/carry/index.ts'
import { type CarryOptions, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carried, kinds, PLAIN_SHOP as SHOP } from '../support/carried.ts'
import { JOB, type Merge, played, rows, type Story } from '../support/merge.ts'

const made: string[] = []
afterEach(() => {
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true })
})

function play(story: Story): Merge {
  const merge = played(story)
  made.push(merge.dir)
  return merge
}

/** In small parts; what is listed as table, key and kind. */
async function carry(merge: Merge, said: Partial<CarryOptions> = {}, how: ApplyOptions = { batch: 3 }) {
  const outcome = await carried(merge, said, how)
  return { ...outcome, listed: kinds(outcome.listed) }
}

const totals = (merge: Merge) =>
  rows(merge.ours, 'SELECT id, total FROM orders').map(row => `${String(row['id'])} ${String(row['total'])}`)

describe('a row whose parent is another one in ours', () => {
  const story = {
    base: SHOP,
    writes: `INSERT INTO users VALUES (3, 'cid', 50); INSERT INTO orders VALUES (3, 3, 30)`,
    after: `INSERT INTO users VALUES (3, 'zoe', 20)`,
  }

  it('does not come under the stranger, and comes with its own', async () => {
    const merge = play(story)
    expect((await carry(merge)).listed.sort()).toEqual(['orders 3 foreign-key', 'users 3 exists'])
    const settled = await carry(merge, { decisions: [{ table: 'users', kind: 'exists', take: 'theirs' }] })
    expect([settled.carried, settled.listed]).toEqual([2, []])
    expect(totals(merge)).toEqual(['1 10', '2 20', '3 30'])
  })

  it('stays listed where a person lets the stranger be', async () => {
    const merge = play(story)
    const settled = await carry(merge, { decisions: [{ table: 'users', kind: 'exists', take: 'ours' }] })
    expect([settled.carried, settled.listed.filter(l => l.startsWith('orders'))]).toEqual([0, ['orders 3 foreign-key']])
  })
})

describe('a row of a table without a key', () => {
  const LOG = {
    base: `CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, p INTEGER REFERENCES t(id));
      CREATE TABLE log (x INTEGER, q INTEGER REFERENCES t(id));
      INSERT INTO t VALUES (3, 'c', NULL), (5, 'e', NULL); INSERT INTO log VALUES (1, 3)`,
    writes: `PRAGMA foreign_keys = OFF; UPDATE t SET p = 5 WHERE id = 3; DELETE FROM t WHERE id = 5;
      INSERT INTO t VALUES (9, 'e', NULL);
      INSERT INTO log VALUES (1, 9), (1, 9), (2, 3)`,
  }

  it('goes again where what it refers to was refused after it had come, as often as it came', async () => {
    const merge = play(LOG)
    const { listed, carried } = await carry(merge)
    expect(listed.toSorted().map(l => l.replace(/ \S+ (\S+)$/, ' $1'))).toEqual([
      'log foreign-key',
      't foreign-key',
      't unique',
    ])
    expect(carried).toBe(2)
    expect(rows(merge.ours, 'SELECT x, q FROM log ORDER BY x')).toEqual([
      { x: 1, q: 3 },
      { x: 2, q: 3 },
    ])
    expect(rows(merge.ours, 'PRAGMA foreign_key_check')).toEqual([])
  })

  it.each([1, 2, 3])('goes again where an earlier process had carried it, ended after %i parts', async parts => {
    const merge = play(LOG)
    let left = parts
    const progress: typeof JOB.progress = ({ text, done = 0 }) => {
      if (text === 'carrying rows' && done > 0 && left-- === 1) throw new Error('ended')
    }
    await expect(applyCarry(merge.source, NOTHING_SAID, { ...JOB, progress }, { batch: 1 })).rejects.toThrow('ended')
    const { left: tables, listed, carried: came } = await carry(merge)
    expect(came).toBeGreaterThanOrEqual(0)
    expect(tables.find(t => t.table === 'log')).toMatchObject({ conflicts: { 'foreign-key': 2 }, done: 1 })
    expect(listed.filter(l => l.startsWith('log'))).toHaveLength(1)
    expect(rows(merge.ours, 'SELECT x, q FROM log ORDER BY x')).toEqual([
      { x: 1, q: 3 },
      { x: 2, q: 3 },
    ])
    expect(rows(merge.ours, 'PRAGMA foreign_key_check')).toEqual([])
  })

  it('keeps what it refers to while any of its equals stays', async () => {
    const merge = play({
      base: `CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE log (x INTEGER, q INTEGER REFERENCES t(id));
        INSERT INTO t VALUES (3), (4); INSERT INTO log VALUES (1, 3), (1, 3), (1, 4)`,
      migration:
        'ALTER TABLE log RENAME TO was; CREATE TABLE log (x INTEGER, q INTEGER); INSERT INTO log SELECT * FROM was; DROP TABLE was',
      writes: `DELETE FROM log; INSERT INTO log VALUES (1, 3); DELETE FROM t`,
    })
    expect((await carry(merge)).listed).toEqual(['t 3 foreign-key'])
    expect(rows(merge.ours, 'SELECT x, q FROM log')).toEqual([{ x: 1, q: 3 }])
    expect(rows(merge.ours, 'SELECT id FROM t')).toEqual([{ id: 3 }])
  })

  it('is not taken away with what the release alone had beside it, but by a word on all of its equals', async () => {
    const merge = play({
      base: `CREATE TABLE log (x INTEGER, note TEXT); INSERT INTO log VALUES (1, 'a'), (1, 'b'), (2, 'c'), (2, 'd')`,
      migration: 'ALTER TABLE log DROP COLUMN note',
      writes: 'DELETE FROM log; INSERT INTO log VALUES (1)',
    })
    const { listed, carried: came } = await carry(merge)
    expect([listed.map(l => l.split(' ').at(-1)), came]).toEqual([['column-gone'], 2])
    expect(rows(merge.ours, 'SELECT x, note FROM log ORDER BY note')).toEqual([
      { x: 1, note: 'a' },
      { x: 1, note: 'b' },
    ])
  })

  it('that a trigger writes once more is not borne out, however often it is tried', async () => {
    const trigger = 'CREATE TRIGGER twice AFTER INSERT ON other BEGIN INSERT INTO log VALUES (1); END;'
    const base = `CREATE TABLE log (x INTEGER); CREATE TABLE other (id INTEGER PRIMARY KEY); ${trigger}`
    const merge = play({ base, writes: 'INSERT INTO other VALUES (1)' })
    const merging = async (job: typeof JOB) => {
      const merger = await openMerging(merge.ours, 1000, merge.source.images, job)
      const run = merger.run.bind(merger)
      // As it would where it is not kept quiet.
      const fires = async (sql: string) => {
        const rows = await run(sql)
        if (/^INSERT INTO \S*other\S* \(/.test(sql)) await run('INSERT INTO main.log VALUES (1)')
        return rows
      }
      return Object.assign(merger, { quiet: false, run: fires })
    }
    for (const _ of [1, 2]) {
      const { proof } = await applyCarry({ ...merge.source, merging }, NOTHING_SAID, JOB, { batch: 3 })
      expect(proof.problems).toEqual(['log: 1 rows came or went that nobody carried'])
    }
  })
})
