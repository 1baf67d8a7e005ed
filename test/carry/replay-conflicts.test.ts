import { describe, expect, it } from 'vitest'
import type { World } from '../rungs/world.ts'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const LIMIT = 120_000
const { systems: SYSTEMS } = carrySystems()

const BASE = [
  'CREATE TABLE orders (id int NOT NULL PRIMARY KEY, note varchar(20), total int, code varchar(20) UNIQUE)',
  `INSERT INTO orders VALUES (1, 'a', 10, 'x1'), (2, 'b', 20, 'x2'), (3, 'c', 30, 'x3'), (4, NULL, 40, 'x4')`,
]
const UP = [
  'ALTER TABLE orders ADD COLUMN coupon varchar(20)',
  'CREATE TABLE gifts (id int NOT NULL PRIMARY KEY, order_id int, FOREIGN KEY (order_id) REFERENCES orders (id))',
]
const WRITES = [
  `UPDATE orders SET note = 'theirs', total = 11 WHERE id IN (1, 2, 4)`,
  'DELETE FROM orders WHERE id = 3',
  `INSERT INTO orders VALUES (5, 'new', 50, 'taken', 'TEN')`,
  'INSERT INTO gifts VALUES (1, 5)',
]
/** Users of the old release, right after the restore. */
const AFTER = [
  `UPDATE orders SET note = 'ours' WHERE id IN (1, 2, 3, 4)`,
  `INSERT INTO orders VALUES (9, 'other', 90, 'taken')`,
]

const story = { base: BASE, up: UP, writes: WRITES, after: AFTER }

const listed = async (world: World, ...words: string[]) =>
  (await replayed(world, words)).listed
    .map(l => [l.table, l.columns?.join(', ') ?? 'rows', l.kind, l.rows, l.word])
    .toSorted((a, b) => (String(a) < String(b) ? -1 : 1))

describe.for(SYSTEMS)('what was listed as a conflict, after a roll-forward on $name', ({ why, make }) => {
  const skipped = { timeout: LIMIT, skip: why !== null }

  it(
    'is named with its kind and count, and comes by a word, where the value is as it was told to be',
    skipped,
    async () => {
      await using world = await forward(await make(), story)
      await world.run([`UPDATE orders SET note = 'later' WHERE id = 2`])
      const all = [
        ['orders', 'note', 'changed', 3, 'orders:changed=theirs'],
        ['orders', 'rows', 'changed', 1, null],
        ['orders', 'rows', 'unique', 1, 'orders:unique=theirs'],
      ]
      expect(await listed(world)).toEqual(all)
      expect(await held(world, 'orders')).toContain('1 ours 11 x1 ')
      for (const word of ['orders:check=theirs', 'nothing:changed=theirs', 'orders:changed=ours'])
        await expect(replayed(world, [word])).rejects.toMatchObject({ code: 'words_unknown' })

      const { parts } = await replayed(world, ['orders:changed=theirs'])
      expect(parts.filter(p => p.kind === 'changed').map(p => [p.columns, p.back, p.conflicts, p.why])).toEqual([
        [['note'], 2, 1, 'something else is in the place of 1'],
      ])
      expect(await held(world, 'orders')).toEqual([
        '1 theirs 11 x1 ',
        '2 later 11 x2 ',
        '3 ours 30 x3 ',
        '4 theirs 11 x4 ',
        '9 other 90 taken ',
      ])
      // What was put back is that no more, and what users write there then stays.
      await world.run([`UPDATE orders SET note = 'ours' WHERE id = 1`])
      expect(await listed(world, 'orders:changed=theirs')).toEqual(all.slice(1))
      expect(await held(world, 'orders')).toContain('1 ours 11 x1 ')
      expect((await listed(world))[0]).toEqual(['orders', 'note', 'changed', 1, 'orders:changed=theirs'])
    },
  )

  it('comes as a whole row with all that belongs to it, once there is room for it', skipped, async () => {
    await using world = await forward(await make(), story)
    const unique = async () => {
      const { parts } = await replayed(world, ['unique=theirs'])
      return parts.map(p => [p.table, p.kind ?? null, p.back, p.conflicts])
    }
    expect(await unique()).toEqual([
      ['orders', 'unique', 0, 1],
      ['orders', null, 0, 1],
      ['gifts', null, 0, 1],
    ])
    await world.run([`UPDATE orders SET code = 'free' WHERE id = 9`])
    expect(await unique()).toEqual([
      ['orders', 'unique', 1, 0],
      ['orders', null, 1, 0],
      ['gifts', null, 1, 0],
    ])
    expect(await held(world, 'orders')).toContain('5 new 50 taken TEN')
    expect(await held(world, 'gifts')).toEqual(['1 5'])
    expect((await listed(world)).map(l => l[2])).toEqual(['changed', 'changed'])
  })
})
