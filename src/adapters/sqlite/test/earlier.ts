const PLAIN = `CREATE TABLE orders (id INTEGER PRIMARY KEY, total NUMERIC NOT NULL);
  INSERT INTO orders VALUES (1, 10), (2, 20.5);
  CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
  CREATE TABLE knex_migrations_lock ("index" INTEGER PRIMARY KEY, is_locked INTEGER);
  INSERT INTO knex_migrations_lock VALUES (1, 0); INSERT INTO knex_migrations (name, batch) VALUES ('001_start', 1)`

/** The application's own table was taken for the bookkeeping of dbmate. */
const ALIKE = `${PLAIN}; CREATE TABLE schema_migrations (version TEXT PRIMARY KEY, note TEXT NOT NULL);
  INSERT INTO schema_migrations VALUES ('spring', 'herons'), ('autumn', 'swallows')`

/** Databases of which an earlier version captured the pins beside this file. */
export const EARLIER = { PLAIN, ALIKE }
