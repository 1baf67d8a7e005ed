import { describe, expect, it } from 'vitest'
import type { DatabaseKind } from './engine.ts'
import type { SchemaShape } from './schema.ts'
import { touchedBy } from './touched.ts'
import { movedTables } from './touched-renames.ts'

const schema = (...names: string[]): SchemaShape => {
  const columns = { id: { type: 'int', nullable: false, default: null, generated: false } }
  const table = { columns, key: ['id'], indexes: {}, constraints: [] }
  return { tables: Object.fromEntries(names.map(n => [n, table])), views: {}, triggers: {}, others: {} }
}
const BASE = schema('members', 'orders')
const movedOf = (sql: string, kind: DatabaseKind = 'sqlite', base = BASE) =>
  touchedBy([sql], kind, [base])?.moved?.map(pair => pair.join(' → '))

describe('C14: tables that migrations give another name', () => {
  it.each([
    ['ALTER TABLE members RENAME TO accounts; ALTER TABLE accounts ADD COLUMN tier int', ['members → accounts']],
    ['ALTER TABLE members RENAME TO a; ALTER TABLE a RENAME TO "Accounts"', ['members → accounts']],
    ['ALTER TABLE members RENAME TO a; ALTER TABLE orders RENAME TO b', ['members → a', 'orders → b']],
    [
      'ALTER TABLE members RENAME TO a; ALTER TABLE orders RENAME TO members; ALTER TABLE a RENAME TO orders',
      ['orders → members', 'members → orders'],
    ],
  ])('by what they say: %s', (sql, expected) => expect(movedOf(sql)).toEqual(expected))

  it.each([
    'CREATE TABLE accounts (id int); INSERT INTO accounts SELECT id FROM members; DROP TABLE members',
    'CREATE TABLE new (id int); INSERT INTO new SELECT id FROM members; DROP TABLE members; ALTER TABLE new RENAME TO accounts',
    'ALTER TABLE members RENAME TO accounts; DROP TABLE accounts; CREATE TABLE accounts (id int)',
    'ALTER TABLE members RENAME TO accounts; ALTER TABLE accounts RENAME TO members',
    'ALTER TABLE people RENAME TO accounts; ALTER TABLE members RENAME TO people',
    'ALTER TABLE members RENAME TO orders',
    `ALTER TABLE members RENAME TO accounts; UPDATE orders SET id = '$'`,
  ])('none, where it is another one, or they cannot have run so: %s', sql => expect(movedOf(sql)).toBeUndefined())

  it('by RENAME TABLE of MySQL, one at a time and within the database', () => {
    expect(movedOf('RENAME TABLE `members` TO `accounts`', 'mysql')).toEqual(['members → accounts'])
    for (const sql of ['members TO a, orders TO members', 'members TO other.accounts', 'members TO a WAIT 3'])
      expect(touchedBy([`RENAME TABLE ${sql}`], 'mysql', [BASE])).toBeNull()
    expect(touchedBy(['RENAME TABLE members TO accounts'], 'sqlite', [BASE])).toBeNull()
  })

  it('not where two tables of two schemas bear the name', () => {
    const two = schema('members', 'old.members')
    expect(movedOf('ALTER TABLE members RENAME TO accounts', 'postgres', two)).toBeUndefined()
  })

  it('of the schemas those that are gone, and those that are new', () => {
    const moved = [
      ['members', 'accounts'],
      ['orders', 'sales'],
    ] as const
    const tables = (now: SchemaShape) => movedTables(moved, BASE, now).map(r => [r.was.table, r.now.table])
    expect(tables(schema('Accounts', 'sales'))).toEqual([
      ['members', 'Accounts'],
      ['orders', 'sales'],
    ])
    expect(tables(schema('accounts', 'Accounts', 'orders', 'sales'))).toEqual([])
  })
})
