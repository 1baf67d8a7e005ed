import { expect, it } from 'vitest'
import { onSqlite } from './systems.ts'
import { played, proposed } from './world.ts'

const base = [
  'CREATE TABLE orders (id INTEGER PRIMARY KEY, total int, note text)',
  `INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, 'b')`,
  'CREATE TABLE empty (id INTEGER PRIMARY KEY, total int)',
]
const CENTS = 'UPDATE orders SET total = total * 100'
// Nobody reads what it does from its statements.
const PROGRAM = 'PRAGMA user_version = 5;'
const COMES = `INSERT INTO orders VALUES (9, 90, 'new')`

/** What is said of the data where the release is left with it. */
async function left(up: string, told: boolean, meanwhile: readonly string[] = []) {
  const release = [{ name: '002_x', up, down: null }]
  await using world = await played(await onSqlite(), { base, release, told, early: [], meanwhile, writes: [COMES] })
  const { findings, impact } = await proposed(world, 'leave')
  const said = findings.filter(f => f.code.startsWith('data_')).map(f => `${f.level}: ${f.what}`)
  return [...said, ...impact.staysBehind.filter(text => text.includes('written since'))]
}

const totals = [
  'blocker: The migrations wrote orders.total (at most 2 rows): the old release would read what they made of it',
  'orders.total as written since (at most 2 rows)',
]
const changed = 'Between the backup and the end of migrating there changed'
const either = 'by the migrations or by users: the old release would read it as it is'

it.each<[string, string, boolean, string[]]>([
  ['by its statements', CENTS, true, totals],
  ['by its statements, where nobody told that it had ended', CENTS, false, totals],
  ['in a new column only', 'ALTER TABLE orders ADD cents int; UPDATE orders SET cents = total * 100', true, []],
  ['what was there already', `UPDATE orders SET total = 10 WHERE id = 1`, true, []],
  ['in a table that had no row', 'UPDATE empty SET total = 1', false, []],
  [
    'by taking rows',
    'DELETE FROM orders WHERE id = 2',
    true,
    [
      'blocker: The migrations wrote rows of orders (at most 2 rows): the old release would read what they made of it',
      'rows of orders as written since (at most 2 rows)',
    ],
  ],
  [
    'by adding rows',
    `INSERT INTO orders VALUES (3, 30, 'c')`,
    true,
    [
      'warning: The migrations wrote rows of orders (at most 2 rows), and may have done no more than add some: the old release would read them',
      'rows of orders as written since (at most 2 rows)',
    ],
  ],
  [
    'in a program, as the data tells',
    `${PROGRAM} ${CENTS}`,
    true,
    [`warning: ${changed} orders.total (at most 2 rows), ${either}`, 'orders.total as written since (at most 2 rows)'],
  ],
  [
    'in a program, where nobody told',
    `${PROGRAM} ${CENTS}`,
    false,
    ['note: What these migrations wrote into rows that were there nobody can tell: the old release reads it as it is'],
  ],
])('C11: leaves no release without a word with what a migration wrote %s', async (_, up, told, said) =>
  expect(await left(up, told)).toEqual(said),
)

it('C11: takes what users wrote after a migration for no work of its own', async () =>
  expect(await left('ALTER TABLE orders ADD extra int', true, ['UPDATE orders SET total = 7 WHERE id = 1'])).toEqual(
    [],
  ))
