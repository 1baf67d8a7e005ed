import { rmSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { carried as carry, kinds, SHOP } from '../support/carried.ts'
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

describe('C14: where a migration gave values another meaning', () => {
  it('a word on what users changed leaves what the migration wrote, and the list says so', async () => {
    const merge = play({
      base: SHOP,
      migration: 'UPDATE orders SET total = total * 100',
      writes: 'UPDATE orders SET user_id = 3 WHERE id = 1',
      after: 'UPDATE orders SET user_id = 2 WHERE id = 1',
    })
    const { listed } = await carry(merge)
    expect(kinds(listed)).toEqual(['orders 1 changed', 'orders 2 ambiguous'])
    expect(listed.map(row => [Object.keys(row.cells), row.left])).toEqual([
      [['user_id', 'total'], { total: 'ambiguous' }],
      [['total'], undefined],
    ])
    const again = await carry(merge, { decisions: [{ kind: 'changed', take: 'theirs' }] })
    expect(kinds(again.listed)).toEqual(['orders 1 ambiguous', 'orders 2 ambiguous'])
    expect(rows(merge.ours, 'SELECT user_id, total FROM orders WHERE id = 1')).toEqual([{ user_id: 3, total: 10 }])
  })

  it('new rows wait for a person, who may give their values', async () => {
    const story = {
      base: `${SHOP} CREATE TABLE bag (v INTEGER); INSERT INTO bag VALUES (1), (2)`,
      migration: `UPDATE orders SET total = total * 100; UPDATE bag SET v = v * 100`,
      meanwhile: 'INSERT INTO orders VALUES (8, 1, 3000)',
      writes: `INSERT INTO orders VALUES (9, 1, 4000), (10, 1, NULL); INSERT INTO bag VALUES (300);
        INSERT INTO users VALUES (9, 'eva', 'Eva', 20)`,
    }
    const unknown = play(story)
    const touched = { tables: ['orders', 'bag'], columns: { orders: ['total'], bag: ['v'] } }
    const known = { ...unknown, source: { ...unknown.source, touched } }
    const away = play({ ...story, usersAway: true })
    for (const merge of [unknown, known, away]) {
      const { listed, proof } = await carry(merge)
      expect(proof.problems).toEqual([])
      const told = kinds(listed).filter(k => /^orders (8|9|10) |^bag .*rewritten/.test(k))
      // Where users were away it was the migration that brought it.
      const early = merge === away ? [] : ['orders 8 ambiguous']
      expect(told.map(k => k.replace(/^bag .+ /, 'bag '))).toEqual(['bag rewritten', ...early, 'orders 9 rewritten'])
      expect(rows(merge.ours, 'SELECT id, total FROM orders')).toEqual([
        { id: 1, total: 10 },
        { id: 2, total: 20 },
        { id: 10, total: null },
      ])
      expect(rows(merge.ours, 'SELECT v FROM bag')).toEqual([{ v: 1 }, { v: 2 }])
      expect(rows(merge.ours, 'SELECT name FROM users WHERE id = 9')).toEqual([{ name: 'Eva' }])
    }
    await carry(known, {
      decisions: [
        { kind: 'rewritten', take: 'theirs' },
        { table: 'orders', key: { id: '9' }, take: 'theirs', set: { total: '40' } },
        { table: 'orders', key: { id: '8' }, take: 'theirs' },
      ],
    })
    expect(rows(known.ours, 'SELECT id, total FROM orders WHERE id > 7')).toEqual([
      { id: 8, total: 3000 },
      { id: 9, total: 40 },
      { id: 10, total: null },
    ])
    expect(rows(known.ours, 'SELECT v FROM bag')).toEqual([{ v: 1 }, { v: 2 }, { v: 300 }])
  })

  it('new rows wait where the column is known, and no value of the release tells what became of it', async () => {
    const NONE = { 'without rows': [], 'NULL and 0': [`INSERT INTO o VALUES (1, NULL), (2, 0)`] }
    for (const [name, seeds] of Object.entries(NONE)) {
      const story = {
        base: ['CREATE TABLE o (id INTEGER PRIMARY KEY, total INTEGER)', ...seeds].join(';'),
        migration: 'INSERT INTO o VALUES (3, 30); UPDATE o SET total = total * 100',
        writes: 'INSERT INTO o VALUES (4, 4000), (5, NULL)',
      }
      const merge = play(story)
      const touched = { tables: ['o'], columns: { o: ['total'] } }
      const known = { ...merge, source: { ...merge.source, touched } }
      const { listed } = await carry(known)
      expect([name, ...kinds(listed)]).toEqual([name, 'o 3 ambiguous', 'o 4 rewritten'])
      expect(rows(merge.ours, 'SELECT total FROM o WHERE id > 2')).toEqual([{ total: null }])
    }
  })

  it('new rows come where the migration only filled what was empty, which is said, or left values as they were', async () => {
    const touched = { tables: ['o'], columns: { o: ['plan', 'total'] } }
    const merge = play({
      base: 'CREATE TABLE o (id INTEGER PRIMARY KEY, plan TEXT, total INTEGER); INSERT INTO o VALUES (1, NULL, 5), (2, NULL, 6)',
      migration: `UPDATE o SET plan = 'free'; UPDATE o SET total = total WHERE id = 1`,
      writes: `INSERT INTO o VALUES (3, 'paid', 7)`,
    })
    const { listed, plan } = await carry({ ...merge, source: { ...merge.source, touched } })
    expect(kinds(listed).filter(k => k.startsWith('o 3'))).toEqual([])
    expect(rows(merge.ours, 'SELECT plan, total FROM o WHERE id = 3')).toEqual([{ plan: 'paid', total: 7 }])
    expect(plan.notes).toContainEqual(expect.stringContaining('the migration wrote o.plan'))
  })

  it('new rows come, and it is said, where only few values are others and nobody can tell who wrote them', async () => {
    const merge = play({
      base: SHOP,
      migration: `UPDATE users SET age = age + 100 WHERE id = 1`,
      writes: `INSERT INTO users VALUES (9, 'eva', 'Eva', 20)`,
    })
    const { plan, listed } = await carry(merge)
    expect([kinds(listed), rows(merge.ours, 'SELECT age FROM users WHERE id = 9')]).toEqual([
      ['users 1 ambiguous'],
      [{ age: 20 }],
    ])
    expect(plan.notes.join()).toContain(
      '1 of 3 values of users.age changed between the backup and the end of migrating',
    )
  })

  describe('and nobody told', () => {
    const BASE = `CREATE TABLE o (id INTEGER PRIMARY KEY, total INTEGER, views INTEGER, updated_at TEXT);
      INSERT INTO o VALUES ${[...Array(10).keys()].map(i => `(${i + 1}, ${i + 1}, ${i % 2}, '2026-01-01')`).join()};`
    const after = async (changed: string) => {
      const merge = play({
        base: BASE,
        migration: 'ALTER TABLE o ADD COLUMN x',
        writes: `${changed}; INSERT INTO o VALUES (20, 500, 3, '2026-02-01', 1)`,
        told: false,
      })
      const { listed, plan } = await carry(merge)
      return {
        listed: kinds(listed).filter(k => k.startsWith('o 20')),
        notes: plan.notes.filter(n => / of \d+ values/.test(n)),
      }
    }

    it('new rows wait where nine of ten values are others', async () => {
      const { listed, notes } = await after('UPDATE o SET total = total * 100 WHERE id < 10')
      expect(listed).toEqual(['o 20 rewritten'])
      expect(notes).toEqual([expect.stringMatching(/^9 of 10 values of o\.total .*--settle o:rewritten=theirs$/)])
    })

    it('new rows come where it is fewer, where zeros became others, or all of them say when they were changed', async () => {
      const fewer = await after('UPDATE o SET total = total * 100 WHERE id < 9')
      expect(fewer).toEqual({ listed: [], notes: [expect.stringMatching(/^8 of 10 values of o\.total /)] })
      const zeros = await after('UPDATE o SET views = views + 1 WHERE views = 0')
      expect(zeros).toEqual({ listed: [], notes: [expect.stringMatching(/^5 of 10 values of o\.views /)] })
      const times = await after(`UPDATE o SET updated_at = '2026-02-02'`)
      expect(times).toEqual({ listed: [], notes: [expect.stringMatching(/^10 of 10 values of o\.updated_at /)] })
    })

    it('new rows come where the few values that are there tell nothing', async () => {
      expect(await after('UPDATE o SET total = NULL WHERE id > 2; UPDATE o SET total = total * 100')).toEqual({
        listed: [],
        notes: [],
      })
    })
  })
})
