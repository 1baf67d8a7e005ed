import { describe, expect, it } from 'vitest'
import type { DatabaseKind } from './engine.ts'
import type { SchemaShape, TableShape } from './schema.ts'
import { touchedBy, writtenIn } from './touched.ts'

const table = (names: string, more: Partial<TableShape> = {}): TableShape => {
  const shape = { type: 'int', nullable: true, default: null, generated: false }
  const columns = Object.fromEntries(names.split(' ').map(name => [name, shape]))
  return { columns, key: ['id'], indexes: {}, constraints: [], ...more }
}
const PLAIN: SchemaShape = {
  tables: { orders: table('id total total_new note'), '"Order Lines"': table('id a'), customers: table('id name') },
  views: { active: 'SELECT * FROM orders' },
  triggers: {},
  others: {},
}
const NOTHING = { tables: [], columns: {} }
const touched = (sql: string, schema = PLAIN) => touchedBy([sql], 'postgres', [schema])
const wroteIn = (sql: string, kind: DatabaseKind, ...schemas: SchemaShape[]) => {
  const found = touchedBy([sql], kind, schemas)
  return found === null ? 'nobody can tell' : writtenIn(['orders'], found)
}
const withTables = (tables: SchemaShape['tables']) => ({ ...PLAIN, tables: { ...PLAIN.tables, ...tables } })

describe('C14: which tables the migrations left alone', () => {
  it.each([
    'ALTER TABLE orders ADD COLUMN discount numeric DEFAULT 0; CREATE TABLE coupons (id int)',
    'ALTER TABLE orders RENAME COLUMN total TO cents',
    'BEGIN; CREATE UNIQUE INDEX CONCURRENTLY i ON orders (id); -- UPDATE orders SET a = 1\nCOMMIT',
    `COMMENT ON TABLE orders IS 'update; delete'`,
    'CREATE TABLE IF NOT EXISTS orders (id int)',
    '--\nALTER TABLE orders DROP CONSTRAINT positive',
  ])('all of them: %s', sql => expect(touched(sql)).toEqual(NOTHING))

  it('columns that were dropped, added or renamed are not the ones that stayed', () => {
    const after = withTables({ orders: table('id cents extra note') })
    const sql = `ALTER TABLE orders DROP COLUMN total_new; ALTER TABLE orders ADD extra int;
      ALTER TABLE orders RENAME COLUMN total TO cents`
    expect(touchedBy([sql], 'postgres', [PLAIN, after])).toEqual(NOTHING)
  })

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
    ['ALTER TABLE orders ADD extra text', []],
    ['ALTER TABLE orders DROP total; ALTER TABLE orders RENAME total_new TO "total"', ['total', 'total_new']],
    ['ALTER TABLE orders DROP COLUMN IF EXISTS note, ADD COLUMN note text', ['note']],
    ['ALTER TABLE customers RENAME TO people; ALTER TABLE orders DROP note, ADD note text', ['note']],
    ['CREATE TABLE report AS SELECT id, total FROM orders', []],
    ['CREATE TABLE n AS SELECT * FROM orders; ALTER TABLE orders RENAME TO o; ALTER TABLE n RENAME TO orders', null],
    ['ALTER TABLE orders RENAME TO o; ALTER TABLE customers RENAME TO orders', null],
    ['ALTER TABLE orders RENAME TO o; CREATE TABLE IF NOT EXISTS orders (id int)', null],
    [`UPDATE orders SET note = ARRAY['x]', 'y'], total = 1 WHERE 'y' = 'y'`, ['note', 'total']],
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
    'UPDATE active SET total = 1',
    'DELETE FROM active',
    'MERGE INTO active USING orders ON true WHEN MATCHED THEN DELETE',
    'INSERT INTO elsewhere.unheard_of VALUES (1)',
    'TRUNCATE orders CASCADE',
    'INSERT INTO customers WITH x AS (DELETE FROM active RETURNING id) SELECT * FROM x',
    'ALTER TYPE address ADD ATTRIBUTE country text',
    'BEGIN NOT ATOMIC UPDATE orders SET total = 1; END',
    'CREATE TABLE part PARTITION OF orders FOR VALUES IN (1); INSERT INTO part VALUES (1)',
  ])('nobody can tell: %s', sql => expect(touched(sql)).toBeNull())

  it('nobody can tell where the name is that of a part of a table, or of one that others inherit from', () => {
    const parts = { orders: table('id total', { constraints: ['partition orders_a of orders DEFAULT'] }) }
    for (const sql of ['UPDATE orders_a SET total = 1', 'DROP TABLE orders_a']) {
      expect(wroteIn(sql, 'postgres', withTables(parts)), sql).toBe('nobody can tell')
    }
    expect(wroteIn('DROP TABLE IF EXISTS unheard_of', 'postgres', withTables(parts))).toEqual([])
    const child = withTables({ child: table('id total', { constraints: ['inherits orders'] }) })
    expect(wroteIn('UPDATE orders SET total = 1', 'postgres', child)).toBe('nobody can tell')
    expect(wroteIn('UPDATE customers SET name = 1', 'postgres', child)).toEqual([])
  })

  it('on MySQL what the database itself writes with an update, and what only MariaDB runs', () => {
    const at = { type: 'timestamp on update current_timestamp()', nullable: true, default: null, generated: false }
    const stamped = withTables({ orders: { ...table('id total'), columns: { ...table('id total').columns, at } } })
    expect(wroteIn('UPDATE shop.orders SET total = 1', 'mysql', stamped)).toEqual(['at', 'total'])
    expect(wroteIn('COMMIT /*M!100100; UPDATE orders SET total = 1 */', 'mysql', PLAIN)).toEqual(['total'])
    expect(wroteIn('UPDATE orders o JOIN active v ON v.id = o.id SET v.total = 1', 'mysql', PLAIN)).toBe(
      'nobody can tell',
    )
    expect(wroteIn('UPDATE OR REPLACE [orders] SET id = 1', 'sqlite', PLAIN)).toBeNull()
  })

  it('and into which tables that were there rows may have come', () => {
    expect(touched('INSERT INTO shop.orders (id) SELECT id FROM customers; DELETE FROM customers')?.came).toEqual([
      'orders',
    ])
    const anew = `CREATE TABLE n (id int); INSERT INTO n SELECT id FROM orders; DROP TABLE orders; ALTER TABLE n RENAME TO orders`
    expect(touched(anew)).not.toHaveProperty('came')
    expect(touched('UPDATE orders SET total = 1; DELETE FROM orders')).not.toHaveProperty('came')
  })

  it('nobody can tell where writing a row may write others', () => {
    const cascade = table('id', { constraints: ['FOREIGN KEY (a) REFERENCES b (id) ON DELETE CASCADE'] })
    for (const schema of [
      { ...PLAIN, triggers: { t: 'x' } },
      { ...PLAIN, others: { 'function slug(text)': 'x' } },
      withTables({ orders: cascade }),
    ]) {
      expect(touched('UPDATE orders SET a = 1', schema)).toBeNull()
      // SQLite deletes the rows first.
      expect(touched('DROP TABLE customers', schema)).toBeNull()
      expect(touched('CREATE TABLE n AS SELECT slug(note) FROM orders', schema)).toBeNull()
      expect(touched('ALTER TABLE orders ADD extra int', schema)?.tables).toEqual([])
    }
  })
})
