import { rmSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { type ApplyOptions, planCarry } from '../../src/data/carry/index.ts'
import { type CarryOptions, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carried, kinds, PLAIN_SHOP as SHOP } from '../support/carried.ts'
import { JOB, type Merge, played, rows, type Story, write } from '../support/merge.ts'

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

const MORE = `INSERT INTO users VALUES (3, 'cid', 50), (4, 'dan', 60);
  INSERT INTO orders VALUES (3, 3, 30), (4, 4, 40), (5, 1, 50), (6, 3, 60), (8, 2, 80);
  UPDATE orders SET total = 11 WHERE id = 1; DELETE FROM orders WHERE id = 2`

const ranges = (merge: Merge) =>
  rows(merge.ours, `SELECT table_name AS t, low, high FROM backout_carried WHERE high IS NOT NULL ORDER BY 1, 2`)
const totals = (merge: Merge) =>
  rows(merge.ours, 'SELECT id, total FROM orders').map(row => `${String(row['id'])} ${String(row['total'])}`)

describe('new rows behind all that there were', () => {
  it('are carried and written down by ranges, beside what is carried row by row', async () => {
    const merge = play({ base: SHOP, writes: MORE })
    const plan = await planCarry(merge.source, NOTHING_SAID, JOB)
    expect(plan.tables.map(t => [t.table, t.inserts, t.updates, t.deletes])).toEqual([
      ['users', 2, 0, 0],
      ['orders', 5, 1, 1],
    ])
    const outcome = await carry(merge, {}, { batch: 3, hash: plan.hash })
    expect([outcome.carried, outcome.listed, outcome.proof.carried]).toEqual([9, [], 9])
    expect(outcome.left.map(t => [t.inserts, t.done])).toEqual([
      [0, 2],
      [0, 7],
    ])
    expect(totals(merge)).toEqual(['1 11', '3 30', '4 40', '5 50', '6 60', '8 80'])
    expect(ranges(merge)).toEqual([
      { t: 'orders', low: 3, high: 5 },
      { t: 'orders', low: 6, high: 8 },
      { t: 'users', low: 3, high: 4 },
    ])
    expect(rows(merge.ours, 'SELECT count(*) AS n FROM backout_carried WHERE high IS NULL')).toEqual([{ n: 2 }])
    const again = await carry(merge, {}, { batch: 3, hash: plan.hash })
    expect([again.carried, ranges(merge).length]).toEqual([0, 3])
  })

  it('stay as users left them after they were carried: changed, or deleted, also the last ones', async () => {
    const merge = play({ base: SHOP, writes: MORE })
    await carry(merge)
    write(merge.ours, 'UPDATE orders SET total = 99 WHERE id = 4; DELETE FROM orders WHERE id IN (6, 8)')
    const again = await carry(merge)
    expect([again.carried, totals(merge)]).toEqual([0, ['1 11', '3 30', '4 99', '5 50']])
  })

  it('go on behind rows that were carried one by one, and do not come again where users deleted these', async () => {
    const merge = play({ base: SHOP, writes: MORE })
    await carry(merge, { decisions: [{ table: 'orders', kind: 'changed', take: 'ours' }] })
    expect(ranges(merge)).toEqual([])
    write(merge.ours, 'DELETE FROM orders WHERE id IN (6, 8)')
    const again = await carry(merge)
    expect([again.carried, totals(merge)]).toEqual([0, ['1 11', '3 30', '4 40', '5 50']])
  })

  it('are looked at one by one where the database refuses one of them, which is listed, with what refers to it', async () => {
    const merge = play({
      base: SHOP,
      migration: `PRAGMA foreign_keys = OFF; CREATE TABLE u (id INTEGER PRIMARY KEY, email TEXT UNIQUE, age INTEGER); INSERT INTO u SELECT * FROM users;
        DROP TABLE users; ALTER TABLE u RENAME TO users`,
      writes: `INSERT INTO users VALUES (3, 'cid', 50), (4, 'dan', -1), (5, 'eve', 20);
        INSERT INTO orders VALUES (3, 3, 30), (4, 4, 40), (5, 5, 50)`,
    })
    const outcome = await carry(merge, {}, { batch: 2 })
    expect(outcome.listed.sort()).toEqual(['orders 4 foreign-key', 'users 4 check'])
    expect([outcome.carried, totals(merge)]).toEqual([4, ['1 10', '2 20', '3 30', '5 50']])
    expect((await carry(merge)).carried).toBe(0)
  })

  it('are looked at one by one where a key of them is no whole number', async () => {
    const merge = play({
      base: `CREATE TABLE t (id INTEGER NOT NULL UNIQUE, v TEXT); INSERT INTO t VALUES (1, 'a')`,
      writes: `INSERT INTO t VALUES (2.5, 'b'), (3.5, 'c'), (4, 'd')`,
    })
    const outcome = await carry(merge, {}, { batch: 1 })
    expect([outcome.carried, outcome.listed, ranges(merge)]).toEqual([3, [], []])
    write(merge.ours, 'DELETE FROM t WHERE id = 2.5')
    expect((await carry(merge)).carried).toBe(0)
  })

  it('are told ahead where another row of ours has their value, or what they refer to is not there', async () => {
    const merge = play({
      base: SHOP,
      writes: `INSERT INTO users VALUES (3, 'cid', 50); INSERT INTO orders VALUES (3, 3, 30), (4, 2, 40)`,
      after: `UPDATE users SET email = 'cid' WHERE id = 1; DELETE FROM orders WHERE user_id = 2; DELETE FROM users WHERE id = 2`,
    })
    const { tables } = await planCarry(merge.source, NOTHING_SAID, JOB)
    expect(tables.map(t => [t.table, t.inserts, t.conflicts])).toEqual([
      ['users', 0, { unique: 1 }],
      ['orders', 0, { 'foreign-key': 2 }],
    ])
    expect((await carry(merge)).listed.sort()).toEqual([
      'orders 3 foreign-key',
      'orders 4 foreign-key',
      'users 3 unique',
    ])
  })

  it('leave ours again where what they refer to was refused after they had come', async () => {
    const ring = `CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b(id));
      CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a(id), x INTEGER CHECK (x > 0)); INSERT INTO a VALUES (1, NULL)`
    const merge = play({
      base: ring,
      migration: `DROP TABLE b; CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a(id), x INTEGER)`,
      writes: `PRAGMA foreign_keys = OFF; INSERT INTO a VALUES (2, 1), (3, 2), (4, NULL); INSERT INTO b VALUES (1, 1, -1), (2, 1, 1)`,
    })
    const outcome = await carry(merge)
    expect(outcome.listed.sort()).toEqual(['a 2 foreign-key', 'b 1 check'])
    expect(rows(merge.ours, 'SELECT id, b FROM a')).toEqual([
      { id: 1, b: null },
      { id: 3, b: 2 },
      { id: 4, b: null },
    ])
    expect([outcome.carried, (await carry(merge)).carried]).toEqual([3, 0])
  })
})
