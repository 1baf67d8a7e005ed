import type { Staged } from '../../../data/engine.ts'

/** A small shop, and what a release and users made of it. */
export const BASE = `CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE TABLE orders (id serial PRIMARY KEY, what text, feeling mood DEFAULT 'ok', amount numeric, raw bytea, f double precision);
  INSERT INTO orders (what, amount, raw, f) SELECT 'o' || i, i / 3.0, '\\x00ff', i / 7.0 FROM generate_series(1, 2000) i;
  CREATE TABLE pair (a text, b uuid, v text, PRIMARY KEY (a, b));
  INSERT INTO pair SELECT 'k' || i, md5(i::text)::uuid, 'v' || i FROM generate_series(1, 500) i;
  CREATE TABLE bag (v int, w text); INSERT INTO bag SELECT i % 50, 'w' || i % 50 FROM generate_series(1, 100) i;
  CREATE TABLE line (id int PRIMARY KEY, orders int REFERENCES orders ON DELETE CASCADE, UNIQUE (orders, id));
  CREATE UNIQUE INDEX orders_what ON orders (lower(what)); CREATE UNIQUE INDEX orders_raw ON orders (amount) WHERE id < 0;
  CREATE UNIQUE INDEX pair_v ON pair (v COLLATE "POSIX")`

export const THEIRS = `ALTER TYPE mood ADD VALUE 'happy'; ALTER TABLE orders RENAME TO purchases; ALTER TABLE purchases RENAME what TO label;
  ALTER SEQUENCE orders_id_seq RENAME TO purchases_seq`
export const WRITES = `UPDATE purchases SET label = 'changed', feeling = 'happy' WHERE id = 7; DELETE FROM purchases WHERE id = 1500;
  INSERT INTO purchases (label, amount) SELECT 'n' || i, 1 FROM generate_series(1, 10) i;
  UPDATE pair SET v = 'other' WHERE a = 'k77'; INSERT INTO bag VALUES (1, 'w1'), (900, 'x'); SELECT nextval('purchases_seq') FROM generate_series(1, 90)`

export const ORDERS: Staged = {
  names: { ours: 'orders', theirs: 'purchases', base: 'orders', migrated: null },
  key: ['id'],
  columns: ['id', 'what', 'feeling', 'amount', 'raw', 'f'].map(c => ({
    ours: c,
    theirs: c === 'what' ? 'label' : c,
    base: c,
    migrated: null,
  })),
}

/** A table that is the same in all images. */
export function plain(table: string, key: string[], columns: string[]): Staged {
  return {
    names: { ours: table, theirs: table, base: table, migrated: table },
    key,
    columns: columns.map(c => ({ ours: c, theirs: c, base: c, migrated: c })),
  }
}
