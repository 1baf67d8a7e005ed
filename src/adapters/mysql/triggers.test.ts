import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { Job } from '../../data/engine.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'
import { CARRIES } from './guard.ts'
import type { Access } from './session.ts'
import { played } from './test/merge.ts'
import { guardTriggers } from './triggers.ts'

const why = noMariadb()
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

const TABLES = [
  'CREATE TABLE o (id int PRIMARY KEY, v varchar(50), at varchar(20))',
  'CREATE TABLE log (what varchar(200))',
  'CREATE TABLE counted (id int PRIMARY KEY, many int)',
  'INSERT INTO counted VALUES (1, 2)',
  `INSERT INTO o VALUES (1, 'a', 'then'), (2, 'b', 'then')`,
]
const TRIGGERS = [
  `CREATE TRIGGER t2 AFTER INSERT ON o FOR EACH ROW INSERT INTO log VALUES (CONCAT('t2 ', NEW.id)) -- and so on`,
  `CREATE TRIGGER IF NOT EXISTS t3 AFTER INSERT ON o FOR EACH ROW FOLLOWS t2
  one: BEGIN
    IF NEW.id > 100 THEN LEAVE one; END IF;
    INSERT INTO log VALUES (CONCAT('t3 ', NEW.id, ';'));
  END one`,
  `CREATE TRIGGER t1 AFTER INSERT ON o FOR EACH ROW PRECEDES t2 UPDATE counted SET many = many + 1`,
  'CREATE TRIGGER t0 AFTER INSERT ON o FOR EACH ROW PRECEDES t1 `a b`: BEGIN LEAVE `a b`; END',
  `CREATE TRIGGER stamp BEFORE UPDATE ON o FOR EACH ROW SET NEW.at = 'by trigger'`,
  `CREATE TRIGGER gone AFTER DELETE ON o FOR EACH ROW
   UPDATE counted SET many = many - 1`,
]
/** Written by others, in other settings. */
const ODD = [
  "CREATE USER IF NOT EXISTS teller@localhost IDENTIFIED BY 'a word'",
  `SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', character_set_client = latin1, collation_connection = latin1_german1_ci`,
  `CREATE DEFINER = teller@localhost TRIGGER "odd ""one""" BEFORE INSERT ON counted FOR EACH ROW SET NEW."many" = NEW."many" + LENGTH('\\')`,
  `SET sql_mode = 'ORACLE', character_set_client = utf8mb4, collation_connection = utf8mb4_bin`,
  `CREATE TRIGGER oracle AFTER UPDATE ON counted FOR EACH ROW
   DECLARE n int := 1;
   BEGIN
     IF :NEW.many > 100 THEN INSERT INTO log VALUES ('many'); END IF;
   END;`,
]

