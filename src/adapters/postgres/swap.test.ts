import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { compareSchemas } from '../../data/schema.ts'
import { propertiesOf } from './properties.ts'
import { backUp, engineOf, job, look, never, openOn, seen } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing !== null) return
  server = await postgresServer()
  await server.sql(['CREATE ROLE shop LOGIN', `CREATE ROLE app LOGIN PASSWORD 'not-a-secret-of-anybody'`])
})
afterAll(() => server?.dispose())

const SHOP = `CREATE TABLE orders (id serial PRIMARY KEY, what text); CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz);
  INSERT INTO orders (what) SELECT 'o' || i FROM generate_series(1, 10) i; INSERT INTO log (at) VALUES (now());
  CREATE SEQUENCE down INCREMENT -1; SELECT nextval('down');
  ALTER TABLE orders OWNER TO shop; GRANT SELECT, INSERT ON orders TO app; GRANT USAGE ON SEQUENCE orders_id_seq TO app`

async function shop(name: string): Promise<void> {
  await server.sql([
    `CREATE DATABASE ${name} OWNER shop TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'`,
    `ALTER DATABASE ${name} SET search_path = "$user", public`,
    `ALTER DATABASE ${name} SET "app.mode" = 'it''s on'`,
    `ALTER ROLE app IN DATABASE ${name} SET statement_timeout = '5s'`,
    `REVOKE ALL ON DATABASE ${name} FROM PUBLIC`,
    `GRANT CONNECT ON DATABASE ${name} TO app`,
    `COMMENT ON DATABASE ${name} IS 'the shop'`,
  ])
  await server.sql(SHOP, name)
}

const databases = async () =>
  (await server.sql(`SELECT datname FROM pg_database WHERE datname LIKE 'backout%'`)).map(row => String(row['datname']))

