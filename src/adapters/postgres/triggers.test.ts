import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { carryForward } from '../../data/carry/step.ts'
import { type Played, played, type Story } from './test/merge.ts'
import { engineOf, job } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing !== null) return
  server = await postgresServer()
  await server.sql(`CREATE ROLE keeper LOGIN CREATEDB PASSWORD '${PASSWORD}'`)
})
afterAll(() => server?.dispose())

const stamped = `at timestamptz NOT NULL DEFAULT '2020-01-01Z'`
const body = (sql: string) => `RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${sql} END $$`
const on = (event: string, run: string) => `${event} FOR EACH ROW EXECUTE FUNCTION ${run}()`

/** An application that marks when rows were changed, sends mail for orders, and refuses some. */
const SHOP: Story = {
  base: [
    `CREATE TABLE customers (id int PRIMARY KEY, name text, ${stamped})`,
    `CREATE TABLE orders (id int PRIMARY KEY, total int, ${stamped},
      customer int REFERENCES customers ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)`,
    'CREATE TABLE mails (id serial PRIMARY KEY, what int)',
    `INSERT INTO customers VALUES (1, 'ann'), (2, 'bob'), (3, 'eve')`,
    `INSERT INTO orders (id, total, customer) VALUES (1, 10, 1), (2, 20, 2), (3, 30, 3)`,
    `CREATE FUNCTION touch() ${body('NEW.at := now(); RETURN NEW;')}`,
    `CREATE FUNCTION mail() ${body('INSERT INTO mails (what) VALUES (NEW.id); RETURN NULL;')}`,
    `CREATE FUNCTION refuse() ${body(`RAISE 'refused';`)}`,
    `CREATE TRIGGER touch ${on('BEFORE UPDATE ON customers', 'touch')}`,
    `CREATE TRIGGER touch ${on('BEFORE UPDATE ON orders', 'touch')}`,
    `CREATE TRIGGER "Mail" ${on('AFTER INSERT ON orders', 'mail')}`,
    `CREATE TRIGGER off ${on('BEFORE INSERT OR UPDATE ON orders', 'refuse')}`,
    'ALTER TABLE orders DISABLE TRIGGER off',
    `CREATE TRIGGER copies ${on('BEFORE INSERT OR UPDATE ON orders', 'refuse')}`,
    'ALTER TABLE orders ENABLE REPLICA TRIGGER copies',
    `CREATE CONSTRAINT TRIGGER late AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id > 8) EXECUTE FUNCTION refuse()`,
  ],
  release: [{ sql: 'DROP TRIGGER late ON orders' }],
  writes: [
    `UPDATE customers SET name = 'anna' WHERE id = 1`,
    'UPDATE orders SET total = 21 WHERE id = 2',
    `INSERT INTO customers VALUES (4, 'kim')`,
    'INSERT INTO orders (id, total, customer) VALUES (9, 90, 4)',
    'DELETE FROM orders WHERE id = 3',
  ],
  after: [],
  told: true,
}

const ALL = ['customers', 'orders', 'mails']
const rowsOf = (database: string) =>
  Promise.all(ALL.map(name => server.sql(`SELECT ${name}::text AS is FROM ${name} ORDER BY id`, database)))
const triggersOf = (database: string) =>
  server.sql(
    `SELECT tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text AS is FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1`,
    database,
  )

/** The live database of a story, owned by a role that is no superuser; and a merge of that role's in it. */
async function asKeeper(merge: Played, tables: readonly string[]) {
  await server.sql(`ALTER DATABASE ${merge.ours} OWNER TO keeper`)
  await server.sql(
    ['GRANT ALL ON SCHEMA public TO keeper', ...tables.map(t => `ALTER TABLE ${t} OWNER TO keeper`)],
    merge.ours,
  )
  const engine = engineOf(server, merge.ours, { user: 'keeper', lockLimit: '2s' })
  const merging = (given: typeof job) => engine.merging(merge.source.images, given)
  return { ...merge.source, dialect: engine.dialect, merging }
}

