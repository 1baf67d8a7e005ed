import { createConnection } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { applyCarry, type CarryOutcome } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { Job } from '../../data/engine.ts'
import { listedIn, type Played, played } from './test/merge.ts'

const why = noMariadb()
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

const BASE = [
  'CREATE TABLE t (id int PRIMARY KEY, name varchar(20)) ENGINE=InnoDB',
  'CREATE TABLE log (id int) ENGINE=InnoDB',
  "INSERT INTO t SELECT seq, CONCAT('old ', seq) FROM seq_1_to_10",
]
const NEW = "INSERT INTO t SELECT seq, CONCAT('new ', seq) FROM seq_11_to_30"
const TRIGGER = 'CREATE TRIGGER noted AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id)'

const carry = ({ source }: Played) => applyCarry(source, NOTHING_SAID, job, { batch: 5 })
const said = ({ carried, proof }: CarryOutcome) => [carried, proof.problems]

describe.skipIf(why !== null)(
  `C14: new rows are put into MariaDB by two sessions${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let server: Mariadb
    const made: Played[] = []
    beforeAll(async () => {
      server = await mariadb()
    })
    afterEach(async () => {
      for (const merge of made.splice(0)) await merge.dispose()
    })
    afterAll(() => server?.dispose())

    async function play({ base = [], after = [] }: { base?: string[]; after?: string[] } = {}): Promise<Played> {
      const story = {
        base: [...BASE, ...base],
        after,
        writes: [NEW],
        early: [],
        release: [],
        meanwhile: [],
        told: true,
      }
      const merge = await played(server, story)
      made.push(merge)
      return merge
    }
    const rows = async ({ names }: Played, sql: string) =>
      (await server.sql(`USE ${names.ours}`, sql)).map(row => Object.values(row).map(Number))
    const ranges = (merge: Played) =>
      rows(merge, 'SELECT low, high FROM backout_carried WHERE high IS NOT NULL ORDER BY low')
    const ids = async (merge: Played) => (await rows(merge, 'SELECT id FROM t WHERE id > 10 ORDER BY id')).flat()
    const NEW_IDS = Array.from({ length: 20 }, (_, i) => 11 + i)
    const PARTS = [11, 16, 21, 26].map(low => [low, low + 4])

    it('each part with its line in the ledger, and triggers fire in neither session', async () => {
      const merge = await play({ base: [TRIGGER] })
      await server.sql("SET GLOBAL log_output = 'TABLE'", 'SET GLOBAL general_log = ON')
      // Half of them are those that the trigger wrote for the users.
      expect(said(await carry(merge))).toEqual([40, []])
      await server.sql('SET GLOBAL general_log = OFF')
      const put = `argument LIKE 'INSERT INTO \`${merge.names.ours}\`.\`t\`%'`
      const by = await server.sql(
        `SELECT thread_id, COUNT(*) AS n FROM mysql.general_log WHERE ${put} GROUP BY thread_id`,
      )
      expect(by).toHaveLength(2)
      expect([await ranges(merge), await rows(merge, 'SELECT COUNT(*) FROM log')]).toEqual([PARTS, [[20]]])
    })

    it('and where one was killed before the other ended, what lies between comes in the next try', async () => {
      const merge = await play()
      await carry(merge)
      // As it is where the session with the second part was killed after the other one had ended the third and fourth.
      await rows(merge, 'DELETE FROM t WHERE id BETWEEN 16 AND 20')
      await rows(merge, 'DELETE FROM backout_carried WHERE low = 16')
      // Users deleted this one since.
      await rows(merge, 'DELETE FROM t WHERE id = 30')
      expect(said(await carry(merge))).toEqual([5, []])
      expect(await ids(merge)).toEqual(NEW_IDS.slice(0, -1))
      expect(said(await carry(merge))).toEqual([0, []])
    })

    it('one by one where the database refuses one of them, which is listed', async () => {
      const merge = await play({ after: ["ALTER TABLE t ADD CONSTRAINT odd CHECK (name <> 'new 24')"] })
      const outcome = await carry(merge)
      expect(said(outcome)).toEqual([19, []])
      expect((await listedIn(merge.source, outcome)).map(row => row.kind)).toEqual(['check'])
      expect(await ids(merge)).toEqual(NEW_IDS.filter(id => id !== 24))
    })

    it('once more where a session is what the server ends a deadlock with', async () => {
      const merge = await play()
      const stranger = await createConnection({ socketPath: server.socket, user: 'root', database: merge.names.ours })
      try {
        await stranger.query('START TRANSACTION')
        // The server takes back whoever has written less.
        await stranger.query('INSERT INTO log SELECT seq FROM seq_1_to_1000')
        await stranger.query("INSERT INTO t VALUES (12, 'mine')")
        const carrying = carry(merge)
        await expect
          .poll(() => rows(merge, "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"), {
            timeout: 30_000,
            // Asked more often than every tenth of a second, the server answers what it did before.
            interval: 300,
          })
          .toEqual([[1]])
        await stranger.query("INSERT INTO t VALUES (11, 'mine')")
        await stranger.query('ROLLBACK')
        expect(said(await carrying)).toEqual([20, []])
      } finally {
        await stranger.end()
      }
      expect(await ids(merge)).toEqual(NEW_IDS)
    })
  },
)
