import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { listedIn, played } from './test/merge.ts'
import { engineOf, job, never } from './test/support.ts'

const none = noPostgres()

describe.skipIf(none !== null)(`C14: types of one name and two definitions${none === null ? '' : ` (${none})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())

  const carried = async (told: boolean) => {
    const merge = await played(server, {
      base: [
        `CREATE TYPE mood AS ENUM ('sad', 'ok')`,
        'CREATE DOMAIN feeling AS mood',
        'CREATE TYPE addr AS (street text, zip text)',
        'CREATE TYPE inner_one AS (n int)',
        'CREATE TYPE outer_one AS (i inner_one)',
        `CREATE TABLE c (id int PRIMARY KEY, a addr, many mood[], felt feeling[], o outer_one, list addr[])`,
        `INSERT INTO c SELECT i, '(x,)'::addr, '{ok}', '{sad}', '("(1)")'::outer_one, ARRAY[ROW('l', 'm')::addr] FROM generate_series(1, 5) i`,
        'CREATE TABLE t (id int PRIMARY KEY, v text)',
        'CREATE TABLE bag (a addr, m mood[])',
        `INSERT INTO bag VALUES (ROW('b', '1'), '{ok}')`,
      ],
      release: [
        { sql: `ALTER TYPE mood ADD VALUE 'great'` },
        { sql: 'ALTER TYPE addr ADD ATTRIBUTE country text, ADD ATTRIBUTE n int' },
        { sql: 'ALTER TYPE inner_one ADD ATTRIBUTE m int' },
      ],
      writes: [
        `UPDATE c SET a = ROW('y,)"', '', NULL, NULL), many = '{sad,NULL}', felt = '{{ok,ok},{sad,ok}}' WHERE id = 1`,
        `UPDATE c SET a = ROW('z', '2', 'NL', NULL) WHERE id = 2`,
        `UPDATE c SET many = '{great}' WHERE id = 3`,
        `UPDATE c SET o = '("(2,)")' WHERE id = 4`,
        `INSERT INTO c VALUES (6, ROW('new', NULL, NULL, NULL), '{}', NULL, NULL, NULL), (7, NULL, NULL, NULL, NULL, NULL)`,
        `INSERT INTO t VALUES (1, 'a')`,
        `INSERT INTO bag VALUES (ROW('b', '2', NULL, NULL), '{sad}'), (ROW('b', '3', 'NL', NULL), '{sad}')`,
      ],
      after: [],
      told,
    })
    try {
      const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
      const listed = (await listedIn(merge.source, outcome)).map(
        l => `${l.table} ${Object.values(l.key).join()} ${l.kind}`,
      )
      const rows = (sql: string) => server.sql(sql, merge.ours)
      return {
        problems: outcome.proof.problems,
        listed: listed.map(text => (text.startsWith('bag') ? text.replace(/ .* /, ' … ') : text)).sort(),
        c: (await rows('SELECT id, a::text, many::text, felt::text, o::text, list::text FROM c ORDER BY id')).map(r =>
          Object.values(r).join(' '),
        ),
        t: await rows('SELECT * FROM t'),
        bag: await rows('SELECT a::text, m::text FROM bag ORDER BY 1'),
      }
    } finally {
      await merge.dispose()
    }
  }

  const AS_IT_WAS = '(x,) {ok} {sad} ("(1)") {"(l,m)"}'

  it('carry what the old one takes, and list the rest', async () => {
    const found = await carried(true)
    expect(found.problems).toEqual([])
    expect(found.c).toEqual([
      `1 ("y,)""","") {sad,NULL} {{ok,ok},{sad,ok}} ("(1)") {"(l,m)"}`,
      ...[2, 3, 4, 5].map(id => `${id} ${AS_IT_WAS}`),
      '6 (new,) {}   ',
      '7     ',
    ])
    // Of an array of rows, and of a row in a row, nobody can tell what the migration made of it.
    expect(found.listed).toEqual(['bag … type', 'c 1 ambiguous', 'c 2 type', 'c 3 type', 'c 4 type', 'c 5 ambiguous'])
    expect(found.t).toEqual([{ id: 1, v: 'a' }])
    expect(found.bag).toEqual([
      { a: '(b,1)', m: '{ok}' },
      { a: '(b,2)', m: '{sad}' },
    ])
  })

  it('are no reason to carry nothing where nobody told of the migration', async () => {
    const found = await carried(false)
    expect(found.problems).toEqual([])
    expect(found.t).toEqual([{ id: 1, v: 'a' }])
    expect(found.c.slice(0, 1)).toEqual([`1 ("y,)""","") {sad,NULL} {{ok,ok},{sad,ok}} ("(1)") {"(l,m)"}`])
  })

  it('show no value in an error', async () => {
    await server.sql('CREATE DATABASE shown')
    const asked = engineOf(server, 'shown').reading(never, db => db.query(`SELECT 'a "secret" one'::int`))
    const error = await asked.catch((e: unknown) => e)
    expect(error).toMatchObject({ why: 'invalid input syntax for type integer: "***"' })
  })
})
