import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openFrozen, reading } from './database.ts'
import { digestsOf, type Part } from './digests.ts'
import { fingerprint } from './fingerprint.ts'
import { readSchema } from './schema.ts'
import { digestsOnThreads, WORTH_IT } from './threads.ts'

const { signal } = new AbortController()
const one = availableParallelism() < 2

const partsOf = (db: DatabaseSync): Part[] =>
  Object.entries(readSchema(db).tables).map(([table, shape]) => ({ table, shape, columns: Object.keys(shape.columns) }))

/** Every kind of value, and columns of every affinity. */
const ROWS = (
  from: number,
  to: number,
) => `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to})
  SELECT CASE WHEN i % 7 = 0 THEN i * 1000003 ELSE i END AS id, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN i WHEN 2 THEN i / 3.0
    WHEN 3 THEN 'text ' || i || char(0) || 'ü' ELSE randomblob(0) || CAST(i AS BLOB) END AS v FROM n`
const TABLE = (name: string) =>
  `CREATE TABLE ${name} (id INTEGER PRIMARY KEY, bare, whole INTEGER, text TEXT COLLATE NOCASE, real REAL, number NUMERIC)`
const FILL = (name: string, from: number, to: number) =>
  `INSERT INTO ${name} SELECT id, v, v, v, v, v FROM (${ROWS(from, to)})`

describe('digests of an SQLite table', () => {
  it.each([
    [
      'with gaps between its row ids',
      `${TABLE('t')}; ${FILL('t', -3000, 9000)}; DELETE FROM t WHERE id % 11 = 0`,
      'id',
    ],
    [
      'whose row id has another name',
      'CREATE TABLE t (rowid TEXT, _rowid_, oid2); INSERT INTO t VALUES (9, 1, 2), (8, 2, 3)',
      'oid',
    ],
    [
      'without row ids, its key in another order and collation',
      `CREATE TABLE t (b TEXT COLLATE NOCASE, a, v, PRIMARY KEY (b DESC, a)) WITHOUT ROWID;
       INSERT INTO t SELECT 'k' || (id % 50), id, v FROM (${ROWS(1, 9000)})`,
      'b, a',
    ],
  ])('%s are those of its values, one after another', async (_, sql, order) => {
    const db = new DatabaseSync(':memory:')
    db.exec(sql)
    const [part] = partsOf(db) as [Part]
    const found = await digestsOf(db, part, signal)
    for (const column of part.columns) {
      const text = `CASE typeof("${column}") WHEN 'text' THEN octet_length("${column}") || 'T' WHEN 'null' THEN 'N' ELSE quote("${column}") END`
      const rows = db
        .prepare(
          `SELECT ${text} AS head, CAST(CASE typeof("${column}") WHEN 'text' THEN "${column}" ELSE '' END AS BLOB) AS body FROM t ORDER BY ${order}`,
        )
        .all()
      const hash = createHash('sha256')
      rows.forEach(({ head, body }, i) => hash.update(`${i > 0 ? ',' : ''}${String(head)}`).update(body as Uint8Array))
      expect(found.columns[column], column).toBe(hash.digest('hex').slice(0, 32))
      expect(found.rows).toBe(rows.length)
    }
    db.close()
  })
})

describe.skipIf(one)('digests read on several threads', () => {
  let dir: string
  let file: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-threads-'))
    file = join(dir, 'big.db')
    const db = new DatabaseSync(file)
    db.exec(`PRAGMA journal_mode = WAL; ${TABLE('big')}; ${TABLE('small')}; CREATE TABLE empty (v)`)
    db.exec(
      `${FILL('big', 1, 30_000)}; ${FILL('small', 1, 100)}; CREATE TABLE wide (v); INSERT INTO wide VALUES (zeroblob(${WORTH_IT}))`,
    )
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    db.close()
  })
  afterEach(() => rm(dir, { recursive: true }))

  it('are the same as those read on one', async () => {
    const db = openFrozen(file)
    const parts = partsOf(db)
    const threaded = await digestsOnThreads(db, { how: { file, frozen: true }, still: () => true }, parts, signal)
    expect(threaded).not.toBeNull()
    const alone = []
    for (const part of parts) alone.push(await digestsOf(db, part, signal))
    expect(threaded).toEqual(alone)
    db.close()
  })

  it('are of the instant at which reading began, though others write meanwhile', async () => {
    const writer = new DatabaseSync(file)
    const read = (before: () => void) =>
      reading({ file, busyMs: 1000, signal }, async (db, again) => {
        before()
        const parts = partsOf(db)
        const threaded = await digestsOnThreads(db, again, parts, signal)
        return { threaded, print: await fingerprint(db, readSchema(db), signal, undefined, again) }
      })
    const quiet = await read(() => {})
    const written = await read(() => writer.exec('UPDATE big SET bare = 1 WHERE id = 1002'))
    const after = await read(() => {})
    writer.close()
    expect([quiet.threaded === null, written.threaded === null, after.threaded === null]).toEqual([false, true, false])
    expect(written.print).toEqual(quiet.print)
    expect(after.print).not.toEqual(quiet.print)
  })

  it('leave what cannot be read to the one connection, which says so', async () => {
    const db = openFrozen(file)
    const parts = [{ ...(partsOf(db)[0] as Part), table: 'gone' }]
    await rm(file)
    expect(
      await digestsOnThreads(
        db,
        { how: { file, frozen: true }, still: () => true },
        parts.map(p => ({ ...p, table: 'big' })),
        signal,
      ),
    ).toBeNull()
    db.close()
  })

  it('stop when told', async () => {
    const db = openFrozen(file)
    const aborted = AbortSignal.abort(new Error('told'))
    await expect(
      digestsOnThreads(db, { how: { file, frozen: true }, still: () => true }, partsOf(db), aborted),
    ).rejects.toThrow('told')
    db.close()
  })
})
