import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import type { Images, Job, Merger, Staged } from '../../data/engine.ts'
import { mysqlSettings } from './config.ts'
import { imageOf } from './image.ts'
import { MysqlMerger } from './merging.ts'
import type { Access } from './session.ts'

const why = noMariadb()
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, v varchar(20)) ENGINE=InnoDB CHARSET=utf8mb4'
const columns = ['id', 'v'].map(c => ({ ours: c, theirs: c, base: c, migrated: null }))
const STAGED: Staged = { names: { ours: 't', theirs: 't', base: 't', migrated: null }, key: ['id'], columns }
const TYPES = ['int(11)', 'varchar(20)']

describe.skipIf(why !== null)(`the session that merges on MariaDB${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb(['--log-bin', '--server-id=1'])
    await server.sql(
      "CREATE USER poor IDENTIFIED BY 'a word'",
      'GRANT ALL ON `shop`.* TO poor',
      'GRANT SELECT ON `shop\\_base`.* TO poor',
      'GRANT SELECT ON `shop\\_theirs`.* TO poor',
    )
  })
  afterAll(() => server?.dispose())

  /** A row here and there, from the lowest key to the highest. */
  const ROWS = 'INSERT INTO t SELECT seq * 10000, concat("row ", seq) FROM seq_1_to_40'
  beforeEach(async () => {
    for (const name of ['shop', 'shop_base', 'shop_theirs']) {
      await server.sql(`CREATE OR REPLACE DATABASE ${name} CHARACTER SET utf8mb4`, `USE ${name}`, TABLE, ROWS)
    }
  })

  const opened = async (user = 'root'): Promise<Merger> => {
    const login = user === 'root' ? { user } : { user, password: 'a word' }
    const settings = mysqlSettings.parse({ socket: server.socket, ...login, database: 'shop' })
    const live: Access = { server: settings, baseDir: '/', connectLimit: 5_000, busyLimit: 1_000, own: new Set() }
    const images: Images = {
      base: imageOf(live, 'shop_base'),
      theirs: imageOf(live, 'shop_theirs'),
      migrated: null,
    }
    return MysqlMerger.open({ live, database: 'shop' }, images, job)
  }
  const written = (sql: string) =>
    server.sql('SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1', sql).then(
      () => true,
      () => false,
    )

  it('begins again where a row was changed since its transaction first looked, as newer servers say it', async () => {
    // A log of statements keeps the transactions at the level at which the server minds.
    await server.sql("SET GLOBAL binlog_format = 'STATEMENT', innodb_snapshot_isolation = ON")
    try {
      const merger = await opened()
      let tries = 0
      await merger.transaction(async () => {
        tries++
        await merger.query('SELECT COUNT(*) FROM t')
        if (tries === 1) expect(await written("UPDATE shop.t SET v = 'theirs' WHERE id = 10000")).toBe(true)
        const error = await merger.savepoint(
          async () => void (await merger.run(`UPDATE t SET v = CONCAT(v, ' ours') WHERE id = 10000`)),
        )
        expect(error).toBeNull()
      })
      await merger[Symbol.asyncDispose]()
      const [row] = await server.sql('SELECT v FROM shop.t WHERE id = 10000')
      expect([tries, row?.['v']]).toEqual([2, 'theirs ours'])
    } finally {
      await server.sql("SET GLOBAL binlog_format = 'MIXED', innodb_snapshot_isolation = DEFAULT")
    }
  })

  it('lets nobody write to an image, and everybody to ours, until it is closed', async () => {
    const merger = await opened()
    expect(await written("INSERT INTO shop_base.t VALUES (1, 'x')")).toBe(false)
    expect(await written('ALTER TABLE shop_theirs.t ADD COLUMN x int')).toBe(false)
    expect(await written("INSERT INTO shop.t VALUES (1, 'x')")).toBe(true)
    expect(await merger.unmoved?.()).toBe(true)
    await merger[Symbol.asyncDispose]()
    expect(await written("INSERT INTO shop_base.t VALUES (1, 'x')")).toBe(true)
  })

  it('changes rows of ours by those of an image, and does not say then that nobody wrote to one', async () => {
    await using merger = await opened()
    await server.sql("UPDATE shop.t SET v = 'old'")
    const changed = await merger.transaction(() =>
      merger.run(
        'UPDATE `shop`.`t` AS o JOIN `shop_theirs`.`t` AS t LEFT JOIN `shop_base`.`t` AS b ON b.id = t.id ON o.id = t.id SET o.v = t.v',
      ),
    )
    expect(changed).toBe(40)
    expect(await server.sql("SELECT count(*) AS n FROM shop.t WHERE v LIKE 'row %'")).toEqual([{ n: 40 }])
    expect(await merger.unmoved?.()).toBe(false)
  })

  it('marks rows of its own by those of an image, with nobody writing to it all the while', async () => {
    await using merger = await opened()
    const work = await merger.work(
      'backout_work_0',
      'SELECT id AS k0, 0 AS done FROM `shop`.`t`',
      [['n'], ['k0']],
      ['k0'],
    )
    const marked = `UPDATE ${work} AS o JOIN (SELECT w.n FROM ${work} AS w JOIN \`shop_theirs\`.\`t\` AS t ON t.id = w.k0) AS x ON o.n = x.n SET o.done = 1`
    expect(await merger.run(marked)).toBe(40)
    expect(await merger.unmoved?.()).toBe(true)
  })

  it('does not say that nobody wrote after a lock was lost', async () => {
    await using merger = await opened()
    const sessions = await server.sql(
      `SELECT ID AS id FROM information_schema.PROCESSLIST WHERE DB = 'shop_base' AND COMMAND = 'Sleep'`,
    )
    expect(sessions).toHaveLength(1)
    await server.sql(`KILL ${String(sessions[0]?.['id'])}`)
    expect(await merger.unmoved?.()).toBe(false)
  })

  it.each([
    ['the right to lock is missing', 'poor', 'SELECT 1'],
    ['somebody writes there', 'root', "UPDATE shop_theirs.t SET v = 'y' WHERE id = 10000"],
  ])('merges where %s, and does not say that nobody wrote', async (_, user, sql) => {
    const { createConnection } = await import('mysql2/promise')
    const writer = await createConnection({ socketPath: server.socket, user: 'root' })
    try {
      await writer.query('START TRANSACTION')
      await writer.query(sql)
      await using merger = await opened(user)
      expect(await merger.unmoved?.()).toBe(false)
      const [row] = await merger.query(`SELECT count(*) AS n FROM ${merger.table('base', 't')}`)
      expect(Number(row?.['n'])).toBe(40)
    } finally {
      await writer.end()
    }
  })

  it('locks no row of ours by comparing, but where a log of statements needs it', async () => {
    const level = async (format: string) => {
      await server.sql(`SET GLOBAL binlog_format = '${format}'`)
      await using merger = await opened()
      await merger.transaction(() => merger.run("UPDATE t SET v = 'x'"))
      const [row] = await merger.query('SELECT @@tx_isolation AS level')
      return row?.['level']
    }
    expect(await level('STATEMENT')).toBe('REPEATABLE-READ')
    expect(await level('MIXED')).toBe('READ-COMMITTED')
  })

  it('works in tables that no other session and no replica sees, and that go with it', async () => {
    await server.sql("SET GLOBAL binlog_format = 'ROW'", 'FLUSH BINARY LOGS')
    const merger = await opened()
    const select = `SELECT id AS k0, v FROM ${merger.table('theirs', 't')} WHERE id <> 20000`
    const work = await merger.work('backout_work_0', select, [['n'], ['k0'], ['v']], ['k0'])
    const ends = `SELECT count(*) AS n, max(w.n) AS last, min(w.k0) AS low FROM ${work} AS w JOIN ${work} AS x ON x.n = w.n`
    const [row] = await merger.query(ends)
    expect([row?.['n'], row?.['last'], row?.['low']].map(Number)).toEqual([39, 39, 10000])
    const [second] = await merger.query(`SELECT k0 FROM ${work} WHERE n = 2`)
    expect(Number(second?.['k0'])).toBe(30000)
    await expect(server.sql(`SELECT 1 FROM ${work}`)).rejects.toMatchObject({ code: 'ER_NO_SUCH_TABLE' })
    await merger[Symbol.asyncDispose]()
    const [log] = await server.sql('SHOW MASTER STATUS')
    const events = await server.sql(`SHOW BINLOG EVENTS IN '${String(log?.['File'])}'`)
    expect(events.filter(e => String(e['Info']).includes('backout'))).toEqual([])
    expect(await server.sql('SHOW TABLES IN shop')).toEqual([{ Tables_in_shop: 't' }])
  })

  it.each([
    ['nothing', 'DO 0', 0],
    ['a low row changed', "UPDATE t SET v = 'x' WHERE id = 30000", 1],
    ['a high row changed', "UPDATE t SET v = 'x' WHERE id = 390000", 1],
    ['a letter changed its case', "UPDATE t SET v = 'ROW 3' WHERE id = 30000", 1],
    ['rows gone below and above', 'DELETE FROM t WHERE id IN (30000, 390000)', 2],
    ['rows come below and above', "INSERT INTO t VALUES (30001, ''), (390001, NULL)", 2],
    ['a row moved from below', 'UPDATE t SET id = 390001 WHERE id = 30000', 2],
    ['touched rows changed, gone and come', "REPLACE INTO t VALUES (10000, 'x'), (10001, 'x'), (400000, NULL)", 0],
    ['a touched row gone', 'DELETE FROM t WHERE id IN (10000, 400000)', 0],
    ['all gone', 'DELETE FROM t', 38],
  ])('finds what was not to be touched: %s', async (_, sql, expected) => {
    await server.sql('USE shop', sql)
    await using merger = await opened()
    const touched = 'SELECT 10000 AS k UNION ALL SELECT 10001 UNION ALL SELECT 400000'
    const own = await merger.work('backout_work_0', touched, [], ['k'])
    expect(await merger.untouched(STAGED, TYPES, `SELECT k FROM ${own}`)).toBe(expected)
    // None of them is below the middle.
    const high = await merger.untouched(STAGED, TYPES, `SELECT k FROM ${own} WHERE k = 400000`)
    expect(high).toBeGreaterThanOrEqual(expected)
  })

  it.each([
    ['all rows', '1 = 1', 40, 2],
    ['rows behind a key', 'o.id > 200000', 20, 2],
    ['rows that lie close together', 'o.id > 370000', 3, 1],
    ['no rows', 'o.id > 400000', 0, 1],
  ])('reads in two sessions what is worth it, each row once: %s', async (_, where, rows, sessions) => {
    await using merger = await opened()
    const table = `${merger.table('ours', 't')} AS o`
    const query = (among: string) =>
      `SELECT count(*) AS n, coalesce(sum(o.id), 0) AS ids FROM ${table} WHERE ${where} AND ${among}`
    const parts = (await merger.parted?.({ table, key: 'o.id', where }, query)) ?? []
    const sum = (name: string) => parts.reduce((all, part) => all + Number(part[name]), 0)
    expect(parts).toHaveLength(sessions)
    expect(sum('n')).toBe(rows)
    const first = 40 - rows + 1
    expect(sum('ids')).toBe(Array.from({ length: rows }, (_, i) => (first + i) * 10_000).reduce((a, b) => a + b, 0))
  })

  it('finds it, too, where more rows are touched than can be said one by one', async () => {
    await server.sql('USE shop', 'INSERT IGNORE INTO t SELECT seq + 100001, "new" FROM seq_1_to_25000')
    await server.sql("UPDATE shop.t SET v = 'x' WHERE id IN (30000, 390000)")
    await using merger = await opened()
    const theirs = `SELECT id AS k0 FROM ${merger.table('ours', 't')} WHERE id % 10000 <> 0 OR id = 120000`
    const own = await merger.work('backout_work_0', theirs, [['k0']], ['k0'])
    expect(await merger.untouched(STAGED, TYPES, `SELECT k0 FROM ${own}`)).toBe(2)
    expect(await merger.untouched(STAGED, TYPES, `SELECT k0 FROM ${own} WHERE k0 <> 100002`)).toBe(3)
  })
})
