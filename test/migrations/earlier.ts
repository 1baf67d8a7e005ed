const PLAIN = `CREATE TABLE orders (id int PRIMARY KEY, total numeric NOT NULL);
  INSERT INTO orders VALUES (1, 10), (2, 20.50);
  CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('1')`

/** Of two bookkeepings it read one, and it left out the application's own table for its name. */
const SEVERAL = `${PLAIN};
  CREATE SCHEMA billing; CREATE TABLE billing.schema_migrations (version varchar(128) PRIMARY KEY);
  INSERT INTO billing.schema_migrations VALUES ('1'), ('2');
  CREATE SCHEMA crm; CREATE TABLE crm.schema_migrations (version text PRIMARY KEY, note text NOT NULL);
  INSERT INTO crm.schema_migrations VALUES ('spring', 'herons')`

/** Databases of which an earlier version captured the pins in `earlier.json`. */
export const EARLIER = { PLAIN, SEVERAL }
