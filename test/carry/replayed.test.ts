import { describe, expect, it } from 'vitest'
import { job } from '../rungs/restored.ts'
import type { World } from '../rungs/world.ts'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const LIMIT = 120_000
const { systems: SYSTEMS } = carrySystems()

/** By table, as "back of all". */
async function putBack(world: World): Promise<Record<string, string>> {
  const { parts } = await replayed(world)
  return Object.fromEntries(parts.map(p => [p.table, `${p.back} of ${p.back + p.done + p.conflicts}`]))
}

const BASE = [
  'CREATE TABLE orders (id int NOT NULL PRIMARY KEY, who varchar(20), code varchar(20) UNIQUE)',
  `INSERT INTO orders VALUES (1, 'ann', 'a'), (2, 'bob', 'b')`,
]
const UP = [
  'ALTER TABLE orders ADD COLUMN coupon varchar(20)',
  `CREATE TABLE gifts (id int NOT NULL PRIMARY KEY, order_id int, what varchar(20), FOREIGN KEY (order_id) REFERENCES orders (id))`,
]
const WRITES = [
  `INSERT INTO orders VALUES (3, 'ann', 'c', 'HALF'), (4, 'dan', 'd', 'TEN')`,
  `INSERT INTO gifts VALUES (1, 3, 'watch'), (2, 4, 'book'), (3, 1, 'pen')`,
]

