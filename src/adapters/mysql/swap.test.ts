import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import type { Backup } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import type { Engine, Image, Job } from '../../data/engine.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'
import { besideName } from './image.ts'
import { swap } from './swap.ts'

const why = noMariadb()

const SHOP = [
  `CREATE TABLE customers (id int AUTO_INCREMENT PRIMARY KEY, name varchar(50), UNIQUE KEY (name)) ENGINE=InnoDB`,
  `CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, customer int, total decimal(8,2), FOREIGN KEY (customer) REFERENCES customers (id)) ENGINE=InnoDB`,
  `CREATE TABLE log (what varchar(50)) ENGINE=InnoDB`,
  `CREATE SEQUENCE numbers START WITH 100 CACHE 10`,
  `CREATE TRIGGER on_order AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES (CONCAT('order ', NEW.id))`,
  `CREATE VIEW z_big AS SELECT * FROM orders WHERE total > 10`,
  `CREATE VIEW a_named AS SELECT z_big.id, customers.name FROM z_big JOIN customers ON customers.id = z_big.customer`,
  `CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n * 2`,
  `CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 03:00:00' DO DELETE FROM log`,
  `INSERT INTO customers (name) VALUES ('Ada'), ('Grace')`,
  `INSERT INTO orders (customer, total) VALUES (1, 5), (1, 15), (2, 25)`,
]
const RELEASE = [
  'DROP TRIGGER on_order',
  `CREATE TRIGGER on_order2 BEFORE INSERT ON orders FOR EACH ROW SET NEW.total = NEW.total + 1`,
  'ALTER TABLE orders ADD COLUMN note varchar(20)',
  'CREATE TABLE extra (id int PRIMARY KEY, order_id int, FOREIGN KEY (order_id) REFERENCES orders (id)) ENGINE=InnoDB',
  'CREATE VIEW only_new AS SELECT note FROM orders',
  'DROP VIEW a_named',
  // Keeps an old name alive.
  'ALTER TABLE log RENAME TO log_data',
  'CREATE VIEW log AS SELECT what FROM log_data',
  'CREATE VIEW a_log AS SELECT what FROM log',
  `CREATE OR REPLACE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n * 3`,
  `ALTER EVENT nightly ON SCHEDULE EVERY 2 DAY STARTS '2036-01-01 03:00:00'`,
  `INSERT INTO orders (customer, total) VALUES (2, 35), (2, 45)`,
  `DELETE FROM orders WHERE id = 5`,
  `SELECT NEXTVAL(numbers)`,
]

