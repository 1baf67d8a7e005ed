import { describe, expect, it } from 'vitest'
import type { SchemaShape } from './schema.ts'
import { touchedBy, writtenIn } from './touched.ts'

const PLAIN: SchemaShape = { tables: {}, views: {}, triggers: {}, others: {} }
const touched = (sql: string, schema = PLAIN) => touchedBy([sql], 'postgres', [schema])

describe('C14: which tables the migrations left alone', () => {
  it.each([
    'ALTER TABLE orders ADD COLUMN discount numeric DEFAULT 0; CREATE TABLE coupons (id int)',
    'ALTER TABLE orders RENAME COLUMN total TO cents',
    'BEGIN; CREATE UNIQUE INDEX CONCURRENTLY i ON orders (id); -- UPDATE orders SET a = 1\nCOMMIT',
    `COMMENT ON TABLE orders IS 'update; delete'`,
    'ALTER TABLE orders DROP COLUMN note',
  ])('all of them: %s', sql => expect(touched(sql)).toEqual({ tables: [], columns: {} }))

  it.each([
    ['UPDATE orders SET total = 1', ['orders']],
    ['INSERT INTO "Order Lines" (a) SELECT b FROM shop.orders', ['order lines', 'orders']],
    ['DROP TABLE orders; CREATE TABLE orders (id int)', ['orders']],
    ['ALTER TABLE orders ALTER COLUMN total TYPE text', ['orders']],
    ['ALTER TABLE orders RENAME TO purchases; DELETE FROM purchases', ['orders', 'purchases']],
    ['TRUNCATE orders', ['orders']],
  ])('not those that %s names', (sql, names) => {
    for (const name of names) expect(touched(sql)?.tables).toContain(name)
    expect(touched(sql)?.tables).not.toContain('customers')
  })

  it.each<[sql: string, wrote: string[] | null]>([
    ['UPDATE orders SET total = total * 100', ['total']],
    [
      'UPDATE shop.orders AS o SET "Total" = (SELECT a, b = 1 FROM x), o.note = f(1, 2), c = 3 FROM y WHERE z = 4',
      ['c', 'note', 'total'],
    ],
    ['UPDATE orders SET total = 1; UPDATE orders SET note = 2', ['note', 'total']],
    ['UPDATE orders SET (a, b) = (1, 2)', null],
    ['UPDATE orders SET total = 1; DELETE FROM orders WHERE id = 3', null],
    ['ALTER TABLE orders ALTER COLUMN total TYPE text USING a || b, ALTER note TYPE int', ['note', 'total']],
    ['ALTER TABLE orders MODIFY total text', null],
    ['ALTER TABLE orders ALTER total TYPE text, ADD c int GENERATED ALWAYS AS IDENTITY', null],
    ['ALTER TABLE orders ADD note text', []],
  ])('which cells %s may have written', (sql, wrote) => {
    const found = touched(sql)
    expect(found === null ? 'nobody can tell' : writtenIn(['public.Orders'], found)).toEqual(wrote)
  })

  it('follows columns and tables that got another name', () => {
    const column = touched('UPDATE orders SET total = 1; ALTER TABLE orders RENAME COLUMN total TO cents')
    expect(writtenIn(['orders'], column ?? { tables: [], columns: {} })).toEqual(
      expect.arrayContaining(['total', 'cents']),
    )
    const table = touched('UPDATE orders SET total = 1; ALTER TABLE orders RENAME TO purchases')
    expect(writtenIn(['purchases'], table ?? { tables: [], columns: {} })).toContain('total')
    const both = touched('ALTER TABLE orders RENAME TO purchases; DELETE FROM purchases')
    expect(writtenIn(['orders'], both ?? { tables: [], columns: {} })).toBeNull()
  })

  it.each([
    'DO $$ BEGIN UPDATE orders SET a = 1; END $$',
    'SELECT backfill()',
    'WITH x AS (DELETE FROM orders RETURNING id) SELECT 1',
    'CREATE TRIGGER t BEFORE INSERT ON orders EXECUTE FUNCTION f()',
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    `INSERT INTO orders VALUES (E'it\\'s; --')`,
    'CALL everything()',
    `ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'`,
    'DROP SCHEMA old CASCADE',
    'PRAGMA writable_schema = 1',
  ])('nobody can tell: %s', sql => expect(touched(sql)).toBeNull())

  it('nobody can tell where writing a row may write others', () => {
    const cascade = {
      columns: {},
      key: [],
      indexes: {},
      constraints: ['FOREIGN KEY (a) REFERENCES b (id) ON DELETE CASCADE'],
    }
    for (const schema of [
      { ...PLAIN, triggers: { t: 'x' } },
      { ...PLAIN, others: { 'function slug(text)': 'x' } },
      { ...PLAIN, tables: { orders: cascade } },
    ]) {
      expect(touched('UPDATE orders SET a = 1', schema)).toBeNull()
      expect(touched('ALTER TABLE orders ADD a int', schema)?.tables).toEqual([])
    }
  })
})