describe.for(SYSTEMS)('what is put back on $name', ({ why, make }) => {
  const skipped = { timeout: LIMIT, skip: why !== null }

  it('goes to no row that took the number of one that never came', skipped, async () => {
    const story = { base: BASE, up: UP, writes: WRITES, after: [`INSERT INTO orders VALUES (3, 'eve', 'e')`] }
    await using world = await forward(await make(), story)
    expect(await putBack(world)).toEqual({ orders: '1 of 2', gifts: '2 of 3' })
    expect(await held(world, 'orders')).toEqual(['1 ann a ', '2 bob b ', '3 eve e ', '4 dan d TEN'])
    expect(await held(world, 'gifts')).toEqual(['2 4 book', '3 1 pen'])
    // The number is free, and the order was entered again by hand, just as it was.
    await world.run(['DELETE FROM orders WHERE id = 3', `INSERT INTO orders (id, who, code) VALUES (3, 'ann', 'c')`])
    expect(await putBack(world)).toEqual({ orders: '1 of 2', gifts: '1 of 3' })
    expect(await held(world, 'gifts')).toEqual(['1 3 watch', '2 4 book', '3 1 pen'])
  })

  it('waits for what it refers to', skipped, async () => {
    // The order was refused: another one has its code.
    const story = { base: BASE, up: UP, writes: WRITES, after: [`INSERT INTO orders VALUES (9, 'eve', 'c')`] }
    await using world = await forward(await make(), story)
    for (const back of [2, 0]) expect((await putBack(world))['gifts']).toBe(`${back} of 3`)
    expect((await replayed(world)).parts.map(p => [p.table, p.why])).toEqual([
      ['orders', 'the row of 1 is not there'],
      ['gifts', 'what 1 refers to is not there, or is another one'],
    ])
    expect(await held(world, 'gifts')).toEqual(['2 4 book', '3 1 pen'])
    // Somebody took its number meanwhile.
    await world.run([`INSERT INTO orders (id, who, code) VALUES (3, 'zoe', 'z')`])
    expect(await putBack(world)).toEqual({ orders: '0 of 2', gifts: '0 of 3' })
    await world.run(['DELETE FROM orders WHERE id IN (3, 9)'])
    await world.run([`INSERT INTO orders (id, who, code) VALUES (3, 'ann', 'c')`])
    expect(await putBack(world)).toEqual({ orders: '1 of 2', gifts: '1 of 3' })
  })

  it('goes to no new row where nothing was carried', skipped, async () => {
    const said = { mode: 'report' } as const
    const later = [`INSERT INTO orders VALUES (3, 'eve', 'e')`]
    await using world = await forward(await make(), { base: BASE, up: UP, writes: WRITES, said, later })
    expect(await putBack(world)).toEqual({ orders: '0 of 2', gifts: '1 of 3' })
    expect(await held(world, 'orders')).toEqual(['1 ann a ', '2 bob b ', '3 eve e '])
    expect(await held(world, 'gifts')).toEqual(['3 1 pen'])
  })

  it('stays away with all that refers to it within one table, in whatever order', skipped, async () => {
    const tree =
      'CREATE TABLE tree (id int NOT NULL PRIMARY KEY, up int, name varchar(20), FOREIGN KEY (up) REFERENCES tree (id))'
    const rows = [
      `INSERT INTO tree VALUES (5, NULL, 'root'), (6, NULL, 'good')`,
      `INSERT INTO tree VALUES (4, 5, 'child'), (7, 6, 'good child')`,
      `INSERT INTO tree VALUES (3, 4, 'grandchild'), (8, 4, 'too')`,
    ]
    await using world = await forward(await make(), { base: BASE, up: [tree], writes: rows })
    await world.run([`INSERT INTO tree VALUES (5, NULL, 'stranger')`])
    for (const back of [2, 0]) expect(await putBack(world)).toEqual({ tree: `${back} of 6` })
    expect(await held(world, 'tree')).toEqual(['5  stranger', '6  good', '7 6 good child'])
    await world.run(['DELETE FROM tree WHERE id = 5'])
    expect(await putBack(world)).toEqual({ tree: '4 of 6' })
  })

  it('is written once, however long the chain of those that stay away', skipped, async () => {
    const many = 40
    const chain =
      'CREATE TABLE chain (id int NOT NULL PRIMARY KEY, up int, name varchar(20), FOREIGN KEY (up) REFERENCES chain (id))'
    const link = (i: number) => `INSERT INTO chain VALUES (${i}, ${i === 1 ? 'NULL' : i - 1}, 'link')`
    const writes = [...Array.from({ length: many }, (_, i) => link(i + 1)), `INSERT INTO chain VALUES (99, 99, 'own')`]
    await using world = await forward(await make(), { base: BASE, up: [chain], writes })
    await world.run([`INSERT INTO chain VALUES (1, NULL, 'stranger')`])
    const rounds: string[] = []
    const { parts } = await replayed(world, [], { ...job, progress: ({ text }) => void rounds.push(text) })
    expect(parts.map(p => [p.back, p.conflicts])).toEqual([[1, many]])
    expect(rounds.filter(text => text === 'putting back chain')).toHaveLength(1)
    expect(await held(world, 'chain')).toEqual(['1  stranger', '99 99 own'])
  })

  it('goes into cells that hold what the migration puts there, and over nothing of anybody', skipped, async () => {
    const up = ['ALTER TABLE orders ADD COLUMN status varchar(20)', `UPDATE orders SET status = 'new'`]
    const writes = [
      `UPDATE orders SET status = 'paid' WHERE id = 1`,
      `UPDATE orders SET status = 'sent' WHERE id = 2`,
      `INSERT INTO orders VALUES (4, 'dan', 'd', 'held')`,
    ]
    await using world = await forward(await make(), {
      base: [...BASE, `INSERT INTO orders VALUES (3, 'eve', 'e')`],
      up,
      writes,
    })
    await world.run([`UPDATE orders SET status = 'mine' WHERE id IN (2, 3)`])
    expect(await putBack(world)).toEqual({ orders: '2 of 3' })
    expect(await held(world, 'orders')).toEqual(['1 ann a paid', '2 bob b mine', '3 eve e mine', '4 dan d held'])
    await world.run([`UPDATE orders SET status = 'new' WHERE id = 2`])
    expect(await putBack(world)).toEqual({ orders: '1 of 3' })
  })

  it('comes to a column of another type that takes all of it', skipped, async () => {
    const made = (coupon: string, id: string) => [
      `ALTER TABLE orders ADD COLUMN coupon ${coupon}`,
      `CREATE TABLE gifts (id ${id} NOT NULL PRIMARY KEY, what varchar(20))`,
    ]
    const [up, again] = [made('varchar(20)', 'int'), made('varchar(9)', 'bigint')]
    const writes = [`UPDATE orders SET coupon = 'TENNER' WHERE id = 1`, `INSERT INTO gifts VALUES (1, 'x')`]
    await using world = await forward(await make(), { base: BASE, up, writes, again })
    await world.run([`INSERT INTO gifts VALUES (2, 'own')`])
    expect(await putBack(world)).toEqual({ orders: '1 of 1', gifts: '1 of 1' })
    expect(await held(world, 'gifts')).toEqual(['1 x', '2 own'])
  })

  it(
    'brings no default and nothing else of the bad release’s own back over what the fixed one does',
    skipped,
    async () => {
      const made = (mails: number, ...more: string[]) => [
        `ALTER TABLE orders ADD COLUMN mails int DEFAULT ${mails} NOT NULL`,
        `ALTER TABLE orders ADD COLUMN flag int DEFAULT ${mails} NOT NULL`,
        'ALTER TABLE orders ADD COLUMN status varchar(20)',
        ...more,
      ]
      const back = {
        base: [...BASE, `INSERT INTO orders VALUES (3, 'eve', 'e')`],
        up: made(1, `UPDATE orders SET status = 'bad'`),
        writes: [`UPDATE orders SET status = 'paid' WHERE id = 1`, 'UPDATE orders SET flag = 5 WHERE id = 2'],
        again: made(0),
      }
      await using world = await forward(await make(), back)
      for (const many of [2, 0]) expect(await putBack(world)).toEqual({ orders: `${many} of 2` })
      expect(await held(world, 'orders')).toEqual(['1 ann a 0 0 paid', '2 bob b 0 5 ', '3 eve e 0 0 '])
    },
  )

  it(
    'brings back what users wrote into rows that came since, also where the bad release puts the same into old ones',
    skipped,
    async () => {
      const made = (by: number, ...more: string[]) => [
        'ALTER TABLE orders ADD COLUMN status varchar(20)',
        `ALTER TABLE orders ADD COLUMN fee decimal(6,2) DEFAULT ${by} NOT NULL`,
        ...more,
      ]
      const back = {
        base: BASE,
        up: made(1, `UPDATE orders SET status = 'new'`),
        writes: [`INSERT INTO orders VALUES (4, 'dan', 'd', 'new', 1), (5, 'eve', 'e', 'new', 2)`],
        again: made(0),
      }
      await using world = await forward(await make(), back)
      for (const many of [2, 0]) expect(await putBack(world)).toEqual({ orders: `${many} of 2` })
      const plain = (await held(world, 'orders')).map(row => row.replace('.00', ''))
      expect(plain).toEqual(['1 ann a  0', '2 bob b  0', '4 dan d new 0', '5 eve e new 2'])
    },
  )
})

