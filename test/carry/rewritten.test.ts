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
})
