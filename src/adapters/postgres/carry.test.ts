import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectNothingLost } from '../../../test/support/merge-oracle.ts'
import { type RandomStory, story } from '../../../test/support/merge-random.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry, planCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { dumpOf, listedIn, orphans, type Played, played, type Story } from './test/merge.ts'
import { job } from './test/support.ts'

const missing = noPostgres()
const RUNS = Number(process.env['BACKOUT_RANDOM_POSTGRES'] ?? 6)
let server: PostgresServer

beforeAll(async () => {
  if (missing === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

const SHOP: Story = {
  base: [
    `CREATE TYPE mood AS ENUM ('sad', 'ok')`,
    `CREATE TABLE customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text NOT NULL UNIQUE, feeling mood, best int)`,
    `CREATE TABLE orders (id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES customer ON DELETE CASCADE, total numeric(10,2),
      doc jsonb, at timestamptz DEFAULT '2020-01-01Z', twice numeric GENERATED ALWAYS AS (total * 2) STORED, raw bytea, f double precision, price numeric(10,2))`,
    `ALTER TABLE customer ADD FOREIGN KEY (best) REFERENCES orders DEFERRABLE`,
    `CREATE TABLE tag (a text, b uuid, v text, PRIMARY KEY (a, b))`,
    `CREATE TABLE bag (v numeric, w text)`,
    `CREATE TABLE part (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
    `CREATE TABLE part_old PARTITION OF part FOR VALUES FROM (MINVALUE) TO ('2020-01-01')`,
    `CREATE TABLE part_new PARTITION OF part FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)`,
    `CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a trigger fired'; END $$`,
    `INSERT INTO customer (mail, feeling) SELECT 'c' || i, 'ok' FROM generate_series(1, 300) i`,
    `INSERT INTO orders (customer, total, doc, raw, f) SELECT i, i / 7.0, jsonb_build_object('n', 1.00), '\\x00ff', i / 3.0 FROM generate_series(1, 300) i`,
    `UPDATE customer SET best = id WHERE id < 10`,
    `INSERT INTO tag SELECT 'k' || i, md5(i::text)::uuid, 'v' FROM generate_series(1, 100) i`,
    `INSERT INTO bag VALUES (1.0, 'x'), (1.0, 'x'), (1.00, 'x'), (2, NULL)`,
    `INSERT INTO part SELECT i, date '2019-12-20' + i, 'p' FROM generate_series(1, 30) i`,
    `CREATE TRIGGER loud BEFORE INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION loud()`,
  ],
  release: [
    { sql: `DROP TRIGGER loud ON orders` },
    { sql: `ALTER TYPE mood ADD VALUE 'happy'` },
    {
      sql: `ALTER TABLE customer RENAME mail TO email`,
      rename: { was: { table: 'customer', column: 'mail' }, now: { table: 'customer', column: 'email' } },
    },
    { sql: `ALTER TABLE orders ADD discount numeric DEFAULT 0` },
    { sql: `ALTER TABLE orders ALTER price TYPE numeric(12,4)` },
    { sql: `UPDATE orders SET doc = doc || '{"v": 2}' WHERE id <= 50` },
  ],
  writes: [
    `INSERT INTO customer (email, feeling) VALUES ('new1', 'ok'), ('new2', 'happy')`,
    `INSERT INTO orders (customer, total, discount, price) VALUES (301, 10.5, 1, 7.5), (5, 1.2, 0, 1.2345)`,
    `UPDATE customer SET best = 301, feeling = 'sad' WHERE id = 301`,
    `UPDATE orders SET f = '-0', raw = '\\x01' WHERE id = 7`,
    `UPDATE orders SET doc = '{"user": true}' WHERE id = 8`,
    `DELETE FROM orders WHERE id = 200`,
    `DELETE FROM tag WHERE a = 'k3'`,
    `UPDATE tag SET v = 'w' WHERE a = 'k4'`,
    `INSERT INTO bag VALUES (1.0, 'x'), (3, 'new')`,
    `DELETE FROM bag WHERE v = 2`,
    `UPDATE part SET at = '2020-02-01' WHERE id = 2`,
    `INSERT INTO part VALUES (99, '2019-01-01', 'old one')`,
  ],
  after: [],
  told: true,
}

describe.skipIf(missing !== null)(
  `C14: carrying forward into PostgreSQL${missing === null ? '' : ` (${missing})`}`,
  () => {
    it('brings back what users wrote, in every kind of table, and lists what does not fit', async () => {
      const merge = await played(server, SHOP)
      const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
      expect(outcome.proof.problems).toEqual([])
      const listed = await listedIn(merge.source, outcome)
      const rewritten = Array.from({ length: 50 }, (_, i) => i + 1).filter(id => id !== 8)
      const ambiguous = rewritten.map(id => `orders ${id} ambiguous`)
      expect(listed.map(l => `${l.table} ${Object.values(l.key).join()} ${l.kind}`).sort()).toEqual(
        ['customer 302 type', ...ambiguous, 'orders 302 type', 'orders 8 rewritten'].sort(),
      )
      const all = (sql: string) => server.sql(sql, merge.ours)
      expect(await all(`SELECT id::int, mail, feeling, best FROM customer WHERE id > 300`)).toEqual([
        { id: 301, mail: 'new1', feeling: 'sad', best: 301 },
      ])
      expect(await all(`SELECT total, twice, doc::text FROM orders WHERE id = 301`)).toEqual([
        { total: '10.50', twice: '21.00', doc: null },
      ])
      expect(await all(`SELECT f::text, raw::text FROM orders WHERE id = 7`)).toEqual([{ f: '-0', raw: '\\x01' }])
      expect(await all(`SELECT count(*)::int AS n FROM orders WHERE id = 200`)).toEqual([{ n: 0 }])
      expect(await all(`SELECT v::text, w FROM bag ORDER BY 1, 2`)).toEqual(
        ['1.0', '1.0', '1.0', '1.00'].map(v => ({ v, w: 'x' })).concat([{ v: '3', w: 'new' }]),
      )
      expect(await all(`SELECT tableoid::regclass::text AS t FROM part WHERE id IN (2, 99) ORDER BY id`)).toEqual([
        { t: 'part_new' },
        { t: 'part_old' },
      ])
      expect(await all(`SELECT nextval('orders_id_seq')::int AS a, nextval('customer_id_seq')::int AS b`)).toEqual([
        { a: 303, b: 303 },
      ])
      expect(await orphans(server, merge.ours)).toEqual([])
      const again = await applyCarry(merge.source, NOTHING_SAID, job)
      expect([again.carried, again.proof.problems]).toEqual([0, []])
      await merge.dispose()
    })

    it('loses no committed row of random stories without listing it, and touches nothing else', async () => {
      const check = async (random: RandomStory) => {
        const merge = await played(server, translated(random))
        try {
          await holds(merge)
        } finally {
          await merge.dispose()
        }
      }
      await fc.assert(fc.asyncProperty(story, check), { numRuns: RUNS, endOnFailure: true })
    }, 600_000)
  },
)

async function holds({ source, ours, names, renames }: Played): Promise<void> {
  const [base, , theirs] = names
  const before = await dumpOf(server, ours)
  const plan = await planCarry(source, NOTHING_SAID, job)
  expect(await dumpOf(server, ours, true)).toEqual(before)
  const outcome = await applyCarry(source, NOTHING_SAID, job, { hash: plan.hash, batch: 3 })
  expect(outcome.proof.problems).toEqual([])
  const world = {
    base: await dumpOf(server, base),
    own: null,
    theirs: await dumpOf(server, theirs),
    before,
    after: await dumpOf(server, ours),
    schemas: source.schemas,
    renames,
    listed: await listedIn(source, outcome),
  }
  for (const table of plan.tables) expectNothingLost(world, table)
  expect(await orphans(server, ours)).toEqual([])
  const done = await dumpOf(server, ours, true)
  const again = await applyCarry(source, NOTHING_SAID, job, { hash: plan.hash, batch: 3 })
  expect([again.carried, again.proof.problems]).toEqual([0, []])
  expect(await dumpOf(server, ours, true)).toEqual(done)
}

/** The stories are written for SQLite: in PostgreSQL's words. Whatever is refused then was never committed. */
function translated({ base, rows, early, release, meanwhile, writes, after, told }: RandomStory): Story {
  const say = (sql: string) =>
    sql
      // Where most of the stories' values get in.
      .replaceAll(/\bc1 (INTEGER|REAL|BLOB|NUMERIC|)(?= )/g, 'c1 text')
      .replaceAll(/\bBLOB\b/g, 'bytea')
      .replaceAll('VARCHAR(9) COLLATE NOCASE', 'varchar(9) COLLATE "C"')
      .replaceAll(/\b(c\d) {2}/g, '$1 timestamptz ')
      .replaceAll(/\bREAL\b/g, 'double precision')
      .replaceAll(`x'00ff'`, `'\\x00ff'`)
      .replaceAll(`'a' || char(0) || 'b'`, `'2020-01-01'`)
      .replaceAll(`c0 IS NOT 'b'`, `c0::text IS DISTINCT FROM 'b'`)
  return {
    base: [...base, ...rows].map(say),
    release: release.map(change => ({ ...change, sql: say(change.sql) })),
    early: early.map(say),
    meanwhile: meanwhile.map(say),
    writes: writes.map(say),
    after: after.map(say),
    told,
  }
}
