import { describe, expect, it } from 'vitest'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const { systems: SYSTEMS } = carrySystems()

const BASE = [
  'CREATE TABLE book (room int NOT NULL, day int NOT NULL, who varchar(20), seats int, PRIMARY KEY (room, day))',
  `INSERT INTO book VALUES (1, 1, 'ann', 2), (2, 1, 'bob', 0), (3, 1, 'cid', 4)`,
]
const UP = [
  'ALTER TABLE book ADD COLUMN card varchar(20)',
  'CREATE TABLE meals (id int NOT NULL PRIMARY KEY, room int, day int, what varchar(20), FOREIGN KEY (room, day) REFERENCES book (room, day))',
]
const WRITES = [
  `UPDATE book SET card = 'ann-1' WHERE who = 'ann'`,
  `UPDATE book SET card = 'bob-2' WHERE who = 'bob'`,
  `INSERT INTO book VALUES (4, 1, 'dan', 1, 'dan-4')`,
  `INSERT INTO meals VALUES (1, 1, 1, 'soup'), (2, 2, 1, 'fish'), (3, 4, 1, 'cake'), (4, 3, 1, 'tea')`,
]
/** Cancelled, and booked by others; bob has other seats; of cid nothing is as it was but himself. */
const LATER = [
  'DELETE FROM book WHERE room IN (1, 4)',
  `INSERT INTO book VALUES (1, 1, 'eve', 3), (4, 1, 'zoe', 5)`,
  'UPDATE book SET seats = 7 WHERE room IN (2, 3)',
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
    const others = ['1 1 eve 3 ', '2 1 bob 7 bob-2', '3 1 cid 7 ', '4 1 zoe 5 ']
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
    expect((await held(world, 'book'))[0]).toBe('1 1 eve 3 ann-1')
  })
})
