import { describe, expect, it } from 'vitest'
import { withoutRows } from './without-rows.ts'

/** What was said, and what stays of it. Everything of a row in them has an @ or a §. */
const SAID: readonly (readonly [string, string])[] = [
  [
    `pg_restore: error: COPY failed for table "people": ERROR:  new row for relation "people" violates check constraint "adult"
DETAIL:  Failing row contains (7, ann@self, a (b)
c@d).
CONTEXT:  COPY people, line 3: "7	ann@self"
pg_restore: from TOC entry 5`,
    `pg_restore: error: COPY failed for table "people": ERROR:  new row for relation "people" violates check constraint "adult"
DETAIL:  Failing row contains (***)
CONTEXT:  COPY people, line 3: ***
pg_restore: from TOC entry 5`,
  ],
  [
    `pg_restore: error: could not execute query: ERROR:  could not create unique index "people_mail_key"
DETAIL:  Key (lower(mail), n)=(ann@self, 3) is duplicated.
Command was: ALTER TABLE ONLY public.people
    ADD CONSTRAINT people_mail_key UNIQUE (mail);

`,
    `pg_restore: error: could not execute query: ERROR:  could not create unique index "people_mail_key"
DETAIL:  Key (lower(mail), n)=(***)
Command was: ALTER TABLE ONLY public.people
    ADD CONSTRAINT people_mail_key UNIQUE (mail);

`,
  ],
  [
    `psql:down.sql:4: ERROR:  invalid input syntax for type integer: "ann@self
and "her@second" line"
CONTEXT:  COPY people, line 1, column n: "ann@self
and more@"`,
    `psql:down.sql:4: ERROR:  invalid input syntax for type integer: "***"
CONTEXT:  COPY people, line 1, column n: ***`,
  ],
  [
    `ERROR:  value "9999999999§" is out of range for type integer
FEHLER:  doppelter Schlüsselwert verletzt Unique-Constraint »people_pkey«
DETAIL:  Schlüssel »(mail)=(ann@self)« existiert bereits.
KONTEXT:  COPY people, Zeile 3: »7	ann@self«
ОШИБКА:  новая строка
ПОДРОБНОСТИ:  Ошибочная строка содержит (7, ann@self).`,
    `ERROR:  value "***"
FEHLER:  doppelter Schlüsselwert verletzt Unique-Constraint "***"
DETAIL:  Schlüssel "***"
KONTEXT:  COPY people, Zeile 3: ***
ОШИБКА:  новая строка
ПОДРОБНОСТИ:  Ошибочная строка содержит (***)`,
  ],
  [
    `ERROR:  invalid input syntax for type json
DETAIL:  Token "ann@self" is invalid.
CONTEXT:  JSON data, line 1: {"mail": ann@self...
COPY people, line 1, column doc: "{"mail": ann@self}"`,
    `ERROR:  invalid input syntax for type json
DETAIL:  Token "***"
CONTEXT:  JSON data, line 1: ***`,
  ],
  [
    `ERROR:  syntax error at or near "FORM"
LINE 1: DELETE FORM people WHERE mail = 'ann@self' OR mail = 'b@c...
               ^
ERROR:  unterminated quoted string at or near "'ann@self;"`,
    `ERROR:  syntax error at or near "FORM"
LINE 1: DELETE FORM people WHERE mail = '***'
               ^
ERROR:  unterminated quoted string at or near "***"`,
  ],
  [
    `before
--------------
INSERT INTO people VALUES
(1,'ann@self'),
--------------
(2,'b@c')
--------------

ERROR 1062 (23000) at line 2: Duplicate entry 'ann's @ home-3' for key 'PRIMARY'
between
--------------
DELETE FROM people WHERE mail = 'ann@self'
--------------

ERROR 1064 (42000) at line 9: You have an error in your SQL syntax; to use near ''ann@self'
 OR' at line 3
`,
    `before
ERROR 1062 (23000) at line 2: Duplicate entry '***' for key 'PRIMARY'
between
ERROR 1064 (42000) at line 9: You have an error in your SQL syntax; to use near '***' at line 3
`,
  ],
  [
    `[981091 bytes left out] x@y'),
(3,'d@e')
--------------

ERROR 2013 (HY000) at line 54: Lost connection to server during query`,
    'ERROR 2013 (HY000) at line 54: Lost connection to server during query',
  ],
  [
    `ERROR 1526 (HY000) at line 1: Table has no partition for value 'ann@self'
ERROR 1292 (22007) at line 1: Incorrect datetime value: 'ann@self' for column \`d\`.\`people\`.\`at\` at row 1
ERROR 1292 (22007) at line 2: Truncated incorrect DOUBLE value: 'ann@self'
ERROR 1761 (23000) at line 3: Foreign key constraint for table 'a', record 'ann@self-1' would lead to a duplicate entry in table 'b', key 'k'
insert into \`people\` (\`mail\`) values ('ann@self') - Duplicate entry 'ann@self' for key 'mail'
migration failed: duplicate key value violates unique constraint "people_pkey"
  Detail: Key (mail)=(ann@self) already exists.
  Detail: Failing row contains (7, ann@self).`,
    `ERROR 1526 (HY000) at line 1: Table has no partition for value ***
ERROR 1292 (22007) at line 1: Incorrect datetime value: '***' for column \`d\`.\`people\`.\`at\` at row 1
ERROR 1292 (22007) at line 2: Truncated incorrect DOUBLE value: '***'
ERROR 1761 (23000) at line 3: Foreign key constraint for table 'a', record '***' would lead to a duplicate entry in table 'b', key 'k'
insert into \`people\` (\`mail\`) values (***) - Duplicate entry '***' for key 'mail'
migration failed: duplicate key value violates unique constraint "people_pkey"
  Detail: Key (mail)=(***)
  Detail: Failing row contains (***)`,
  ],
]

describe('what a client of a database said', () => {
  it.each(SAID)('holds no row: %s', (said, stays) => {
    expect(withoutRows(said)).toBe(stays)
  })

  it.each([
    'pg_restore: error: connection to server at "127.0.0.1", port 5432 failed: FATAL:  database "shop" does not exist\n',
    'pg_restore: error: could not execute query: ERROR:  permission denied for schema public\nCommand was: CREATE TABLE public.t (id integer);\n\n',
    'ERROR:  insert or update on table "a" violates foreign key constraint "fk"\nHINT:  See server log.\n',
    'ERROR:  unrecognized configuration parameter "transaction_timeout"\nCommand was: SET transaction_timeout = 0;\n',
    "ERROR 1045 (28000): Access denied for user 'app'@'localhost' (using password: YES)",
    "invalid value 'up' for option --set: no entry 'web-3' in values (prod.yaml)",
    'Error: no such table: people\n--------------\nmigration 7 of 9\n',
  ])('stays as it is where it holds none: %s', said => {
    expect(withoutRows(said)).toBe(said)
  })

  it('is looked through in no time where it is long', () => {
    const start = performance.now()
    for (const long of [
      'x'.repeat(65_536),
      "('a@b'),\n".repeat(8_000),
      'AB '.repeat(20_000),
      'ERROR:  a "\n'.repeat(6_000),
    ])
      withoutRows(long)
    expect(performance.now() - start).toBeLessThan(3_000)
  })
})
