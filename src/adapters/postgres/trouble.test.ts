import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { backUp, engineOf, job, look, never, seen } from './test/support.ts'

const missing = noPostgres()
const asRoot = process.getuid?.() === 0
let server: PostgresServer

const rows = (n: number) => `CREATE TABLE t (id int PRIMARY KEY, pad text);
  INSERT INTO t SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, ${n}) i`
const ROWS = rows(8000)

beforeAll(async () => {
  if (missing !== null) return
  server = await postgresServer()
  await server.sql('CREATE DATABASE shop')
  await server.sql(ROWS, 'shop')
  await server.sql(`CREATE ROLE poor LOGIN PASSWORD 'not-a-secret-of-anybody'`)
})
afterAll(() => server?.dispose())

describe.skipIf(missing !== null)(`bad luck with PostgreSQL${missing === null ? '' : ` (${missing})`}`, () => {
  it.each([
    ['a wrong password', { password: 'wrong-password' }, 'database_denied'],
    ['a role that is not there', { user: 'nobody_here' }, 'database_denied'],
    ['a database that is not there', { database: 'gone' }, 'database_missing'],
    ['a port where nobody listens', { port: 1 }, 'database_unreachable'],
    ['a host that has no name', { host: 'no-such-host.invalid' }, 'database_unreachable'],
    ['TLS where the server has none', { ssl: { mode: 'require' } }, 'database_unreachable'],
  ])('names %s, and what to do', async (_, more, code) => {
    const error = await look(engineOf(server, 'shop', more)).catch((e: unknown) => e)
    expect(error).toMatchObject({ code, next: expect.any(String) as string })
    expect(JSON.stringify(error) + String(error)).not.toContain('wrong-password')
  })

  it('names rights that are missing: to read, to make a copy, to read the server’s number', async () => {
    const engine = engineOf(server, 'shop', { user: 'poor' })
    await expect(look(engine)).rejects.toMatchObject({ code: 'database_denied' })
    await expect(backUp(engine, async () => null)).rejects.toMatchObject({ code: 'database_denied' })
    const { backup } = await backUp(engineOf(server, 'shop'))
    await expect(engine.beside(backup, 'scratch', 'p', job)).rejects.toMatchObject({ code: 'database_denied' })
    const whole = await engine.identity(never)
    await server.sql('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC')
    expect(whole).toMatch(/^postgres:\d+\/shop$/)
    expect(await engine.identity(never)).toBe(`postgres:127.0.0.1:${server.port}/shop`)
    await server.sql('GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC')
  })

  it('reads settings from a URL, and hands them to tools without a password on a command line', async () => {
    const { port } = server
    const engine = engineOf(server, 'shop', {
      url: `postgres://postgres:p%40ss@db.invalid:1/other?sslmode=disable`,
      host: '127.0.0.1',
    })
    expect(engine.toolEnv()).toMatchObject({
      PGHOST: '127.0.0.1',
      PGPORT: String(port),
      PGDATABASE: 'shop',
      PGSSLMODE: 'disable',
    })
    expect(engine.toolEnv()['DATABASE_URL']).toBe(
      `postgres://postgres:not-a-secret-of-anybody@127.0.0.1:${port}/shop?sslmode=disable`,
    )
    expect(engine.name).toBe(`shop on 127.0.0.1:${port}`)
    const files = await readdir('/proc').then(names => names.filter(n => /^\d+$/.test(n)))
    expect(files.length).toBeGreaterThan(0)
    expect(await engine.freeBytes(never)).toBeGreaterThan(1_000_000)
  })

  it('keeps no half dump for a whole one when the server goes in the middle', async () => {
    const own = await postgresServer()
    try {
      await own.sql('CREATE DATABASE shop')
      // More than all buffers between server and file hold: what lies in them already is dumped, whatever the server does.
      await own.sql(rows(60_000), 'shop')
      const engine = engineOf(own, 'shop', { dump: { throttle: 3_000_000 } })
      const dumping = backUp(engine, seen)
      const failed = expect(dumping).rejects.toMatchObject({ code: 'database_unreachable' })
      await new Promise(resolve => setTimeout(resolve, 1_500))
      await own.crash()
      await failed
      await own.start()
      const { backup } = await backUp(engineOf(own, 'shop'))
      const crashes: Promise<void>[] = []
      const progress = ({ text }: { text: string }) => {
        if (text.startsWith('loading') && crashes.length === 0) crashes.push(own.crash())
      }
      const loading = engineOf(own, 'shop').beside(backup, 'scratch', 'crash', { ...job, progress })
      await expect(loading).rejects.toMatchObject({ code: 'database_unreachable' })
      await Promise.all(crashes)
      await own.start()
      expect(await engine.found('scratch', 'crash', never)).toBeNull()
      const again = await engineOf(own, 'shop').beside(backup, 'scratch', 'crash', job)
      expect((await again.reading(never, seen)).data.tables['t']?.rows).toBe(60_000)
    } finally {
      await own.dispose()
    }
  })

  it('says why a backup is refused, and no row of it', async () => {
    await server.sql('CREATE DATABASE people')
    const ok = (body: string) => `CREATE OR REPLACE FUNCTION ok(text) RETURNS bool LANGUAGE sql AS $$ ${body} $$`
    await server.sql([ok('SELECT true'), 'CREATE TABLE p (id int, mail text CHECK (ok(mail)))'], 'people')
    await server.sql([`INSERT INTO p VALUES (1, 'ann@self'), (2, '3')`, ok('SELECT $1::int > 3')], 'people')
    const refusal = async () => {
      const engine = engineOf(server, 'people')
      const { backup } = await backUp(engine, async () => null)
      return (await engine.beside(backup, 'scratch', 'refused', job).catch((e: unknown) => e)) as { why: string }
    }
    const invalid = await refusal()
    expect(invalid).toMatchObject({ code: 'backup_damaged', why: expect.stringContaining('table "p"') })
    expect(invalid.why).toMatch(/CONTEXT: .* \*\*\*/)
    await server.sql(ok('SELECT length($1) < 2'), 'people')
    const unfit = await refusal()
    expect(unfit).toMatchObject({ code: 'backup_damaged', why: expect.stringContaining('"p_mail_check"') })
    for (const { why } of [invalid, unfit]) expect(why).not.toContain('@self')
  })

  it.skipIf(!asRoot)('says that the disk of the backups is full (needs root)', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', dir])
    try {
      const dump = join(dir, 'dump')
      await mkdir(dump)
      await server.sql(`CREATE TABLE noise AS SELECT gen_random_uuid() FROM generate_series(1, 30000)`, 'shop')
      await expect(engineOf(server, 'shop').dump(dump, job, async () => null)).rejects.toMatchObject({
        code: 'disk_full',
      })
    } finally {
      execFileSync('umount', [dir])
    }
  })

  it.skipIf(!asRoot)('keeps the old database where the disk of the server is full (needs root)', async () => {
    const own = await postgresServer()
    const space = await mkdtemp(join(tmpdir(), 'space-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', space])
    try {
      execFileSync('chown', ['postgres', space])
      await own.sql([`CREATE TABLESPACE small LOCATION '${space}'`, 'CREATE DATABASE tight TABLESPACE small'])
      await own.sql(ROWS, 'tight')
      const engine = engineOf(own, 'tight')
      const { backup } = await backUp(engine)
      await expect(engine.beside(backup, 'swap', 'full', job)).rejects.toMatchObject({ code: 'disk_full' })
      expect(await engine.found('swap', 'full', never)).toBeNull()
      expect((await look(engine)).data.tables['t']?.rows).toBe(8000)
    } finally {
      await own.dispose()
      execFileSync('umount', [space])
    }
  })
})
