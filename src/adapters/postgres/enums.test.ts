import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { dumpOf, listedIn, orphans, played } from './test/merge.ts'
import { job } from './test/support.ts'

const none = noPostgres()

interface EnumStory {
  readonly is: string
  readonly base: readonly string[]
  readonly writes: readonly string[]
  readonly told?: boolean
  readonly listed: readonly string[]
  readonly rows: Readonly<Record<string, readonly string[]>>
}

const STORIES: readonly EnumStory[] = [
  {
    is: 'in cells that are changed',
    base: [
      `CREATE DOMAIN few AS st CHECK (VALUE <> 'c')`,
      `CREATE TABLE o (id serial PRIMARY KEY, s st NOT NULL DEFAULT 'a', d few)`,
      `INSERT INTO o (s, d) VALUES ('a', 'a'), ('b', NULL), ('b', 'b')`,
    ],
    writes: [
      `UPDATE o SET s = 'b', d = 'b' WHERE id = 1`,
      `UPDATE o SET s = 'new' WHERE id = 2`,
      `INSERT INTO o (s) VALUES ('new'), ('c')`,
      'DELETE FROM o WHERE id = 3',
    ],
    listed: ['o 2 type', 'o 4 type'],
    rows: { o: ['1 b b', '2 b ', '5 c '] },
  },
  {
    is: 'of a migration that nobody told of',
    base: ['CREATE TABLE o (id serial PRIMARY KEY, s st)', `INSERT INTO o (s) VALUES ('a'), ('b')`],
    writes: [`INSERT INTO o (s) VALUES ('b'), ('new')`],
    told: false,
    listed: ['o 4 type'],
    rows: { o: ['1 a', '2 b', '3 b'] },
  },
  {
    is: 'in a primary key',
    base: [
      'CREATE TABLE o (s st, n int, v text, PRIMARY KEY (s, n))',
      `INSERT INTO o VALUES ('a', 1, 'x'), ('b', 1, 'y')`,
    ],
    writes: [`UPDATE o SET v = 'z' WHERE s = 'a'`, `INSERT INTO o VALUES ('c', 1, 'c')`, `DELETE FROM o WHERE s = 'b'`],
    listed: [],
    rows: { o: ['a 1 z', 'c 1 c'] },
  },
  {
    is: 'that a key of the new schema has',
    base: ['CREATE TABLE o (s st, n int, v text, PRIMARY KEY (s, n))', `INSERT INTO o VALUES ('a', 1, 'x')`],
    writes: [`UPDATE o SET v = 'z' WHERE s = 'a'`, `INSERT INTO o VALUES ('c', 1, 'c'), ('new', 1, 'n')`],
    listed: ['o … type'],
    rows: { o: ['a 1 z', 'c 1 c'] },
  },
  {
    is: 'in a unique key, also of rows that change places',
    base: [
      'CREATE TABLE o (id int PRIMARY KEY, s st UNIQUE, u text UNIQUE)',
      `INSERT INTO o VALUES (1, 'a', 'p'), (2, 'b', 'q')`,
    ],
    writes: [
      `UPDATE o SET s = 'c', u = 'tmp' WHERE id = 1`,
      `UPDATE o SET s = 'a', u = 'p' WHERE id = 2`,
      `UPDATE o SET u = 'q' WHERE id = 1`,
      `INSERT INTO o VALUES (3, 'new', 'r'), (4, 'b', 's')`,
    ],
    listed: ['o 3 type'],
    rows: { o: ['1 c q', '2 a p', '4 b s'] },
  },
  {
    is: 'in a foreign key',
    base: [
      'CREATE TABLE k (s st PRIMARY KEY)',
      'CREATE TABLE o (id serial PRIMARY KEY, s st REFERENCES k)',
      `INSERT INTO k VALUES ('a'), ('b')`,
      `INSERT INTO o (s) VALUES ('a'), ('b')`,
    ],
    writes: [
      `INSERT INTO k VALUES ('c')`,
      `UPDATE o SET s = 'c' WHERE id = 1`,
      `INSERT INTO o (s) VALUES ('a'), ('c')`,
    ],
    listed: [],
    rows: { k: ['a', 'b', 'c'], o: ['1 c', '2 b', '3 a', '4 c'] },
  },
]

describe.skipIf(none !== null)(`C14: an enum that got one more word${none === null ? '' : ` (${none})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())

  it.for(STORIES)('$is', { timeout: 120_000 }, async ({ base, writes, told = true, listed, rows }) => {
    const merge = await played(server, {
      base: [`CREATE TYPE st AS ENUM ('a', 'b', 'c')`, ...base, 'CREATE TABLE t (id int PRIMARY KEY)'],
      release: [{ sql: `ALTER TYPE st ADD VALUE 'new'` }],
      writes: [...writes, 'INSERT INTO t VALUES (1)'],
      after: [],
      told,
    })
    try {
      const outcome = await applyCarry(merge.source, NOTHING_SAID, job, { batch: 3 })
      expect(outcome.proof.problems).toEqual([])
      const found = await listedIn(merge.source, outcome)
      const names = found.map(l => `${l.table} ${l.key['id']?.length === 1 ? l.key['id'] : '…'} ${l.kind}`)
      expect(names.toSorted()).toEqual(listed)
      const now = Object.entries(await dumpOf(server, merge.ours)).map(
        ([name, all]) => [name, all.map(row => Object.values(row).join(' '))] as const,
      )
      expect(Object.fromEntries(now)).toEqual({ ...rows, t: ['1'] })
      expect(await orphans(server, merge.ours)).toEqual([])
      expect((await applyCarry(merge.source, NOTHING_SAID, job)).carried).toBe(0)
    } finally {
      await merge.dispose()
    }
  })
})
