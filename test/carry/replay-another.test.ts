import { describe, expect, it } from 'vitest'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const { systems: SYSTEMS } = carrySystems()

const BASE = [
  `CREATE TABLE book (room int NOT NULL, day int NOT NULL, who varchar(20), mail varchar(20), seats int,
    state varchar(10) DEFAULT 'booked' NOT NULL, currency varchar(3) DEFAULT 'EUR' NOT NULL, PRIMARY KEY (room, day))`,
  `INSERT INTO book (room, day, who, mail, seats) VALUES (1, 1, 'ann', 'a@x', 2), (2, 1, 'bob', 'b@x', 0), (3, 1, 'cid', 'c@x', 4)`,
]
const UP = [
  'ALTER TABLE book ADD COLUMN card varchar(20)',
  'CREATE TABLE meals (id int NOT NULL PRIMARY KEY, room int, day int, what varchar(20), FOREIGN KEY (room, day) REFERENCES book (room, day))',
]
const WRITES = [
  `UPDATE book SET card = 'ann-1' WHERE who = 'ann'`,
  `UPDATE book SET card = 'bob-2' WHERE who = 'bob'`,
  `INSERT INTO book (room, day, who, mail, seats, card) VALUES (4, 1, 'dan', 'd@x', 1, 'dan-4')`,
  `INSERT INTO meals VALUES (1, 1, 1, 'soup'), (2, 2, 1, 'fish'), (3, 4, 1, 'cake'), (4, 3, 1, 'tea')`,
]
/**
 * Cancelled, and booked by others, whose rows are as those were in what many have; bob and cid have other seats, and cid has paid.
 */
const LATER = [
  'DELETE FROM book WHERE room IN (1, 4)',
  `INSERT INTO book (room, day, who, mail, seats) VALUES (1, 1, 'eve', 'e@x', 3), (4, 1, 'zoe', 'z@x', 5)`,
  'UPDATE book SET seats = 7 WHERE room IN (2, 3)',
  `UPDATE book SET state = 'paid' WHERE room = 3`,
]

