import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compareFingerprints } from '../../data/diff.ts'
import type { Fingerprint } from '../../data/fingerprint.ts'
import { compareSchemas } from '../../data/schema.ts'
import { fingerprint } from './fingerprint.ts'
import { readSchema } from './schema.ts'

const signal = new AbortController().signal

describe('the fingerprint of an SQLite database', () => {
  let db: DatabaseSync
  beforeEach(() => {
    db = new DatabaseSync(':memory:')
  })
  afterEach(() => db.close())

  const take = (): Promise<Fingerprint> => fingerprint(db, readSchema(db), signal)
  const changed = async (sql: string, before: Fingerprint) => {
    db.exec(sql)
    return compareFingerprints(before, await take()).map(d => d.text)
  }

  it.each([
    ['a number and its text', '1', `'1'`],
    ['a whole number and a float', '1', '1.0'],
    ['a text and the same bytes', `'ab'`, `x'6162'`],
    ['nothing and an empty text', 'NULL', `''`],
    ['NULL and the word', 'NULL', `'NULL'`],
    ['texts that differ behind a NUL character', `'a' || char(0) || 'b'`, `'a' || char(0) || 'c'`],
    ['texts of bytes that are no UTF-8', `CAST(x'ff' AS TEXT)`, `CAST(x'fe' AS TEXT)`],
    ['letter case where the column ignores it', `'a'`, `'A'`],
    ['integers beyond what a float can hold', '9007199254740993', '9007199254740992'],
    ['floats that differ in their last bit', '0.1', '0.10000000000000002'],
  ])('tells %s apart', async (_, one, other) => {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, v COLLATE NOCASE); INSERT INTO t VALUES (1, ${one})`)
    const before = await take()
    expect(await changed(`UPDATE t SET v = ${one}`, before)).toEqual([])
    expect(await changed(`UPDATE t SET v = ${other}`, before)).toEqual(['t: 1 rows as before; values differ in v'])
  })

  it.each(['', 'WITHOUT ROWID'])('sees one value among many rows, in tables %s', async kind => {
    db.exec(`CREATE TABLE t (a INTEGER, b TEXT, v, PRIMARY KEY (a, b)) ${kind};
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i / 3, i, i FROM n`)
    const before = await take()
    expect(before.tables['t']?.rows).toBe(20_000)
    expect(await changed(`UPDATE t SET v = -1 WHERE b = '19999'`, before)).toEqual([
      't: 20000 rows as before; values differ in v',
    ])
  })

  it('ties values to their rows', async () => {
    db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 10), (2, 20)')
    const before = await take()
    expect(await changed('UPDATE t SET v = 30 - v', before)).toEqual(['t: 2 rows as before; values differ in v'])
  })

  it('stays the same over VACUUM, and over a table that was built anew', async () => {
    db.exec(`CREATE TABLE t (k TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('c', 1), ('a', 2), ('b', 3), ('d', 4);
      DELETE FROM t WHERE k = 'a'`)
    const before = await take()
    expect(await changed('VACUUM', before)).toEqual([])
    const rebuilt =
      'CREATE TABLE n (k TEXT PRIMARY KEY, v); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t'
    expect(await changed(rebuilt, before)).toEqual([])
  })

  it('keeps columns comparable when others come and go, and leaves computed ones out', async () => {
    db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 10)')
    const before = await take()
    expect(
      await changed('ALTER TABLE t ADD COLUMN w DEFAULT 5; ALTER TABLE t ADD COLUMN twice AS (v * 2)', before),
    ).toEqual([])
    expect(Object.keys((await take()).tables['t']?.columns ?? {})).toEqual(['id', 'v', 'w'])
  })

  it('takes big values in small bites', async () => {
    db.exec('CREATE TABLE t (v); INSERT INTO t VALUES (zeroblob(3000000)), (zeroblob(3000000)), (zeroblob(9000000))')
    expect((await take()).tables['t']?.rows).toBe(3)
  })

  it('names tables that came and went', async () => {
    db.exec('CREATE TABLE old (v)')
    const before = await take()
    expect(await changed('DROP TABLE old; CREATE TABLE young (v)', before)).toEqual([
      'old: not there now',
      'young: not there then',
    ])
  })

  it('stops when told', async () => {
    db.exec('CREATE TABLE t (v); INSERT INTO t VALUES (1)')
    await expect(fingerprint(db, readSchema(db), AbortSignal.abort())).rejects.toThrow()
  })
})

describe('the schema of an SQLite database', () => {
  const schemaOf = (sql: string) => {
    const db = new DatabaseSync(':memory:')
    db.exec(sql)
    const schema = readSchema(db)
    db.close()
    return schema
  }
  const differ = (a: string, b: string) => compareSchemas(schemaOf(a), schemaOf(b)).map(d => d.text)
  const T = 'CREATE TABLE u (id INTEGER PRIMARY KEY); '

  it('does not care for spelling', () => {
    const one = `CREATE TABLE t (id INTEGER PRIMARY KEY, "name" TEXT NOT NULL DEFAULT 'X' CHECK (name <> 'A  b'))`
    const other = `create table [t] ( id integer primary key, -- the key
      name text not null default 'X' check( "name"<>'A  b' ) )`
    expect(differ(one, other)).toEqual([])
  })

  it.each([
    [
      'a type',
      'CREATE TABLE t (v TEXT)',
      'CREATE TABLE t (v BLOB)',
      'column t.v was changed (TEXT, nullable -> BLOB, nullable)',
    ],
    [
      'a default',
      'CREATE TABLE t (v DEFAULT 1)',
      'CREATE TABLE t (v DEFAULT 2)',
      'column t.v was changed (no type, nullable, default 1 -> no type, nullable, default 2)',
    ],
    ['a check', 'CREATE TABLE t (v)', 'CREATE TABLE t (v CHECK (v > (1)))', 'constraint t was added (check (v>(1)))'],
    ['uniqueness', 'CREATE TABLE t (v)', 'CREATE TABLE t (v UNIQUE)', 'constraint t was added (unique (v))'],
    [
      'a foreign key',
      `${T}CREATE TABLE t (v)`,
      `${T}CREATE TABLE t (v REFERENCES u(id) ON DELETE CASCADE)`,
      'constraint t was added (foreign key (v) references u (id) on update no action on delete cascade)',
    ],
    [
      'a partial index',
      'CREATE TABLE t (v); CREATE INDEX i ON t (v)',
      'CREATE TABLE t (v); CREATE INDEX i ON t (v) WHERE v > 1',
      'index t.i was changed (t(v) -> t(v)where v>1)',
    ],
    ['a view', 'CREATE VIEW w AS SELECT 1', 'CREATE VIEW w AS SELECT 2', 'view w was changed'],
    [
      'a trigger',
      'CREATE TABLE t (v)',
      'CREATE TABLE t (v); CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END',
      'trigger g was added',
    ],
    [
      'counting',
      'CREATE TABLE t (v INTEGER PRIMARY KEY)',
      'CREATE TABLE t (v INTEGER PRIMARY KEY AUTOINCREMENT)',
      'constraint t was added (autoincrement)',
    ],
    ['full-text search', 'SELECT 1', 'CREATE VIRTUAL TABLE f USING fts5(x)', 'view f was added'],
  ])('sees %s', (_, a, b, text) => {
    expect(differ(a, b)).toContain(text)
  })
})
