import { describe, expect, it } from 'vitest'
import type { World } from '../rungs/world.ts'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const LIMIT = 120_000
const { systems: SYSTEMS } = carrySystems()

async function counts(world: World): Promise<Record<string, unknown>> {
  const { parts } = await replayed(world)
  return Object.fromEntries(parts.map(p => [p.table, [p.back, p.done, p.conflicts, p.why]]))
}

const BASE = [
  'CREATE TABLE users (id int NOT NULL PRIMARY KEY, name varchar(20))',
  `INSERT INTO users VALUES (1, 'ann'), (2, 'bob'), (3, 'cid')`,
]

describe.for(SYSTEMS)('what is put back into another type on $name', ({ why, make }) => {
  const skipped = { timeout: LIMIT, skip: why !== null }

  it('stays where that would make another value of it', skipped, async () => {
    const made = (zip: string) => [
      `ALTER TABLE users ADD COLUMN zip ${zip}`,
      `CREATE TABLE places (id int NOT NULL PRIMARY KEY, zip ${zip})`,
    ]
    const writes = [
      `UPDATE users SET zip = '01230' WHERE id = 1`,
      `UPDATE users SET zip = '1230' WHERE id = 2`,
      `INSERT INTO places VALUES (1, '01230'), (2, '1230')`,
    ]
    await using world = await forward(await make(), { base: BASE, up: made('varchar(20)'), writes, again: made('int') })
    const odd = '1 does not fit the types that the table has now (zip)'
    expect(await counts(world)).toEqual({ users: [1, 0, 1, odd], places: [1, 0, 1, odd] })
    expect(await counts(world)).toEqual({ users: [0, 1, 1, odd], places: [0, 1, 1, odd] })
    expect(await held(world, 'users')).toEqual(['1 ann ', '2 bob 1230', '3 cid '])
    expect(await held(world, 'places')).toEqual(['2 1230'])
  })

  it('is not the default of the release that was left, nor what its migration had put there', skipped, async () => {
    const made = (type: string, by: number, ...more: string[]) => [
      `ALTER TABLE users ADD COLUMN active ${type} DEFAULT ${by} NOT NULL`,
      `ALTER TABLE users ADD COLUMN rank1 ${type}`,
      'ALTER TABLE users ADD COLUMN st varchar(20)',
      ...more,
    ]
    const writes = [`UPDATE users SET st = 'x' WHERE id = 2`, 'UPDATE users SET active = 5, rank1 = 6 WHERE id = 3']
    const up = made('int', 1, 'UPDATE users SET rank1 = 7')
    await using world = await forward(await make(), { base: BASE, up, writes, again: made('decimal(4,1)', 0) })
    expect(await counts(world)).toEqual({ users: [2, 0, 0, null] })
    const plain = (await held(world, 'users')).map(row => row.replaceAll('.0', ''))
    expect(plain).toEqual(['1 ann 0  ', '2 bob 0  x', '3 cid 5 6 '])
  })

  it('comes with the other cells where the row takes no nothing any more', skipped, async () => {
    const made = (more: string) => [
      `ALTER TABLE users ADD COLUMN fee int DEFAULT 1${more}`,
      'ALTER TABLE users ADD COLUMN st varchar(20)',
    ]
    const writes = [`UPDATE users SET st = 'x', fee = NULL WHERE id = 2`]
    await using world = await forward(await make(), { base: BASE, up: made(''), writes, again: made(' NOT NULL') })
    expect(await counts(world)).toEqual({ users: [1, 0, 1, '1 does not fit the types that the table has now (fee)'] })
    expect(await held(world, 'users')).toEqual(['1 ann 1 ', '2 bob 1 x', '3 cid 1 '])
  })
})

// SQLite takes any value in any column.
const STRICT = SYSTEMS.filter(({ name }) => name !== 'SQLite')

describe.for(STRICT)(
  'what is put back into another type that the database holds to, on $name',
  ({ name, why, make }) => {
    const skipped = { timeout: LIMIT, skip: why !== null }

    it('is never rounded or cut', skipped, async () => {
      const made = (price: string, at: string, f: string) => [
        `ALTER TABLE users ADD COLUMN price ${price}`,
        `ALTER TABLE users ADD COLUMN at ${at}`,
        `ALTER TABLE users ADD COLUMN f ${f}`,
        `CREATE TABLE bids (id int NOT NULL PRIMARY KEY, price ${price}, at ${at})`,
      ]
      const time = name === 'MariaDB' ? 'datetime' : 'timestamp'
      const up = made('decimal(9,3)', `${time}(6)`, 'double precision')
      const again = made('decimal(9,1)', 'date', 'decimal(6,2)')
      const writes = [
        `UPDATE users SET price = 12.345, at = '2026-02-03 10:20:30.123456', f = 0.123456 WHERE id = 1`,
        `UPDATE users SET price = 12.300, at = '2026-02-03 00:00:00', f = 0.25 WHERE id = 2`,
        `INSERT INTO bids VALUES (1, 12.345, NULL), (2, 1.5, '2026-02-03 00:00:00'), (3, 1.5, '2026-02-03 00:00:01')`,
      ]
      await using world = await forward(await make(), { base: BASE, up, writes, again })
      const odd = (many: number, names: string) =>
        `${many} ${many === 1 ? 'does' : 'do'} not fit the types that the table has now (${names})`
      expect(await counts(world)).toEqual({
        users: [1, 0, 1, odd(1, 'at, f, price')],
        bids: [1, 0, 2, odd(2, 'at, price')],
      })
      expect(await held(world, 'users')).toEqual(['1 ann   ', '2 bob 12.3 2026-02-03 0.25', '3 cid   '])
      expect(await held(world, 'bids')).toEqual(['2 1.5 2026-02-03'])
    })

    it('does not wait for a default that does not fit', skipped, async () => {
      const made = (type: string, by: string) => [
        `ALTER TABLE users ADD COLUMN fee ${type} DEFAULT ${by}`,
        'ALTER TABLE users ADD COLUMN st varchar(20)',
      ]
      const writes = [`UPDATE users SET st = 'x' WHERE id = 2`, `UPDATE users SET fee = 'full' WHERE id = 3`]
      await using world = await forward(await make(), {
        base: BASE,
        up: made('varchar(20)', `'none'`),
        writes,
        again: made('int', '0'),
      })
      expect(await counts(world)).toEqual({ users: [1, 0, 1, '1 does not fit the types that the table has now (fee)'] })
      expect(await held(world, 'users')).toEqual(['1 ann 0 ', '2 bob 0 x', '3 cid 0 '])
    })
  },
)