describe.skipIf(why !== null)(
  `triggers of MariaDB while data is carried${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let server: Mariadb
    beforeAll(async () => {
      server = await mariadb()
    })
    afterAll(() => server?.dispose())

    /** All that the server says of them, but for the time at which they were made. */
    const triggersOf = async (database: string) => {
      const rows = await server.sql(
        `SELECT * FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '${database}'
       ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER`,
      )
      const shown: Record<string, unknown>[] = []
      for (const row of rows) {
        const name = String(row['TRIGGER_NAME']).replaceAll('`', '``')
        const [made] = await server.sql(`USE ${database}`, `SHOW CREATE TRIGGER \`${name}\``)
        // Nor for a word that says nothing of a trigger that is there, and for spaces before the body of one of several.
        const sql = String(made?.['SQL Original Statement'])
          .replace('IF NOT EXISTS ', '')
          .replace(/(EACH ROW)\s+/, '$1 ')
        shown.push({ ...row, ...made, 'SQL Original Statement': sql, CREATED: null, Created: null })
      }
      return shown
    }

    it('do not do again what was carried, and are there afterwards as they were', async () => {
      const merge = await played(server, {
        base: [...TABLES, ...TRIGGERS, ...ODD],
        early: [],
        release: [{ sql: 'ALTER TABLE o ADD COLUMN x int' }],
        meanwhile: [],
        writes: [
          `INSERT INTO o (id, v, at) VALUES (3, 'c', 'u')`,
          `UPDATE o SET v = 'aa' WHERE id = 1`,
          'DELETE FROM o WHERE id = 2',
        ],
        after: [],
        told: true,
      })
      try {
        const before = await triggersOf(merge.names.ours)
        expect(before).toHaveLength(8)
        const theirs = await merge.dump('theirs')
        const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
        expect(outcome.proof).toMatchObject({ ok: true, problems: [], listed: 0 })
        const ours = await merge.dump('ours')
        expect([ours['log'], ours['counted']]).toEqual([theirs['log'], theirs['counted']])
        expect(ours['o']).toEqual(theirs['o']?.map(row => ({ id: row['id'], v: row['v'], at: row['at'] })))
        expect(await triggersOf(merge.names.ours)).toEqual(before)
        await server.sql(`INSERT INTO ${merge.names.ours}.o VALUES (9, 'z', 'z')`)
        const log = await server.sql(`SELECT what FROM ${merge.names.ours}.log WHERE what LIKE '%9%' ORDER BY 1`)
        expect(log.map(row => row['what'])).toEqual(['t2 9', 't3 9;'])
      } finally {
        await merge.dispose()
      }
    })

    describe('guarded', () => {
      const access = (): Access => ({
        server: mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'shop' }),
        baseDir: '/',
        connectLimit: 5_000,
        busyLimit: 1_000,
        own: new Set(),
      })
      const engine = () =>
        mysqlEngine(mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'shop' }), '/')
      const schemaNow = () => engine().reading(job.signal, db => db.schema())
      const log = async () => (await server.sql('SELECT what FROM shop.log')).map(row => row['what'])
      beforeEach(async () => {
        await server.sql(
          'CREATE OR REPLACE DATABASE shop CHARACTER SET utf8mb4',
          'USE shop',
          ...TABLES,
          ...TRIGGERS,
          ...ODD,
        )
      })

      it('they fire for all but the session that carries, in their order, and read as they are written', async () => {
        const [before, schema] = [await triggersOf('shop'), await schemaNow()]
        await guardTriggers(access(), 'shop', true, job.signal)
        const now = await triggersOf('shop')
        expect(now.map(t => t['ACTION_ORDER'])).toEqual(before.map(t => t['ACTION_ORDER']))
        expect(now.filter(t => !String(t['ACTION_STATEMENT']).includes(CARRIES))).toEqual([])
        expect(await schemaNow()).toEqual(schema)
        await server.sql(
          'USE shop',
          `SET ${CARRIES} = 1`,
          `INSERT INTO o VALUES (8, '', '')`,
          'UPDATE counted SET many = 1000',
        )
        expect(await log()).toEqual([])
        await server.sql('USE shop', `INSERT INTO o VALUES (9, '', '')`)
        expect(await log()).toEqual(['many', 't2 9', 't3 9;'])
        await guardTriggers(access(), 'shop', false, job.signal)
        expect(await triggersOf('shop')).toEqual(before)
      })

      it('they are so again by whoever carries next, wherever a process was killed', async () => {
        const before = await triggersOf('shop')
        for (let deadAt = 1, died = true; died; deadAt++) {
          let statements = 0
          const dying = (sql: string) => {
            if (sql.startsWith('CREATE') && ++statements >= deadAt) throw new Error('SIGKILL')
          }
          const merger = await engine().merging(null, job)
          for (const quiet of [true, false]) {
            await guardTriggers({ ...access(), before: dying }, 'shop', quiet, job.signal).catch(() => {})
          }
          died = statements >= deadAt
          await merger.transaction(() => merger.run(`INSERT INTO o VALUES (${deadAt + 20}, '', '')`))
          await merger.sequences()
          await merger[Symbol.asyncDispose]()
          expect(await triggersOf('shop')).toEqual(before)
          expect(await log()).toEqual([])
        }
      })

      it('are not said to fire, unless somebody makes one meanwhile', async () => {
        const fired = async (meanwhile: string) => {
          await using merger = await engine().merging(null, job)
          const before = await merger.fires?.()
          await merger.transaction(() => merger.run('UPDATE counted SET many = 3'))
          await server.sql('USE shop', meanwhile)
          await merger.sequences()
          return [before, await merger.fires?.()]
        }
        expect(await fired('DO 0')).toEqual([false, false])
        const late = `CREATE TRIGGER late AFTER UPDATE ON counted FOR EACH ROW INSERT INTO log VALUES ('late')`
        expect(await fired(late)).toEqual([false, true])
      })

      it('they are as they were where carrying failed', async () => {
        const before = await triggersOf('shop')
        const failing = async () => {
          await using merger = await engine().merging(null, job)
          await merger.transaction(() => merger.run('UPDATE nowhere SET x = 1'))
        }
        await expect(failing()).rejects.toThrow()
        expect(await triggersOf('shop')).toEqual(before)
      })
    })
  },
)
