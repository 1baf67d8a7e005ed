import type { PostgresServer } from '../../../../test/support/postgres.ts'

/**
 * Fills a database with one of everything that is easily lost, changed or mixed up on the way through a dump.
 * `major`: the version that has to know all of it; left out, the server's own.
 */
export async function fillZoo(server: PostgresServer, database: string, major?: number): Promise<void> {
  const [row] = await server.sql(`SELECT current_setting('server_version_num')::int / 10000 AS major`)
  // Version 13 has no ranges of several parts, and no infinite number.
  const early = ZOO.replace('int4multirange', 'text').replace(`(0, 0, 0, 'Infinity'`, '(0, 0, 0, 1e1000')
  await server.sql((major ?? Number(row?.['major'])) < 14 ? early : ZOO, database)
}

/** A character of each of Unicode's planes. */
const PLANES = Array.from({ length: 17 }, (_, p) => `(${p}, '${String.fromCodePoint(p * 0x10000 + 0x101)}')`).join(', ')

const ZOO = String.raw`
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE SCHEMA sales;
CREATE SCHEMA "Odd.Schema ""x""";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE sales.money_of AS (amount numeric, currency text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN nested AS positive NOT NULL DEFAULT 1;
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION german (provider = icu, locale = 'de');

CREATE TABLE zoo (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  small smallint, whole int, big bigint, exact numeric, scaled numeric(12, 4), single real, double double precision,
  cash money, yes boolean, one "char", fixed char(5), blanks bpchar, short varchar(20), long text, ident name,
  raw bytea, day date, hour time, hour_tz timetz, moment timestamp, moment_tz timestamptz, span interval,
  uid uuid, doc json, docb jsonb, path jsonpath, markup xml, bits bit(5), more_bits varbit, host inet, net cidr, mac macaddr, mac8 macaddr8,
  pt point, ln line, seg lseg, bx box, pth path, poly polygon, circ circle, vec tsvector, ask tsquery,
  feeling mood, price sales.money_of, plus positive, deep nested, ints int[], words text[][], moods mood[], docs jsonb[],
  span4 int4range, nums numrange, times tstzrange, days daterange, several int4multirange, floats float_range,
  nocase citext, kv hstore, anycase text COLLATE ignore_case, de text COLLATE german, rel regclass, lsn pg_lsn, ref oid,
  twice numeric GENERATED ALWAYS AS (whole::numeric * 2) STORED, made timestamptz NOT NULL DEFAULT now(), note text DEFAULT 'it''s \n "x"');
INSERT INTO zoo (small, whole, big, exact, scaled, single, double, cash, yes, one, fixed, blanks, short, long, ident, raw, day, hour, hour_tz,
  moment, moment_tz, span, uid, doc, docb, path, markup, bits, more_bits, host, net, mac, mac8, pt, ln, seg, bx, pth, poly, circ, vec, ask,
  feeling, price, plus, deep, ints, words, moods, docs, span4, nums, times, days, several, floats, nocase, kv, anycase, de, rel, lsn, ref)
VALUES
 (-32768, -2147483648, -9223372036854775808, '-1e-1000', 0.1000, '-3.4028235e38', '-1.7976931348623157e308', '-92233720368547758.08', true, 'x', 'ab', 'ab  ',
  'a', 'line\nline' || chr(1) || U&'\+01F600' || U&'\+010FFFF' || U&'\FFFD', 'n', '\x0001ff27225c', '4713-01-01 BC', '24:00', '00:00+15:59',
  '4713-01-01 BC', '4713-01-01 00:00 BC UTC', '-178000000 years', '00000000-0000-0000-0000-000000000000', '{"b": 1.0, "a":1, "a" : 2}', '{"n": 1.00, "s": "\u00e9"}',
  '$.a[*] ? (@ > 1)', '<a>&amp;</a>', B'10101', B'1', '::1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(1e-300,-0)', '{1,-1,0}', '[(0,0),(1,1)]',
  '((1,1),(0,0))', '[(0,0),(1,0.1)]', '((0,0),(1,0),(0,1))', '<(0,0),0.1>', 'a:1 b:2A', 'a & !b',
  'happy', ROW(NULL, NULL), 1, 7, '{}', '{{a,"b,c"},{NULL,"NULL"}}', '{ok,NULL}', ARRAY['{"a":1}'::jsonb], 'empty', '[1.10,)', '[2020-01-01,infinity)', '[2020-01-01,2020-01-02)',
  '{[1,2),[5,6)}', '[0.1,0.2]', 'HeLLo', 'a=>NULL, b=>""', 'Straße', 'Ärger', 'pg_class', '16/B374D848', 4294967295),
 (32767, 2147483647, 9223372036854775807, 'NaN', NULL, 'NaN', '-0', '92233720368547758.07', false, '', '', '', '', '', '', '', 'infinity', '00:00', '23:59:59.999999-15:59',
  'infinity', '-infinity', '178000000 years 11 mons 1 day 0.000001 s', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', 'null', NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, '(NaN,Infinity)', NULL, NULL,
  NULL, NULL, NULL, NULL, '', '', 'sad', ROW(1.10, 'EUR'), NULL, 1, '[0:1]={1,2}', NULL, '{}', NULL, NULL, 'empty', NULL, NULL, '{}', NULL, 'hello', '', '', '', 'zoo', '0/0', 0),
 (0, 0, 0, 'Infinity', 1.5, '0.1', 5e-324, '0', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '5874897-12-31', NULL, NULL,
  '294276-12-31 23:59:59.999999', 'infinity', '1 mon -30 days', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE sales."Order.Items" ("Order" int, "Item ""no""" int, "SELECT" text, PRIMARY KEY ("Order", "Item ""no"""));
INSERT INTO sales."Order.Items" SELECT i / 3, i % 3, 'v' || i FROM generate_series(1, 50) i;
CREATE TABLE "Odd.Schema ""x""".plain (a int, b text);
INSERT INTO "Odd.Schema ""x""".plain VALUES (1, 'x'), (2, 'y'), (1, 'x'), (NULL, NULL);
CREATE TABLE "Grüße" ("é" text PRIMARY KEY, "${'x'.repeat(60)}" int);
INSERT INTO "Grüße" VALUES ('a', 1), ('á', 2);

CREATE TABLE event (id int, at date NOT NULL, what text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (MINVALUE) TO ('2020-01-01') PARTITION BY LIST (id);
CREATE TABLE event_1a PARTITION OF event_1 DEFAULT;
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE INDEX event_what ON event (what);
CREATE INDEX event_2_only ON event_2 (lower(what));
INSERT INTO event SELECT i, date '2019-12-01' + i, 'e' || i FROM generate_series(1, 60) i;
CREATE TABLE parent (id int PRIMARY KEY, a text);
CREATE TABLE child (b text) INHERITS (parent);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c', 'x');

CREATE TABLE author (id serial PRIMARY KEY, best int, name text NOT NULL UNIQUE);
CREATE TABLE book (id int GENERATED BY DEFAULT AS IDENTITY (START 1000 INCREMENT 5) PRIMARY KEY, author int NOT NULL REFERENCES author ON DELETE CASCADE,
  title text CHECK (title <> ''), during tstzrange, EXCLUDE USING gist (during WITH &&));
ALTER TABLE author ADD CONSTRAINT author_best FOREIGN KEY (best) REFERENCES book DEFERRABLE INITIALLY DEFERRED;
INSERT INTO author (name) VALUES ('Ann'), ('Bob');
INSERT INTO book (author, title) VALUES (1, 'One'), (2, 'Two');
UPDATE author SET best = (SELECT min(id) FROM book WHERE author = author.id);
CREATE UNIQUE INDEX book_title ON book (lower(title)) WHERE title IS NOT NULL;
ALTER TABLE book ENABLE ROW LEVEL SECURITY;
ALTER TABLE book FORCE ROW LEVEL SECURITY;
CREATE POLICY only_short ON book USING (length(title) < 10);

CREATE FUNCTION slug(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(t) $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.made := now(); RETURN NEW; END $$;
CREATE PROCEDURE sales.tidy() LANGUAGE sql AS $$ SELECT 1 $$;
CREATE AGGREGATE joined(text) (SFUNC = textcat, STYPE = text, INITCOND = '');
CREATE TRIGGER stamped BEFORE UPDATE ON zoo FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE zoo DISABLE TRIGGER stamped;
CREATE VIEW cheap AS SELECT id, title FROM book WHERE id < 2000;
CREATE MATERIALIZED VIEW titles AS SELECT author, count(*) AS n FROM book GROUP BY author;
CREATE UNIQUE INDEX titles_author ON titles (author);
CREATE SEQUENCE order_no AS int START 5 INCREMENT -5 MINVALUE -1000 MAXVALUE 100 CYCLE;
SELECT nextval('order_no');
CREATE UNLOGGED TABLE scratchpad (t text);
INSERT INTO scratchpad VALUES ('x');
CREATE TABLE planes (plane int PRIMARY KEY, t text);
INSERT INTO planes VALUES ${PLANES};
CREATE TABLE wide (${Array.from({ length: 1600 }, (_, i) => `c${i} smallint`).join(', ')});
INSERT INTO wide (c0, c799, c1599) VALUES (1, 2, 3), (NULL, 5, 6);
SELECT lo_from_bytea(4711, decode(repeat('00ff', 5000), 'hex'));
SELECT lo_from_bytea(4712, '');
CREATE TABLE backout_own (x int);
`