describe.skipIf(why !== null)(
  `C13: a restored MariaDB takes the place${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let server: Mariadb
    let dir: string
    let engine: Engine
    let backup: Backup
    let before: unknown
    let after: unknown
    const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }
    const settings = () =>
      mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'shop', busyLimit: '1s' })
    const content = (of: Pick<Image, 'reading'>) =>
      of.reading(job.signal, async db => {
        const schema = await db.schema()
        return { schema, data: await db.fingerprint(schema) }
      })
    const fresh = async () => {
      const left = await server.sql(`SHOW DATABASES LIKE 'shop%'`)
      const drops = left.map(row => `DROP DATABASE ${String(Object.values(row)[0])}`)
      // What a test that failed left open must not hang all that come after it.
      await server.sql('SET foreign_key_checks = 0', 'SET lock_wait_timeout = 10', ...drops)
      await server.sql('CREATE DATABASE shop', 'USE shop', ...SHOP)
    }

    beforeAll(async () => {
      server = await mariadb()
      dir = await mkdtemp(join(tmpdir(), 'backout-mysql-'))
      engine = mysqlEngine(settings(), '/')
      await fresh()
      const { dumped } = await engine.dump(dir, job, async () => null)
      backup = { id: 'b1', dir, facts: toJson({ dump: dumped }) } as unknown as Backup
      before = await content(engine)
      await server.sql('USE shop', ...RELEASE)
      after = await content(engine)
    })
    afterAll(async () => {
      await rm(dir, { recursive: true, force: true })
      await server?.dispose()
    })
    beforeEach(async () => {
      await fresh()
      await server.sql('USE shop', ...RELEASE)
    })

    const expectSwapped = async (mark: string) => {
      expect(await content(engine)).toEqual(before)
      const kept = await engine.kept(mark, job.signal)
      expect(kept === null ? null : await content(kept)).toEqual(after)
      await server.sql('USE shop', 'INSERT INTO orders (customer, total) VALUES (1, 99)')
      const [row] = await server.sql('USE shop', 'SELECT MAX(id) AS id, NEXTVAL(numbers) AS n FROM orders')
      expect(Number(row?.['id'])).toBe(6)
      expect(Number(row?.['n'])).toBeGreaterThan(109)
      const [{ n } = { n: null }] = await server.sql('USE shop', `SELECT COUNT(*) AS n FROM log WHERE what = 'order 6'`)
      expect(n).toBe(1)
      const events = await server.sql(
        `SELECT EVENT_SCHEMA AS s, STATUS AS is_ FROM information_schema.EVENTS ORDER BY 1`,
      )
      expect(events.map(e => `${String(e['s']).slice(0, 9)} ${String(e['is_'])}`)).toEqual([
        'shop ENABLED',
        'shop_back DISABLED',
      ])
    }

    it('whole, keeps what was there, and issues no number twice', async () => {
      await engine.beside(backup, 'swap', 'm1', job)
      expect(await engine.kept('m1', job.signal)).toBeNull()
      await engine.swap('m1', job)
      await expectSwapped('m1')
      expect(await engine.found('swap', 'm1', job.signal)).toBeNull()
      await engine.swap('m1', job)
      expect(await engine.kept('m1', job.signal)).not.toBeNull()
    })

    it('ends the sessions of others, and says who is there', async () => {
      const other = await createConnection({ socketPath: server.socket, user: 'root', database: 'shop' })
      other.on('error', () => {})
      await other.query('BEGIN')
      await other.query("INSERT INTO log VALUES ('not committed')")
      // The server tells of transactions what it knew when it was asked within the tenth of a second before.
      await expect
        .poll(() => engine.holders(job.signal), { interval: 150, timeout: 10_000 })
        .toMatchObject([{ id: String(other.threadId), busy: true, text: expect.stringContaining('root') }])
      await engine.beside(backup, 'swap', 'm2', job)
      await engine.swap('m2', job)
      await expect(other.query('SELECT 1')).rejects.toThrow()
      await expectSwapped('m2')
    })

    it('leaves the old one in place where somebody cannot be ended', async () => {
      await server.sql(
        "CREATE OR REPLACE USER app IDENTIFIED BY 'word'",
        'GRANT ALL ON `shop%`.* TO app',
        'GRANT PROCESS, BINLOG ADMIN, SUPER ON *.* TO app',
        'REVOKE SUPER ON *.* FROM app',
        'GRANT SET USER ON *.* TO app',
      )
      const weak = mysqlEngine(
        mysqlSettings.parse({ ...settings(), user: 'app', password: 'word', busyLimit: '1s', connectLimit: '5s' }),
        '/',
      )
      const other = await createConnection({ socketPath: server.socket, user: 'root', database: 'shop' })
      await engine.beside(backup, 'swap', 'm3', job)
      await expect(weak.swap('m3', job)).rejects.toMatchObject({
        code: 'database_open',
        why: expect.stringContaining('root'),
      })
      await other.end()
      expect(await content(engine)).toEqual(after)
      expect(await engine.kept('m3', job.signal)).toBeNull()
      await engine.swap('m3', job)
      await expectSwapped('m3')
    })

    it('refuses where another database points into it', async () => {
      await server.sql(
        'CREATE DATABASE shop_else',
        'CREATE TABLE shop_else.t (c int, FOREIGN KEY (c) REFERENCES shop.customers (id)) ENGINE=InnoDB',
      )
      await engine.beside(backup, 'swap', 'm4', job)
      await expect(engine.swap('m4', job)).rejects.toMatchObject({ code: 'referenced_from_outside' })
      expect(await content(engine)).toEqual(after)
    })

    it('where views of the release no longer work, also the one under the name of a table', async () => {
      await server.sql(
        'USE shop',
        'CREATE TABLE gone (x int)',
        'CREATE VIEW broken AS SELECT x FROM gone',
        'CREATE VIEW on_broken AS SELECT x FROM broken',
        'DROP TABLE gone',
        'DROP TABLE log_data',
      )
      await engine.beside(backup, 'swap', 'm6', job)
      const access = { server: settings(), baseDir: '/', connectLimit: 5_000, busyLimit: 1_000, own: new Set<number>() }
      const names = { database: 'shop', staged: besideName('shop', 'new', 'm6'), kept: besideName('shop', 'old', 'm6') }
      const refusing = (sql: string) => {
        if (sql.startsWith('RENAME TABLE')) throw new Error('refused')
      }
      await expect(swap({ ...names, access: { ...access, before: refusing } }, job)).rejects.toThrow('refused')
      expect(await engine.found('swap', 'm6', job.signal)).not.toBeNull()
      await engine.swap('m6', job)
      expect(await content(engine)).toEqual(before)
      const views = await server.sql(
        `SELECT TABLE_NAME AS v FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '${names.kept}' ORDER BY 1`,
      )
      expect(views.map(row => row['v'])).toEqual(['only_new', 'z_big'])
    })

    it('also where nothing is there any more', async () => {
      await engine.beside(backup, 'swap', 'm5', job)
      await server.sql('DROP DATABASE shop')
      await expect(content(engine)).rejects.toMatchObject({ code: 'database_missing' })
      await engine.swap('m5', job)
      expect(await content(engine)).toEqual(before)
    })

    it('is finished by the next call, at whatever statement the process died', async () => {
      const mark = 'dies'
      const names = { database: 'shop', staged: besideName('shop', 'new', mark), kept: besideName('shop', 'old', mark) }
      let statements = 0
      for (let deadAt = 1; ; deadAt++) {
        await fresh()
        await server.sql('USE shop', ...RELEASE)
        await engine.beside(backup, 'swap', mark, job)
        statements = 0
        const access = {
          server: settings(),
          baseDir: '/',
          connectLimit: 5_000,
          busyLimit: 1_000,
          own: new Set<number>(),
          before(sql: string) {
            if (!/^(SELECT|SET|USE|SHOW)/.test(sql) && ++statements >= deadAt) throw new Error('SIGKILL')
          },
        }
        const died = await swap({ ...names, access }, job).then(
          () => false,
          () => true,
        )
        if (!died) break
        const swapped = (await server.sql(`SHOW COLUMNS FROM shop.orders LIKE 'note'`)).length === 0
        const rows = await server.sql('SELECT COUNT(*) AS n FROM shop.orders')
        expect(rows[0]?.['n']).toBe(swapped ? 3 : 4)
        if ((await engine.kept(mark, job.signal)) === null && !swapped)
          expect(await engine.found('swap', mark, job.signal)).not.toBeNull()
        await engine.swap(mark, job)
        await expectSwapped(mark)
      }
      expect(statements).toBeGreaterThan(25)
    }, 600_000)
  },
)
