import { describe, expect, it } from 'vitest'
import type { World } from '../rungs/world.ts'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const { systems: SYSTEMS } = carrySystems()

const counts = async (world: World) =>
  (await replayed(world)).parts.map(({ table, back, done, seeded, conflicts }) => ({
    table,
    back,
    done,
    seeded,
    conflicts,
  }))

const BASE = [
  'CREATE TABLE orders (id int NOT NULL PRIMARY KEY, who varchar(20))',
  `INSERT INTO orders VALUES (1, 'ann')`,
]
const TABLES = [
  'CREATE TABLE plans (id int NOT NULL PRIMARY KEY, name varchar(20), price int)',
  'CREATE TABLE subs (id int NOT NULL PRIMARY KEY, plan int, FOREIGN KEY (plan) REFERENCES plans (id))',
  'CREATE TABLE tags (word varchar(20), n int)',
]
const SEEDS = [
  `INSERT INTO plans VALUES (1, 'basic', NULL), (2, 'pro', 20), (3, 'old', 5)`,
  `INSERT INTO tags VALUES ('a', 1), ('a', 1), ('b', NULL)`,
]
const WRITES = [
  `INSERT INTO plans VALUES (4, 'mine', 9)`,
  'UPDATE plans SET price = 25 WHERE id = 2',
  'INSERT INTO subs VALUES (1, 1), (2, 4)',
  `INSERT INTO tags VALUES ('a', 1), ('c', 2)`,
]

describe.for(SYSTEMS)('rows that the migration put into its own tables, on $name', ({ why, make }) => {
  it('are left to the migration of the release that is rolled forward to, and are counted', {
    timeout: 120_000,
    skip: why !== null,
  }, async () => {
    const again = [
      ...TABLES,
      `INSERT INTO plans VALUES (1, 'basic', NULL), (2, 'pro', 20)`,
      `INSERT INTO tags VALUES ('b', NULL)`,
    ]
    await using world = await forward(await make(), { base: BASE, up: [...TABLES, ...SEEDS], writes: WRITES, again })
    const left = [
      { table: 'plans', seeded: 2, conflicts: 0 },
      { table: 'subs', seeded: 0, conflicts: 0 },
      { table: 'tags', seeded: 3, conflicts: 0 },
    ]
    const byName = async () => (await counts(world)).toSorted((a, b) => (a.table < b.table ? -1 : 1))
    const first = [2, 2, 2].map((back, i) => ({ ...left[i], back, done: 0 }))
    expect(await byName()).toEqual(first)
    expect(await byName()).toEqual(first.map(part => ({ ...part, back: 0, done: part.back })))
    expect(await held(world, 'plans')).toEqual(['1 basic ', '2 pro 25', '4 mine 9'])
    expect(await held(world, 'subs')).toEqual(['1 1', '2 4'])
    expect(await held(world, 'tags')).toEqual(['a 1', 'b ', 'c 2'])
  })
})
