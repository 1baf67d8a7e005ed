import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { explained } from './errors.ts'

const why = noMariadb()

describe.skipIf(why !== null)(`an error about data${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
    const first = `INSERT INTO said.t (mail) VALUES ('ann for ''key'' her@self')`
    const table = 'CREATE TABLE said.t (mail varchar(99) PRIMARY KEY, n int, at datetime)'
    const parts = `CREATE TABLE said.p (mail varchar(99)) PARTITION BY LIST COLUMNS (mail) (PARTITION a VALUES IN ('b'))`
    for (const sql of ['CREATE DATABASE said', table, first, parts]) await server.sql(sql)
  })
  afterAll(() => server?.dispose())

  it.each([
    `INSERT INTO said.t (mail) VALUES ('ann for ''key'' her@self')`,
    `INSERT INTO said.t (mail, n) VALUES ('b', 'her@self')`,
    `INSERT INTO said.t (mail, at) VALUES ('c', 'her@self')`,
    `INSERT INTO said.p VALUES ('her@self')`,
  ])('names what it is about and not what it is: %s', async sql => {
    const error = explained('said', await server.sql(sql).catch((e: unknown) => e))
    expect(error).toMatchObject({ why: expect.stringContaining("'***'") })
    expect((error as { why: string }).why).not.toContain('her@self')
  })
})