describe.skipIf(missing !== null)(
  `C13: a restore into the place of a PostgreSQL database${missing ? ` (${missing})` : ''}`,
  () => {
    it('swaps, keeps the old one, and everything that the database itself was', async () => {
      await shop('one')
      const engine = engineOf(server, 'one')
      const { backup, read } = await backUp(engine)
      const identity = await engine.identity(never)
      const before = await openOn(server, session => propertiesOf(session, 'one'))
      await server.sql(
        `ALTER TABLE orders ADD discount int; INSERT INTO orders (what) SELECT 'new' FROM generate_series(1, 5)`,
        'one',
      )
      const left = await look(engine)
      expect(await engine.kept('r1', never)).toBeNull()
      await using beside = await engine.beside(backup, 'swap', 'r1', job)
      expect(compareFingerprints(read.data, (await beside.reading(never, seen)).data)).toEqual([])
      await engine.swap('r1', job)
      const now = await look(engine)
      expect(compareSchemas(read.schema, now.schema)).toEqual([])
      expect(compareFingerprints(read.data, now.data)).toEqual([])
      expect(await openOn(server, session => propertiesOf(session, 'one'))).toEqual(before)
      expect(await engine.identity(never)).toBe(identity)
      expect(
        await server.sql(
          `SELECT relowner::regrole::text AS o, has_table_privilege('app', 'orders', 'INSERT') AS p FROM pg_class WHERE relname = 'orders'`,
          'one',
        ),
      ).toEqual([{ o: 'shop', p: true }])
      const kept = await engine.kept('r1', never)
      expect(compareFingerprints(left.data, (await kept?.reading(never, seen))?.data ?? left.data)).toEqual([])
      expect(await engine.found('swap', 'r1', never)).toBeNull()
      // Again is nothing.
      await engine.swap('r1', job)
      expect((await databases()).length).toBe(1)
    })

    it('issues no number twice, also of a sequence that the release renamed', async () => {
      await shop('two')
      const engine = engineOf(server, 'two')
      const { backup } = await backUp(engine)
      await server.sql(
        [
          `SELECT nextval('orders_id_seq') FROM generate_series(1, 90)`,
          'ALTER SEQUENCE orders_id_seq RENAME TO purchases_id_seq',
          `INSERT INTO log (at) SELECT now() FROM generate_series(1, 4)`,
          `SELECT nextval('down'), nextval('down')`,
        ],
        'two',
      )
      await engine.beside(backup, 'swap', 'r2', job)
      await engine.swap('r2', job)
      const next = `SELECT nextval('orders_id_seq')::int AS a, nextval('log_id_seq')::int AS b, nextval('down')::int AS c`
      expect(await server.sql(next, 'two')).toEqual([{ a: 101, b: 6, c: -4 }])
    })

    it('ends sessions of others, and lets nobody in between', async () => {
      await shop('three')
      const engine = engineOf(server, 'three')
      const { backup } = await backUp(engine)
      await engine.beside(backup, 'swap', 'r3', job)
      const idle = await server.connect('three', 'app')
      const open = await server.connect('three', 'app')
      await open.query('BEGIN; SELECT 1')
      const told = (await engine.holders(never)).map(h => `${h.busy} ${h.text.replace(/ since.*/, '')}`)
      expect(told.sort()).toEqual([
        'false app (no name) from 127.0.0.1, idle',
        'true app (no name) from 127.0.0.1, idle in transaction',
      ])
      const stop = new AbortController()
      const [acknowledged, knocking] = [new Set<string>(), [] as Promise<void>[]]
      const knock = async (n: number) => {
        for (let i = 0; !stop.signal.aborted; i++) {
          const client = await server.connect('three', 'app').catch(() => null)
          const what = `w${n}-${i}`
          await client?.query('INSERT INTO orders (what) VALUES ($1)', [what]).then(
            () => acknowledged.add(what),
            () => {},
          )
          await client?.end().catch(() => {})
        }
      }
      for (let n = 0; n < 3; n++) knocking.push(knock(n))
      await engine.swap('r3', job)
      stop.abort()
      await Promise.all(knocking)
      const kept = await engine.kept('r3', never)
      const words = async (db: { query(sql: string): Promise<Record<string, unknown>[]> }) =>
        (await db.query(`SELECT what FROM orders WHERE what LIKE 'w%'`)).map(row => String(row['what']))
      const found = [...((await kept?.reading(never, words)) ?? []), ...(await engine.reading(never, words))]
      expect(found.sort()).toEqual([...acknowledged].sort())
      await expect(idle.query('SELECT 1')).rejects.toThrow()
      await Promise.all([idle, open].map(client => client.end().catch(() => {})))
    })

    it('does nothing where a prepared transaction is left, and says which', async () => {
      await shop('four')
      const engine = engineOf(server, 'four')
      const { backup } = await backUp(engine)
      await engine.beside(backup, 'swap', 'r4', job)
      await server.sql([`BEGIN`, `INSERT INTO orders (what) VALUES ('p')`, `PREPARE TRANSACTION 'pay-7'`], 'four')
      expect((await engine.holders(never)).map(h => h.id)).toContain('pay-7')
      await expect(engine.swap('r4', job)).rejects.toMatchObject({
        code: 'database_open',
        why: expect.stringContaining('pay-7') as string,
      })
      await server.sql(`ROLLBACK PREPARED 'pay-7'`, 'four')
      await engine.swap('r4', job)
      expect(await engine.kept('r4', never)).not.toBeNull()
    })

    it('says who is in the way where the role may not end them', async () => {
      await server.sql([
        `CREATE ROLE keeper LOGIN CREATEDB PASSWORD 'not-a-secret-of-anybody'`,
        'CREATE DATABASE five OWNER keeper',
      ])
      const engine = engineOf(server, 'five', { user: 'keeper' })
      const own = await server.connect('five', 'keeper')
      await own.query('CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)')
      await own.end()
      const { backup, dumped } = await backUp(engine)
      expect(dumped.covers.length).toBeGreaterThan(0)
      await engine.beside(backup, 'swap', 'r5', job)
      const admin = await server.connect('five')
      await expect(engine.swap('r5', job)).rejects.toMatchObject({
        code: 'database_open',
        why: expect.stringContaining('postgres (no name)') as string,
      })
      expect((await look(engine)).data.tables['t']?.rows).toBe(1)
      await admin.end()
      await engine.swap('r5', job)
      expect(await engine.kept('r5', never)).not.toBeNull()
    })

    it('takes up what a process that died between the renames left', async () => {
      await shop('six')
      const engine = engineOf(server, 'six')
      const { backup, read } = await backUp(engine)
      await server.sql(`SELECT nextval('orders_id_seq') FROM generate_series(1, 90)`, 'six')
      await engine.beside(backup, 'swap', 'r6', job)
      // The second write of the swap: the old one is set aside by then, and nothing is in its place.
      let writes = 0
      const dies = {
        ...job,
        guard: () => {
          if (++writes === 2) throw new Error('killed')
        },
      }
      await expect(engine.swap('r6', dies)).rejects.toThrow('killed')
      expect((await look(engine)).data.tables['orders']?.rows).toBe(10)
      const kept = (await databases()).find(name => name.startsWith('backout_swap_six'))?.replace('swap', 'kept') ?? ''
      await server.sql(`ALTER DATABASE six RENAME TO "${kept}"`)
      // Until it is finished, what was set aside is what there is.
      expect((await look(engine)).data.tables['orders']?.rows).toBe(10)
      expect(await engine.kept('r6', never)).toBeNull()
      await engine.swap('r6', job)
      expect(compareFingerprints(read.data, (await look(engine)).data)).toEqual([])
      expect(await server.sql(`SELECT nextval('orders_id_seq')::int AS a`, 'six')).toEqual([{ a: 101 }])
      expect(await engine.kept('r6', never)).not.toBeNull()
    })

    it('puts a database where there is none any more, and refuses without a copy', async () => {
      await shop('seven')
      const engine = engineOf(server, 'seven')
      const { backup, read } = await backUp(engine)
      await expect(engine.swap('r7', job)).rejects.toMatchObject({ code: 'nothing_loaded' })
      await server.sql('DROP DATABASE seven WITH (FORCE)')
      await engine.beside(backup, 'swap', 'r7', job)
      await engine.swap('r7', job)
      expect(compareFingerprints(read.data, (await look(engine)).data)).toEqual([])
      await engine.beside(backup, 'swap', 'r7', job)
      await engine.swap('r7', job).catch(() => {})
    })

    it('refuses to swap twice under one mark', async () => {
      await shop('eight')
      const engine = engineOf(server, 'eight')
      const { backup } = await backUp(engine)
      await engine.beside(backup, 'swap', 'r8', job)
      await engine.swap('r8', job)
      await engine.beside(backup, 'swap', 'r8', job)
      await expect(engine.swap('r8', job)).rejects.toMatchObject({ code: 'restored_and_changed' })
    })
  },
)
