import { describe, expect, it } from 'vitest'
import type { SchemaShape } from './schema.ts'
import { isUntouched, touchedBy } from './touched.ts'

const PLAIN: SchemaShape = { tables: {}, views: {}, triggers: {}, others: {} }
const touched = (sql: string, schema = PLAIN) => touchedBy([sql], 'postgres', [schema])

describe('C14: which tables the migrations left alone', () => {
  it.each([
    'ALTER TABLE orders ADD COLUMN discount numeric DEFAULT 0; CREATE TABLE coupons (id int)',
    'ALTER TABLE orders RENAME COLUMN total TO cents',
    'BEGIN; CREATE UNIQUE INDEX CONCURRENTLY i ON orders (id); -- UPDATE orders SET a = 1\nCOMMIT',
    `COMMENT ON TABLE orders IS 'update; delete'`,
    'ALTER TABLE orders DROP COLUMN note',
  ])('all of them: %s', sql => expect(touched(sql)).toEqual([]))

  it.each([
    ['UPDATE orders SET total = 1', ['orders']],
    ['INSERT INTO "Order Lines" (a) SELECT b FROM shop.orders', ['order lines', 'orders']],
    ['DROP TABLE orders; CREATE TABLE orders (id int)', ['orders']],
    ['ALTER TABLE orders ALTER COLUMN total TYPE text', ['orders']],
    ['ALTER TABLE orders RENAME TO purchases; DELETE FROM purchases', ['orders', 'purchases']],
    ['TRUNCATE orders', ['orders']],
  ])('not those that %s names', (sql, names) => {
    for (const name of names) expect(isUntouched(name, touched(sql) ?? [])).toBe(false)
    expect(isUntouched('customers', touched(sql) ?? ['customers'])).toBe(true)
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
      expect(touched('ALTER TABLE orders ADD a int', schema)).toEqual([])
    }
  })
})