describe.for(SYSTEMS)('what is put back on $name, where the database computes some of it', ({ name, why, make }) => {
  it('comes without that, and says so', { timeout: LIMIT, skip: why !== null }, async () => {
    const made = (inOrders: string, inBids: string) => [
      'ALTER TABLE orders ADD COLUMN price int',
      `ALTER TABLE orders ADD COLUMN twice int${inOrders}`,
      `CREATE TABLE bids (id int NOT NULL PRIMARY KEY, price int, twice int${inBids})`,
    ]
    const computed = ' GENERATED ALWAYS AS (price * 2)'
    // SQLite adds no other.
    const again = made(`${computed} ${name === 'SQLite' ? 'VIRTUAL' : 'STORED'}`, `${computed} STORED`)
    const writes = [
      'UPDATE orders SET price = 12, twice = 24 WHERE id = 1',
      'UPDATE orders SET twice = 7 WHERE id = 2',
      'INSERT INTO bids VALUES (1, 12, 24), (2, 5, 11)',
    ]
    await using world = await forward(await make(), { base: BASE, up: made('', ''), writes, again })
    const { parts } = await replayed(world)
    expect(parts.map(p => [p.table, p.back, p.conflicts, p.computed])).toEqual([
      ['bids', 2, 0, ['twice']],
      ['orders', 1, 0, ['twice']],
    ])
    const plain = async (table: string, many: number) =>
      (await held(world, table)).map(row => row.split(' ').slice(0, many).join(' '))
    expect(await plain('orders', 4)).toEqual(['1 ann a 12', '2 bob b '])
    expect(await plain('bids', 2)).toEqual(['1 12', '2 5'])
  })
})

/** SQLite takes anything anywhere. */
const TYPED = SYSTEMS.filter(({ name }) => name !== 'SQLite')

describe.for(TYPED)('what is put back on $name, of columns that have types', ({ why, make }) => {
  it('comes as far as it fits what has another type now, and holds no other table up', {
    timeout: LIMIT,
    skip: why !== null,
  }, async () => {
    const made = (id: string, coupon: string, n: string, d: string) => [
      `ALTER TABLE orders ADD COLUMN coupon ${coupon}`,
      `ALTER TABLE orders ADD COLUMN n ${n}`,
      `ALTER TABLE orders ADD COLUMN d ${d}`,
      'ALTER TABLE orders ADD COLUMN fee int',
      `CREATE TABLE gifts (id ${id} NOT NULL PRIMARY KEY, what varchar(20))`,
      'CREATE TABLE tips (id int NOT NULL PRIMARY KEY, what varchar(20))',
    ]
    const up = made('varchar(20)', 'varchar(20)', 'varchar(20)', 'varchar(20)')
    const again = made('int', 'varchar(3)', 'int', 'date')
    const writes = [
      `UPDATE orders SET coupon = 'TENNER', n = 'x', d = 'y', fee = 5 WHERE id = 1`,
      `UPDATE orders SET coupon = 'AB', n = '12', d = '2026-02-03', fee = 6 WHERE id = 2`,
      `INSERT INTO gifts VALUES ('x', 'odd'), ('7', 'seven')`,
      `INSERT INTO tips VALUES (1, 'x')`,
    ]
    await using world = await forward(await make(), { base: BASE, up, writes, again })
    const odd = (names: string) => `1 does not fit the types that the table has now (${names})`
    for (const back of [true, false]) {
      const parts = (await replayed(world)).parts.map(p => [p.table, p.back, p.conflicts, p.why] as const)
      expect(parts.toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
        ['gifts', back ? 1 : 0, 1, odd('id')],
        ['orders', back ? 2 : 0, 1, odd('coupon, d, n')],
        ['tips', back ? 1 : 0, 0, null],
      ])
      expect(await held(world, 'orders')).toEqual(['1 ann a    5', '2 bob b AB 12 2026-02-03 6'])
      expect([await held(world, 'gifts'), await held(world, 'tips')]).toEqual([['7 seven'], ['1 x']])
    }
  })
})