describe.for(SYSTEMS)('what is put back on $name, where rows were made anew under their keys', ({ why, make }) => {
  const skipped = { timeout: 120_000, skip: why !== null }

  it('goes to nobody else, but by a person’s word', skipped, async () => {
    await using world = await forward(await make(), { base: BASE, up: UP, writes: WRITES, later: LATER })
    const back = async (...words: string[]) =>
      (await replayed(world, words)).parts.map(p => [p.table, p.back, p.conflicts, p.why])
    expect(await back()).toEqual([
      ['book', 1, 2, 'the row of 2 may be another one (if not: --settle book:another=theirs)'],
      ['meals', 2, 2, 'what 2 refer to is not there, or is another one'],
    ])
    const others = [
      '1 1 eve e@x 3 booked EUR ',
      '2 1 bob b@x 7 booked EUR bob-2',
      '3 1 cid c@x 7 paid EUR ',
      '4 1 zoe z@x 5 booked EUR ',
    ]
    expect(await held(world, 'book')).toEqual(others)
    expect(await held(world, 'meals')).toEqual(['2 2 1 fish', '4 3 1 tea'])
    await expect(back('card:another=theirs')).rejects.toMatchObject({
      code: 'words_unknown',
      next: expect.stringContaining('book:another=theirs') as string,
    })
    expect(await back('book:another=theirs')).toEqual([
      ['book', 2, 0, null],
      ['meals', 2, 0, null],
    ])
    expect((await held(world, 'book'))[0]).toBe('1 1 eve e@x 3 booked EUR ann-1')
  })

  it('goes to nobody who has the key that another had, be it no primary one', skipped, async () => {
    const base = [
      'CREATE TABLE acct (id int NOT NULL PRIMARY KEY, code varchar(10) NOT NULL UNIQUE, owner varchar(20), mail varchar(20))',
      `INSERT INTO acct VALUES (1, 'A1', 'ann', 'a@x'), (2, 'B2', 'bob', 'b@x')`,
    ]
    const up = [
      'CREATE TABLE pay (id int NOT NULL PRIMARY KEY, code varchar(10), iban varchar(30), FOREIGN KEY (code) REFERENCES acct (code))',
    ]
    const writes = [
      `INSERT INTO acct VALUES (3, 'C3', 'cid', 'c@x')`,
      `INSERT INTO pay VALUES (1, 'A1', 'of ann'), (2, 'C3', 'of cid'), (3, 'B2', 'of bob')`,
    ]
    const later = [
      'DELETE FROM acct WHERE id IN (1, 3)',
      `INSERT INTO acct VALUES (7, 'A1', 'eve', 'e@x'), (8, 'C3', 'zoe', 'z@x')`,
    ]
    await using world = await forward(await make(), { base, up, writes, later })
    const back = async (...words: string[]) =>
      (await replayed(world, words)).parts.map(p => [p.table, p.back, p.conflicts, p.why])
    expect(await back()).toEqual([['pay', 1, 2, 'what 2 refer to is not there, or is another one']])
    expect(await held(world, 'pay')).toEqual(['3 B2 of bob'])
    expect(await back('acct:another=theirs')).toEqual([['pay', 2, 0, null]])
    expect(await held(world, 'pay')).toEqual(['1 A1 of ann', '2 C3 of cid', '3 B2 of bob'])
  })

  it('goes by itself to a row of which most is as it was, whatever its own time of change says', skipped, async () => {
    const made = `'2026-01-02 03:04:05'`
    const base = [
      'CREATE TABLE buyer (id int NOT NULL PRIMARY KEY, name varchar(20), mail varchar(20), made_at timestamp NULL, changed_at timestamp NULL)',
      `INSERT INTO buyer VALUES (1, 'ann', 'a@x', ${made}, ${made}), (2, 'bob', 'b@x', '2026-02-03 04:05:06', ${made})`,
    ]
    const up = ['ALTER TABLE buyer ADD COLUMN tel varchar(20)']
    const writes = [`UPDATE buyer SET tel = 'ann-1' WHERE id = 1`, `UPDATE buyer SET tel = 'bob-2' WHERE id = 2`]
    const later = [`UPDATE buyer SET mail = 'anna@x', changed_at = '2026-05-06 07:08:09' WHERE id = 1`]
    await using world = await forward(await make(), { base, up, writes, later })
    expect((await replayed(world, [])).parts.map(p => [p.table, p.back, p.conflicts])).toEqual([['buyer', 2, 0]])
  })

  it('goes to nobody for what only the latest rows share, and to none whose own was empty', skipped, async () => {
    const rows = (from: number, rest: string) =>
      Array.from({ length: 1_200 }, (_, i) => `(${from + i}, 'n${from + i}', 'm${from + i}', ${rest})`).join(', ')
    const base = [
      'CREATE TABLE buyer (id int NOT NULL PRIMARY KEY, name varchar(20), mail varchar(20), tenant int, plan varchar(9), locale varchar(9))',
      `INSERT INTO buyer VALUES ${rows(1, `1, 'old', 'de'`)}`,
      `INSERT INTO buyer VALUES ${rows(2_001, `42, 'new', 'fr'`)}`,
      `CREATE TABLE seat (no int NOT NULL PRIMARY KEY, who varchar(20), state varchar(10) DEFAULT 'booked' NOT NULL)`,
      'INSERT INTO seat (no) VALUES (1), (2)',
    ]
    const up = ['ALTER TABLE buyer ADD COLUMN card varchar(20)', 'ALTER TABLE seat ADD COLUMN card varchar(20)']
    const writes = [`UPDATE buyer SET card = 'own' WHERE id = 3100`, `UPDATE seat SET card = 'own' WHERE no <= 2`]
    const later = [
      'DELETE FROM buyer WHERE id = 3100',
      `INSERT INTO buyer VALUES (3100, 'eve', 'e@x', 42, 'new', 'fr')`,
      'DELETE FROM seat WHERE no = 1',
      `INSERT INTO seat (no, who) VALUES (1, 'eve')`,
    ]
    await using world = await forward(await make(), { base, up, writes, later })
    expect((await replayed(world, [])).parts.map(p => [p.table, p.back, p.conflicts])).toEqual([
      ['buyer', 0, 1],
      ['seat', 1, 1],
    ])
  })

  it(
    'goes by itself where what a row was given from the start alone is another, though many share the rest',
    skipped,
    async () => {
      const rows = Array.from({ length: 60 }, (_, i) => `(${i + 1}, ${i % 7}1, ${i % 5}2, ${(i % 3) + 1})`).join(', ')
      const base = [
        `CREATE TABLE ord (id int NOT NULL PRIMARY KEY, cust_id int, product int, qty int, state varchar(10) DEFAULT 'new' NOT NULL)`,
        `INSERT INTO ord (id, cust_id, product, qty) VALUES ${rows}`,
      ]
      const up = ['ALTER TABLE ord ADD COLUMN gift varchar(20)']
      const writes = [`UPDATE ord SET gift = 'wrapped' WHERE id <= 40`]
      const later = [
        `UPDATE ord SET state = 'shipped' WHERE id BETWEEN 1 AND 30`,
        'DELETE FROM ord WHERE id = 40',
        'INSERT INTO ord (id, cust_id, product, qty) VALUES (40, 31, 42, 1)',
      ]
      await using world = await forward(await make(), { base, up, writes, later })
      expect((await replayed(world, [])).parts.map(p => [p.table, p.back, p.conflicts])).toEqual([['ord', 39, 1]])
    },
  )
})
