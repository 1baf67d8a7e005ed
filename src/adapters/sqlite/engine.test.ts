import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Backup } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import { compareFingerprints } from '../../data/diff.ts'
import type { Job, Reader } from '../../data/engine.ts'
import { sqliteEngine } from './engine.ts'

const signal = new AbortController().signal
const job: Job = { signal, guard: () => {}, progress: () => {} }

describe('SQLite as an engine', () => {
  let dir: string
  let engine: ReturnType<typeof sqliteEngine>

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-engine-'))
    engine = sqliteEngine({ path: 'a.db', baseDir: dir, stateDir: join(dir, 'state'), busyMs: 200 })
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  const sql = (text: string) => {
    const db = new DatabaseSync(join(dir, 'a.db'))
    db.exec(text)
    db.close()
  }
  const dumped = async (): Promise<Backup> => {
    const to = join(dir, 'backup')
    await mkdir(to)
    const { dumped } = await engine.dump(to, job, async () => null)
    return { id: 'b1', dir: to, facts: toJson({ dump: dumped }) } as Backup
  }
  const print = async (db: Reader) => db.fingerprint(await db.schema())

  it('says what is wrong with the place', async () => {
    await expect(engine.reading(signal, async () => 1)).rejects.toMatchObject({ code: 'database_missing' })
    await mkdir(join(dir, 'a.db'))
    await expect(engine.reading(signal, async () => 1)).rejects.toMatchObject({ code: 'not_a_file' })
  })

  it('reads exact numbers, one by one too, and refuses to write', async () => {
    sql('CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 9007199254740993), (2, 5)')
    const seen: unknown[] = []
    await engine.reading(signal, async db => {
      expect(await db.query('SELECT v FROM t WHERE id > ? ORDER BY id', [1])).toEqual([{ v: 5 }])
      await db.each('SELECT v FROM t ORDER BY id', [], row => void seen.push(row['v']))
      await expect(db.query('DELETE FROM t')).rejects.toThrow(/readonly/)
    })
    expect(seen).toEqual([9007199254740993n, 5])
  })

  it('takes the fingerprint of a part: some columns, the oldest rows', async () => {
    sql('CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES (1, 1, 1), (2, 2, 2); CREATE TABLE u (x)')
    await engine.reading(signal, async db => {
      const part = { tables: ['t'], columns: { t: ['a'] }, rows: 1 }
      const { tables } = await db.fingerprint(await db.schema(), part)
      expect(tables).toEqual({ t: { rows: 1, columns: { a: expect.any(String) } } })
    })
  })

  it('loads a dump beside, swaps it in, keeps what was there, and never issues a number twice', async () => {
    sql(
      'PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO t (v) VALUES (1)',
    )
    const backup = await dumped()
    const then = await engine.reading(signal, print)
    sql('INSERT INTO t (v) VALUES (2), (3)')
    expect(await engine.found('swap', 'm1', signal)).toBeNull()
    const beside = await engine.beside(backup, 'swap', 'm1', job)
    expect(compareFingerprints(then, await beside.reading(signal, print))).toEqual([])
    expect((await engine.found('swap', 'm1', signal))?.name).toBe(beside.name)
    expect(await engine.kept('m1', signal)).toBeNull()
    await engine.swap('m1', job)
    expect(compareFingerprints(then, await engine.reading(signal, print))).toEqual([])
    const kept = await engine.kept('m1', signal)
    expect(await kept?.reading(signal, db => db.query('SELECT count(*) AS n FROM t'))).toEqual([{ n: 3 }])
    expect(await engine.found('swap', 'm1', signal)).toBeNull()
    sql('INSERT INTO t (v) VALUES (4)')
    expect(await engine.reading(signal, db => db.query('SELECT max(id) AS id FROM t'))).toEqual([{ id: 4 }])
  })

  it('removes a scratch copy whole, and replaces one of an earlier try', async () => {
    sql('CREATE TABLE t (v)')
    const backup = await dumped()
    await engine.beside(backup, 'scratch', 'm1', job)
    const scratch = await engine.beside(backup, 'scratch', 'm1', job)
    expect((await stat(scratch.name)).isFile()).toBe(true)
    await scratch.drop()
    expect(await engine.found('scratch', 'm1', signal)).toBeNull()
  })

  it('reaches a backup in the same session, and leaves out what is its own', async () => {
    sql('CREATE TABLE t (v); INSERT INTO t VALUES (1); CREATE TABLE backout_merged (v)')
    const backup = await dumped()
    sql('INSERT INTO t VALUES (2)')
    const image = await engine.peek?.(backup)
    if (image === undefined || engine.both === undefined) throw new Error('SQLite can')
    const rows = await engine.both(image, signal, async db => {
      expect(Object.keys((await db.schema()).tables)).toEqual(['t'])
      return db.query(
        `SELECT (SELECT count(*) FROM ${db.table('now', 't')}) AS now, (SELECT count(*) FROM ${db.table('base', 't')}) AS base`,
      )
    })
    expect(rows).toEqual([{ now: 2, base: 1 }])
  })

  it.each([
    'NULL',
    '0',
    '-9223372036854775808',
    '0.1',
    '1e300',
    '9e999',
    '-9e999',
    `''`,
    `'it''s'`,
    `'X''00'''`,
    `'T41'`,
    `'a' || char(0) || 'b'`,
    `x''`,
    `x'00ff'`,
    `'12.0'`,
  ])('says %s as text and back, to the bit', async value => {
    const { dialect } = engine
    const text = dialect.text('v', '')
    const back = dialect.value('t', '')
    sql('CREATE TABLE t (v)')
    const query = `SELECT ${dialect.differs('v', back)} AS differs, typeof(t) AS type FROM (SELECT v, ${text} AS t FROM (SELECT ${value} AS v))`
    const [row] = await engine.reading(signal, db => db.query(query))
    expect(row).toEqual({ differs: 0, type: value === 'NULL' ? 'null' : 'text' })
  })

  it.each(['', 'ANY', 'BLOB', 'TEXT', 'INTEGER', 'REAL', 'NUMERIC', 'VARCHAR(9) COLLATE NOCASE'])(
    'tells what columns of type %s keep apart, to the type and the bit',
    async type => {
      const values = [
        'NULL',
        '1',
        '1.0',
        `'1'`,
        `x'31'`,
        `'a'`,
        `'A'`,
        '0.1',
        '0.10000000000000002',
        '9007199254740993',
      ]
      const ends = [
        '9223372036854775807',
        '-9223372036854775808',
        '-9.223372036854775808e18',
        '9.223372036854775807e18',
      ]
      sql(`CREATE TABLE t (v ${type}); INSERT INTO t VALUES ${[...values, ...ends].map(v => `(${v})`).join(', ')}`)
      const typed = type.replace(/ .*/, '')
      const differs = engine.dialect.differs('a.v', 'b.v', typed)
      const apart = `typeof(a.v) || quote(a.v) <> typeof(b.v) || quote(b.v)`
      const found = await engine.reading(signal, db =>
        db.query(`SELECT a.v AS a, b.v AS b FROM t AS a JOIN t AS b WHERE ${differs} <> (${apart})`),
      )
      expect(found).toEqual([])
    },
  )

  it.each([
    ['0', 'NUMERIC', '0', false],
    [`'0'`, 'INTEGER', '0', false],
    ['0', 'REAL', '0.0', false],
    ['5', 'TEXT', `'5'`, false],
    [`'new'`, 'NUMERIC', `'new'`, false],
    ['0', 'NUMERIC', '1', true],
  ])('knows a default of %s in a column of %s', async (sqlDefault, type, stored, differs) => {
    sql(
      `CREATE TABLE t (v ${type} DEFAULT ${sqlDefault}, w); INSERT INTO t (w) VALUES (1); UPDATE t SET v = ${differs ? stored : 'v'}`,
    )
    const { dialect } = engine
    const fixed = dialect.fixedDefault(sqlDefault, type) ?? ''
    const [row] = await engine.reading(signal, db =>
      db.query(`SELECT ${dialect.differs('v', fixed)} AS differs FROM t`),
    )
    expect(row).toEqual({ differs: Number(differs) })
    expect(dialect.fixedDefault('CURRENT_TIMESTAMP', 'TEXT')).toBeNull()
  })
})
