import { describe, expect, it } from 'vitest'
import { readScript, said } from './down-script.ts'

const read = async (sql: string, kind: 'postgres' | 'mysql' | 'sqlite') => {
  const { destroys, unread } = await readScript(sql, kind)
  return [...destroys.map(said), ...unread.map(why => `unread: ${why}`)]
}

describe.each(['postgres', 'mysql', 'sqlite'] as const)('C11 B4: what a down-script destroys, for %s', kind => {
  it.each([
    ['a table', 'DROP TABLE IF EXISTS coupons', ['drops the table coupons']],
    ['several tables', 'DROP TABLE a, sales.b', ['drops the table a', 'drops the table sales.b']],
    ['a column', 'ALTER TABLE orders DROP COLUMN discount', ['drops the column orders.discount']],
    ['all rows', 'DELETE FROM orders', ['deletes from orders']],
    ['some rows', "delete from orders where state = 'new'", ['deletes from orders']],
    ['cells', "UPDATE orders SET note = 'DROP TABLE x; DELETE FROM y'", ['changes orders']],
    ['rows named in WITH', 'WITH old AS (SELECT 1) DELETE FROM orders', ['deletes from orders']],
    ['nothing', 'CREATE INDEX i ON orders (note); DROP INDEX j', []],
    [
      'a name that is quoted',
      'ALTER TABLE orders DROP COLUMN note -- DROP TABLE orders',
      ['drops the column orders.note'],
    ],
    ['no constraint', 'ALTER TABLE orders DROP CONSTRAINT positive', []],
    ['two statements', 'DROP TABLE a;\n/* DROP TABLE b; */ DROP VIEW c;', ['drops the table a', 'drops the view c']],
  ])('%s', async (_, sql, expected) => expect(await read(sql, kind)).toEqual(expected))
})