describe.skipIf(missing !== null)(`C14: triggers of PostgreSQL${missing === null ? '' : ` (${missing})`}`, () => {
  it('do not fire for what is carried by a role that owns the tables and is no superuser', async () => {
    const merge = await played(server, SHOP)
    try {
      const source = await asKeeper(merge, ALL)
      const before = await triggersOf(merge.ours)
      const { proof } = await carryForward(source, NOTHING_SAID, job)
      expect(proof).toMatchObject({ ok: true, listed: 0 })
      expect(await rowsOf(merge.ours)).toEqual(await rowsOf(merge.names[2]))
      expect(await triggersOf(merge.ours)).toEqual(before)
      await expect(server.sql('INSERT INTO orders (id) VALUES (10)', merge.ours)).rejects.toThrow('refused')
    } finally {
      await merge.dispose()
    }
  })

  it('are said to fire where the role owns not all tables that have some', async () => {
    const merge = await played(server, SHOP)
    try {
      const firing = async (tables: readonly string[]) => {
        await using merger = await (await asKeeper(merge, tables)).merging(job)
        return await merger.fires?.()
      }
      expect([await firing(['customers']), await firing(ALL)]).toEqual([true, false])
    } finally {
      await merge.dispose()
    }
  })

  it.each(['a superuser', 'the owner'])(
    'do not fire for %s where they are told to fire always or for replicas, and neither do rules',
    async who => {
      const merge = await played(server, {
        ...SHOP,
        base: [
          ...SHOP.base,
          'ALTER TABLE orders ENABLE ALWAYS TRIGGER "Mail"',
          'CREATE RULE also AS ON INSERT TO customers DO ALSO INSERT INTO mails (what) VALUES (0)',
          'CREATE RULE always AS ON UPDATE TO customers DO ALSO INSERT INTO mails (what) VALUES (-1)',
          'ALTER TABLE customers ENABLE ALWAYS RULE always',
        ],
      })
      const rulesOf = () =>
        server.sql(
          `SELECT rulename || ' ' || ev_enabled::text AS is FROM pg_rewrite WHERE ev_class = 'customers'::regclass ORDER BY 1`,
          merge.ours,
        )
      try {
        const source = who === 'the owner' ? await asKeeper(merge, ALL) : merge.source
        const before = [await triggersOf(merge.ours), await rulesOf()]
        const { proof } = await carryForward(source, NOTHING_SAID, job)
        expect(proof).toMatchObject({ ok: true, listed: 0 })
        expect(await rowsOf(merge.ours)).toEqual(await rowsOf(merge.names[2]))
        expect([await triggersOf(merge.ours), await rulesOf()]).toEqual(before)
      } finally {
        await merge.dispose()
      }
    },
  )

  it('are left alone, and so are their writers, in tables that nothing is written to', async () => {
    const merge = await played(server, {
      ...SHOP,
      base: [
        ...SHOP.base,
        'CREATE TABLE visits (id int)',
        `CREATE TRIGGER seen ${on('AFTER INSERT ON visits', 'noted')}`,
      ].toSpliced(8, 0, `CREATE FUNCTION noted() ${body('RETURN NULL;')}`),
    })
    const visitor = await server.connect(merge.ours)
    try {
      const source = await asKeeper(merge, [...ALL, 'visits'])
      await visitor.query('BEGIN; INSERT INTO visits VALUES (1)')
      const { proof } = await carryForward(source, NOTHING_SAID, job)
      expect(proof).toMatchObject({ ok: true, listed: 0 })
      await visitor.query('COMMIT')
      expect(await rowsOf(merge.ours)).toEqual(await rowsOf(merge.names[2]))
    } finally {
      await visitor.end()
      await merge.dispose()
    }
  })

  it('do not fire where foreign keys write by themselves, nor again after a savepoint was taken back', async () => {
    const merge = await played(server, {
      ...SHOP,
      base: [
        ...SHOP.base,
        'CREATE TABLE lines (orders int REFERENCES orders ON DELETE SET NULL, id int PRIMARY KEY)',
        'INSERT INTO lines VALUES (1, 1), (1, 2), (2, 3)',
        'CREATE TABLE parts (id int, line int REFERENCES lines ON UPDATE CASCADE) PARTITION BY LIST (id)',
        'CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)',
        'INSERT INTO parts VALUES (1, 1)',
        `CREATE TRIGGER mail ${on('AFTER DELETE ON orders', 'gone')}`,
        `CREATE TRIGGER mail ${on('AFTER UPDATE ON lines', 'gone')}`,
        `CREATE TRIGGER mail ${on('AFTER UPDATE ON parts', 'gone')}`,
      ].toSpliced(8, 0, `CREATE FUNCTION gone() ${body('INSERT INTO mails (what) VALUES (0); RETURN NULL;')}`),
      writes: [],
    })
    const tables = [...ALL, 'lines', 'parts', 'parts_1']
    const count = async (from: string) =>
      (await server.sql(`SELECT count(*)::int AS n FROM ${from}`, merge.ours))[0]?.['n']
    try {
      const before = await triggersOf(merge.ours)
      const source = await asKeeper(merge, tables)
      await using merger = await source.merging(job)
      await merger.transaction(async () => {
        const undone = await merger.savepoint(async () => {
          await merger.run('DELETE FROM "public"."customers" AS o WHERE id = 1')
          throw new Error('refused')
        })
        expect(String(undone)).toContain('refused')
        await merger.run('DELETE FROM "public"."customers" AS o WHERE id = 1')
        await merger.run('UPDATE "public"."lines" AS o SET id = 10 WHERE id = 1')
      })
      expect(await count('orders WHERE customer = 1')).toBe(0)
      expect(await count('lines WHERE orders IS NULL')).toBe(2)
      expect(await count('parts WHERE line = 10')).toBe(1)
      expect(await count('mails')).toBe(0)
      expect(await triggersOf(merge.ours)).toEqual(before)
    } finally {
      await merge.dispose()
    }
  })
})
