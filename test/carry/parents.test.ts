import { rmSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import type { ApplyOptions } from '../../src/data/carry/index.ts'
import type { CarryOptions } from '../../src/data/carry/options.ts'
import { carried, kinds, PLAIN_SHOP as SHOP } from '../support/carried.ts'
import { type Merge, played, rows, type Story } from '../support/merge.ts'

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
  it('goes again where what it refers to was refused after it had come, as often as it came', async () => {
    const merge = play({
      base: `CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, p INTEGER REFERENCES t(id));
        CREATE TABLE log (x INTEGER, q INTEGER REFERENCES t(id));
        INSERT INTO t VALUES (3, 'c', NULL), (5, 'e', NULL); INSERT INTO log VALUES (1, 3)`,
      writes: `PRAGMA foreign_keys = OFF; UPDATE t SET p = 5 WHERE id = 3; DELETE FROM t WHERE id = 5;
        INSERT INTO t VALUES (9, 'e', NULL);
        INSERT INTO log VALUES (1, 9), (1, 9), (2, 3)`,
    })
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
})
