import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import type { Ready } from '../../data/engine.ts'
import { backUp, engineOf, job, look, never } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

const SHOP = `CREATE TABLE orders (id serial PRIMARY KEY, total int); INSERT INTO orders (total) VALUES (3), (4);
  CREATE SCHEMA "Sales room"; CREATE TABLE "Sales room".bills (id int PRIMARY KEY);
  CREATE TABLE letters (id int PRIMARY KEY, of text); ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()`

beforeAll(async () => {
  if (missing !== null) return
  server = await postgresServer()
  await server.sql(`CREATE ROLE owner LOGIN PASSWORD '${PASSWORD}'`)
  await server.sql(`CREATE ROLE "back-out" LOGIN PASSWORD '${PASSWORD}'`)
})
afterAll(() => server?.dispose())

/** Before version 15: who owns the tables may. */
const OWNERS_ONLY = 'GRANT the role that owns them TO "back-out"'

async function shop(name: string): Promise<void> {
  await server.sql(`CREATE DATABASE ${name} OWNER owner`)
  await server.sql('GRANT CREATE ON SCHEMA public TO owner', name)
  const owner = await server.connect(name, 'owner')
  await owner.query(SHOP)
  await owner.end()
}

async function asked(database: string, more: object = { user: 'back-out' }): Promise<Ready> {
  const answer = await engineOf(server, database, more).ready?.(never)
  if (answer === undefined) throw new Error('this engine cannot be asked')
  return answer
}

describe.skipIf(missing !== null)(`PostgreSQL, asked ahead${missing === null ? '' : ` (${missing})`}`, () => {
  it('names every right that is missing with the statement that gives it; with them, it does all that it says', async () => {
    await shop('one')
    await server.sql('REVOKE TEMPORARY ON DATABASE one FROM PUBLIC; GRANT CONNECT ON DATABASE one TO PUBLIC')
    await server.sql('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC')
    const session = await server.connect('one', 'owner')
    const { lacks } = await asked('one')
    await session.end()
    const [row] = await server.sql(`SELECT current_setting('server_version_num')::int / 10000 AS major`)
    const major = Number(row?.['major'])
    const schemas = '"Sales room", public'
    const on = (rights: string, what: string) => `GRANT ${rights} ON ${what} IN SCHEMA ${schemas} TO "back-out"`
    const [read, write] =
      major >= 14
        ? ['GRANT pg_read_all_data TO "back-out"', 'GRANT pg_write_all_data TO "back-out"']
        : [
            `GRANT USAGE ON SCHEMA ${schemas} TO "back-out"; ${on('SELECT', 'ALL TABLES')}; ${on('SELECT', 'ALL SEQUENCES')}`,
            on('INSERT, UPDATE, DELETE', 'ALL TABLES'),
          ]
    expect(lacks.map(l => [l.for, l.remedy])).toEqual([
      ['capture', read],
      ['capture', 'ALTER ROLE "back-out" BYPASSRLS'],
      ['capture', 'ALTER ROLE "back-out" CREATEDB'],
      ['restore', 'GRANT owner TO "back-out"'],
      ['restore', 'GRANT pg_signal_backend TO "back-out"'],
      ['carry', write],
      ['carry', 'GRANT TEMPORARY ON DATABASE one TO "back-out"'],
      ['quiet', major >= 15 ? 'GRANT SET ON PARAMETER session_replication_role TO "back-out"' : OWNERS_ONLY],
      ['comfort', 'GRANT EXECUTE ON FUNCTION pg_control_system() TO "back-out", in the database postgres'],
    ])
    expect(lacks[0]?.what).toContain('"Sales room".bills')
    const statements = lacks
      .map(l => l.remedy.replace(/, in the database postgres$/, ''))
      .filter(r => r !== OWNERS_ONLY)
    for (const sql of statements) await server.sql(sql, / ON (ALL|SCHEMA)/.test(sql) ? 'one' : 'postgres')
    const now = await asked('one')
    expect(now.lacks).toEqual([])
    expect(now.well).toEqual([
      expect.stringMatching(/^pg_dump .*, pg_restore .*, pg_dumpall .*; the server is \d+$/),
      'the role "back-out" may do all that capturing and going back take',
    ])
    const engine = engineOf(server, 'one', { user: 'back-out' })
    const { backup } = await backUp(engine)
    await server.sql('DELETE FROM orders', 'one')
    await engine.beside(backup, 'swap', 'm', job)
    await engine.swap('m', job)
    expect((await look(engine)).data.tables['orders']?.rows).toBe(2)
  })

  it('takes the owner of everything for enough, but for making copies', async () => {
    await shop('two')
    const { lacks } = await asked('two', { user: 'owner' })
    expect(lacks.filter(l => l.for !== 'comfort').map(l => l.remedy)).toEqual(['ALTER ROLE owner CREATEDB'])
  })

  it('does not let anybody become a superuser', async () => {
    await server.sql('CREATE DATABASE bare')
    await server.sql('CREATE TABLE orders (id int PRIMARY KEY)', 'bare')
    const { lacks } = await asked('bare')
    expect(lacks.map(l => l.remedy).filter(r => r.includes('GRANT postgres'))).toEqual([])
    expect(lacks.filter(l => l.for === 'restore').map(l => l.remedy)).toEqual([
      expect.stringMatching(/^name a superuser in `user:`; or .*ALTER DATABASE bare OWNER TO "back-out"/),
    ])
  })

  it('asks the server for proofs too, where it is another', async () => {
    await shop('three')
    const other = await postgresServer()
    try {
      await other.sql(`CREATE ROLE owner LOGIN PASSWORD '${PASSWORD}'`)
      const more = { user: 'owner', scratch: { port: other.port } }
      const copies = (await asked('three', more)).lacks.filter(l => l.remedy === 'ALTER ROLE owner CREATEDB')
      expect(copies.map(l => l.for)).toEqual(['restore', 'capture'])
      expect(copies[1]?.what).toContain(String(other.port))
    } finally {
      await other.dispose()
    }
  })

  it('names tools that are missing or older than the server, and a server that does not answer', async () => {
    await shop('four')
    const dir = await mkdtemp(join(tmpdir(), 'tools-'))
    await writeFile(join(dir, 'pg_dump'), '#!/bin/sh\necho pg_dump \\(PostgreSQL\\) 9.6.1\n', { mode: 0o755 })
    const { lacks } = await asked('four', { user: 'postgres', tools: dir })
    expect(lacks.map(l => [l.for, l.code])).toEqual([
      ['capture', 'tool_too_old'],
      ['capture', 'tool_missing'],
      ['capture', 'tool_missing'],
    ])
    for (const lack of lacks) expect(lack.remedy).toContain('client tools')
    await expect(asked('four', { port: 1 })).rejects.toMatchObject({ code: 'database_unreachable' })
  })
})