describe('C11 B4: what only one system says', () => {
  it.each([
    ['TRUNCATE a, "B b"', ['empties a', 'empties B b']],
    [
      'ALTER TABLE orders ALTER COLUMN total TYPE int, DROP COLUMN "a.b"',
      ['narrows the column orders.total', 'drops the column orders.a.b'],
    ],
    ['DROP TYPE sales.mood; DROP SCHEMA sales CASCADE', ['drops the type sales.mood', 'drops the schema sales']],
    ["ALTER TYPE mood RENAME VALUE 'a' TO 'b'", ['narrows the type mood']],
    ['WITH gone AS (DELETE FROM a RETURNING *) SELECT 1', ['deletes from a']],
    ['DO $$ BEGIN DELETE FROM a; END $$', ['unread: DO does what only the database knows']],
    ['INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 0', ['changes t']],
    ['CREATE TABLE x AS SELECT purge()', ['unread: it calls purge(), and what that does only the database knows']],
    ['SELECT lo_unlink(1)', ['unread: it calls lo_unlink(), and what that does only the database knows']],
    [
      'ALTER TABLE t ADD x int DEFAULT purge()',
      ['unread: it calls purge(), and what that does only the database knows'],
    ],
    [
      'ALTER TABLE t ADD g int GENERATED ALWAYS AS (sales.purge(c)) STORED, ALTER c SET DEFAULT later()',
      ['unread: it calls sales.purge(), and what that does only the database knows'],
    ],
    [
      'ALTER TABLE t ADD CHECK (purge(c) > 0), ADD CONSTRAINT later CHECK (later(c)) NOT VALID',
      ['unread: it calls purge(), and what that does only the database knows'],
    ],
    [
      'ALTER TABLE t ALTER c TYPE int USING purge(c)',
      ['narrows the column t.c', 'unread: it calls purge(), and what that does only the database knows'],
    ],
    [
      'CREATE INDEX ON t (lower(a), purge(c)); ALTER TABLE t ADD u uuid DEFAULT gen_random_uuid()',
      ['unread: it calls purge(), and what that does only the database knows'],
    ],
    ["SELECT setval('s', max(id)) FROM t; EXPLAIN DELETE FROM t", []],
    ['EXPLAIN ANALYZE DELETE FROM t', ['deletes from t']],
    ['ALTER TABLE ev DETACH PARTITION ev26', ['deletes from ev']],
    ['DROP OWNED BY app', ['unread: DROP OWNED does what only the database knows']],
    ['DROP EXTENSION hstore CASCADE', ['unread: DROP EXTENSION hstore CASCADE drops the columns that need it, too']],
    ['SELEC 1', ['unread: syntax error at or near "SELEC"']],
    ['', []],
  ])('PostgreSQL: %s', async (sql, expected) => expect(await read(sql, 'postgres')).toEqual(expected))

  it.each([
    ['TRUNCATE TABLE a', ['empties a']],
    [
      'ALTER TABLE `orders` DROP `a``b`, MODIFY total INT, DROP INDEX i',
      ['drops the column orders.a`b', 'narrows the column orders.total'],
    ],
    ['DELETE LOW_PRIORITY FROM orders', ['deletes from orders']],
    ['CALL tidy()', ['unread: CALL does what only the database knows']],
    ['SELECT 1; /*M!100100 DELETE FROM a WHERE id > 1 */', ['deletes from a']],
    ['/*!50100 DROP TABLE a */; SELECT 5--1; DROP TABLE b', ['drops the table a', 'drops the table b']],
    [
      'DROP TABLES a, b; CREATE OR REPLACE TABLE t (id int)',
      ['drops the table a', 'drops the table b', 'drops the table t'],
    ],
    ['ALTER TABLE t DROP PARTITION p1, p2; ALTER TABLE t TRUNCATE PARTITION p3', ['deletes from t', 'deletes from t']],
    ['ALTER TABLE t EXCHANGE PARTITION p WITH TABLE o', ['changes t', 'changes o']],
    ['ALTER TABLE t CONVERT TO CHARACTER SET latin1', ['changes t']],
    ['ALTER IGNORE TABLE t ADD UNIQUE (a)', ['deletes from t']],
    ['ALTER TABLE t DROP (a, b)', ['drops the column t.a', 'drops the column t.b']],
    ['WITH c AS (SELECT 1) INSERT INTO t SELECT * FROM c ON DUPLICATE KEY UPDATE v = 1', ['changes t']],
    ["LOAD DATA INFILE 'x' REPLACE INTO TABLE t", ['changes t']],
    ['DELETE o, b FROM orders AS o JOIN b ON o.id = b.id', ['deletes from orders', 'deletes from b']],
    ['SELECT purge(1)', ['unread: it calls purge(), and what that does only the database knows']],
    ['HANDLER t OPEN', ['unread: HANDLER does what only the database knows']],
    ['ALTER TABLE t ADD d DECIMAL(10, 2), ENGINE=InnoDB; SET @a = 1; INSERT INTO t (a) VALUES (NOW())', []],
    ["INSERT INTO a VALUES ('\\'; DROP TABLE x'); DROP TABLE b", ['drops the table b']],
    [
      'UPDATE coupons c JOIN orders AS o ON o.coupon = c.id SET o.total = o.total + c.cut; DROP TABLE coupons',
      ['changes orders', 'drops the table coupons'],
    ],
    ['UPDATE a, b SET b.x = 1, b.y = (SELECT max(y) FROM c, d), b.z = 2 WHERE a.i = b.i', ['changes b']],
    ['UPDATE LOW_PRIORITY a STRAIGHT_JOIN shop.b SET x = 1', ['changes a', 'changes shop.b']],
    ['UPDATE a AS one, b two SET two.x = 1, one.y = 2, shop.c.z = 3', ['changes b', 'changes a', 'changes shop.c']],
    ['UPDATE t JOIN (SELECT 1 AS i) AS d ON d.i = t.i SET t.x = 1 ORDER BY t.i, t.j LIMIT 5', ['changes t']],
    ['UPDATE (a JOIN b ON a.i = b.i) SET b.x = 1', ['unread: UPDATE does what only the database knows']],
    ['ALTER TABLE t DROP period, DROP PERIOD FOR SYSTEM_TIME', ['drops the column t.period']],
    ['# DROP TABLE x\nUPDATE IGNORE orders SET note = 1', ['changes orders']],
  ])('MySQL: %s', async (sql, expected) => expect(await read(sql, 'mysql')).toEqual(expected))

  it('SQLite: a backslash that escapes nothing', async () => {
    expect(await read("INSERT INTO a VALUES ('\\'); DROP TABLE b", 'sqlite')).toEqual(['drops the table b'])
  })

  it('SQLite: rows that are put in place of others, and what it has no word for', async () => {
    const sql = `INSERT OR REPLACE INTO a VALUES (1); INSERT INTO b VALUES (1) ON CONFLICT DO UPDATE SET v = 0;
      PRAGMA foreign_keys = OFF; PRAGMA writable_schema = 1`
    expect(await read(sql, 'sqlite')).toEqual([
      'changes a',
      'changes b',
      'unread: PRAGMA does what only the database knows',
    ])
  })

  it('SQLite: a table that is built anew', async () => {
    const sql =
      'CREATE TABLE new AS SELECT id FROM [my orders]; DROP TABLE [my orders]; ALTER TABLE new RENAME TO "my orders"'
    expect(await read(sql, 'sqlite')).toEqual(['drops the table my orders'])
  })
})
