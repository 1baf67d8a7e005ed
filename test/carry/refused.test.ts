import { describe, expect, it } from 'vitest'
import { carriedOut, played, proposed } from '../rungs/world.ts'
import { carrySystems, said, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems } = carrySystems()

describe.for(systems)('a row that only $name refuses', ({ name, why, make }) => {
  const loose =
    name === 'SQLite'
      ? 'CREATE TABLE looser (id int PRIMARY KEY, age int); INSERT INTO looser SELECT * FROM users; DROP TABLE users; ALTER TABLE looser RENAME TO users'
      : 'ALTER TABLE users DROP CONSTRAINT above'
  const base = [
    'CREATE TABLE users (id int PRIMARY KEY, age int, CONSTRAINT above CHECK (age > 0))',
    'CREATE TABLE orders (id int PRIMARY KEY, user_id int, CONSTRAINT by_user FOREIGN KEY (user_id) REFERENCES users (id))',
    'CREATE TABLE other (id int PRIMARY KEY)',
    'INSERT INTO users VALUES (1, 30), (2, 40), (30, 60)',
    'INSERT INTO orders VALUES (1, NULL), (2, NULL)',
  ]

  it.skipIf(why !== null).for([
    {
      is: 'keeps back the only changes that refer to it, and nothing else',
      writes: ['INSERT INTO users VALUES (9, -1)', 'UPDATE orders SET user_id = 9 WHERE id = 1'],
      listed: { users: { check: 1 }, orders: { 'foreign-key': 1 } },
      users: ['1 30', '2 40', '30 60'],
    },
    {
      is: 'is found among the changes of few rows between many that are new',
      writes: [
        'UPDATE users SET age = -1 WHERE id = 1',
        'UPDATE users SET age = 41 WHERE id = 2',
        'INSERT INTO users VALUES (5, 5), (6, 6), (7, 7), (8, 8), (9, 9)',
        'UPDATE users SET age = 61 WHERE id = 30',
      ],
      listed: { users: { check: 1 } },
      users: ['1 30', '2 41', '30 61', '5 5', '6 6', '7 7', '8 8', '9 9'],
    },
  ])('$is', { timeout: LIMIT }, async ({ writes, listed, users }) => {
    await using world = await played(await make(), story(loose, base, [...writes, 'INSERT INTO other VALUES (1)']))
    await carriedOut(world, await proposed(world, 'restore'), 'back')
    const { left } = await said(world)
    const found = left.map(t => [t.table, t.conflicts] as const).filter(([, c]) => Object.keys(c).length > 0)
    expect(Object.fromEntries(found)).toEqual(listed)
    const now = await world.dump()
    expect(now['users']?.map(row => Object.values(row).join(' ')).toSorted()).toEqual(users)
    expect([now['orders']?.map(row => row['user_id']), now['other']?.map(row => row['id'])]).toEqual([
      [null, null],
      ['1'],
    ])
  })
})
