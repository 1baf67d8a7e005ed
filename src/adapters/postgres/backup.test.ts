import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { compareSchemas } from '../../data/schema.ts'
import { backUp, engineOf, job, look, never, seen } from './test/support.ts'
import { fillZoo } from './test/zoo.ts'

const missing = noPostgres()
let server: PostgresServer
let other: PostgresServer

beforeAll(async () => {
  if (missing !== null) return
  server = await postgresServer()
  other = await postgresServer()
  await server.sql([
    'CREATE ROLE shop LOGIN',
    'CREATE DATABASE zoo OWNER shop',
    'ALTER DATABASE zoo SET search_path = public, sales',
    `ALTER ROLE shop IN DATABASE zoo SET work_mem = '5MB'`,
    'REVOKE ALL ON DATABASE zoo FROM PUBLIC',
    `COMMENT ON DATABASE zoo IS 'it''s ours'`,
  ])
  await fillZoo(server, 'zoo')
  await server.sql('ALTER TABLE author OWNER TO shop; GRANT SELECT ON zoo TO shop', 'zoo')
})
afterAll(async () => {
  await server?.dispose()
  await other?.dispose()
})

describe.skipIf(missing !== null)(`A1, A2: backups of PostgreSQL${missing === null ? '' : ` (${missing})`}`, () => {
  it.each([
    ['one file', { jobs: 1 }],
    ['several jobs', { jobs: 2 }],
  ])('come back equal on this server and on another, by %s', async (_, dump) => {
    for (const scratch of [undefined, { host: other.host, port: other.port }]) {
      const engine = engineOf(server, 'zoo', { dump, ...(scratch && { scratch }) })
      const { backup, read } = await backUp(engine)
      await using beside = await engine.beside(backup, 'scratch', 'm1', job)
      const back = await beside.reading(never, seen)
      expect(compareSchemas(read.schema, back.schema)).toEqual([])
      expect(compareFingerprints(read.data, back.data)).toEqual([])
      expect(Object.keys(back.data.tables)).toContain('(large objects)')
      expect(await engine.found('scratch', 'm1', never)).not.toBeNull()
      await beside.drop()
      expect(await engine.found('scratch', 'm1', never)).toBeNull()
    }
  })

  it('say what they cover and what not, and keep no password', async () => {
    const engine = engineOf(server, 'zoo')
    const { backup, dumped } = await backUp(engine)
    expect(dumped.made).toMatch(/^pg_dump \(PostgreSQL\) \d+\.\d+ .*of PostgreSQL \d+\.\d+$/)
    expect(dumped.covers.join('\n')).toContain('2 large objects')
    const [citext] = await server.sql(`SELECT extversion AS version FROM pg_extension WHERE extname = 'citext'`, 'zoo')
    expect(dumped.leaves.join('\n')).toContain(`citext ${String(citext?.['version'])}`)
    expect(dumped.leaves.join('\n')).toContain('1 materialised views are filled anew')
    expect(await readdir(backup.dir)).toEqual(['database.dump.zst', 'roles.sql'])
    const roles = await readFile(join(backup.dir, 'roles.sql'), 'utf8')
    expect(roles).toContain('CREATE ROLE shop')
    expect(roles).not.toContain('SCRAM')
    expect(JSON.stringify(backup.facts)).not.toContain('not-a-secret')
  })

  it('see the same instant as what is read beside them', async () => {
    await server.sql('CREATE DATABASE busy')
    await server.sql('CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)', 'busy')
    const engine = engineOf(server, 'busy')
    const { backup, read } = await backUp(engine, async db => {
      await server.sql('INSERT INTO t SELECT generate_series(101, 200)', 'busy')
      return seen(db)
    })
    expect(read.data.tables['t']?.rows).toBe(100)
    await using beside = await engine.beside(backup, 'scratch', 'm2', job)
    expect(compareFingerprints(read.data, (await beside.reading(never, seen)).data)).toEqual([])
    await beside.drop()
  })

  it('are slowed down where that is asked for', async () => {
    const took = async (dump: object) => {
      const began = performance.now()
      await backUp(engineOf(server, 'zoo', { dump }), async () => null)
      return performance.now() - began
    }
    expect(await took({ throttle: 20_000 })).toBeGreaterThan((await took({})) + 2_000)
  })

  it('are not loaded when they were cut short or altered', async () => {
    const engine = engineOf(server, 'zoo')
    const { backup } = await backUp(engine)
    const file = join(backup.dir, 'database.dump.zst')
    const whole = await readFile(file)
    const altered = Buffer.from(whole)
    altered.writeUInt8((altered[altered.length >> 1] ?? 0) ^ 1, altered.length >> 1)
    for (const content of [whole.subarray(0, whole.length - 100), altered, Buffer.from('nonsense')]) {
      await writeFile(file, content)
      await expect(engine.beside(backup, 'scratch', 'm3', job)).rejects.toMatchObject({ code: 'backup_damaged' })
      expect(await engine.found('scratch', 'm3', never)).toBeNull()
    }
    await rm(file)
    await expect(engine.beside(backup, 'scratch', 'm3', job)).rejects.toMatchObject({ code: 'backup_damaged' })
    expect(await leftOver('m3')).toEqual([])
  })

  it('replace a half copy of a killed process, and nothing that is somebody else’s', async () => {
    const engine = engineOf(server, 'zoo')
    const { backup } = await backUp(engine)
    const beside = await engine.beside(backup, 'scratch', 'm4', job)
    const name = beside.name.split(' on ')[0] ?? ''
    await server.sql(`COMMENT ON DATABASE "${name}" IS NULL`)
    await expect(engine.beside(backup, 'scratch', 'm4', job)).rejects.toMatchObject({ code: 'scratch_exists' })
    await server.sql(`DROP DATABASE "${name}" WITH (FORCE)`)
    await server.sql(`CREATE DATABASE "${name}"`)
    const open = await server.connect(name)
    const again = await engine.beside(backup, 'scratch', 'm4', job)
    expect(compareSchemas((await look(engine)).schema, (await again.reading(never, seen)).schema)).toEqual([])
    await again.drop()
    await open.end().catch(() => {})
  })

  it('name roles that the other server lacks', async () => {
    await server.sql(['CREATE ROLE reader', 'CREATE DATABASE ruled'])
    await server.sql(
      'CREATE TABLE t (); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t TO reader USING (true)',
      'ruled',
    )
    const engine = engineOf(server, 'ruled', { scratch: { port: other.port } })
    const { backup } = await backUp(engine)
    await expect(engine.beside(backup, 'scratch', 'm5', job)).rejects.toMatchObject({
      code: 'roles_missing',
      message: expect.stringContaining('reader') as string,
    })
  })
})

async function leftOver(mark: string): Promise<unknown[]> {
  return server.sql(
    `SELECT datname FROM pg_database WHERE datname LIKE 'backout_%${mark}%' OR datname LIKE 'backout\\_scratch%'`,
  )
}

describe.skipIf(missing !== null)('A1: bad luck while backing up PostgreSQL', () => {
  it('names a tool that is older than the server, or not there', async () => {
    const tools = await mkdtemp(join(tmpdir(), 'tools-'))
    await mkdir(tools, { recursive: true })
    await expect(backUp(engineOf(server, 'zoo', { tools }))).rejects.toMatchObject({ code: 'tool_missing' })
    await writeFile(join(tools, 'pg_dump'), '#!/bin/sh\necho "pg_dump (PostgreSQL) 9.6.24"', { mode: 0o755 })
    await expect(backUp(engineOf(server, 'zoo', { tools }))).rejects.toMatchObject({ code: 'tool_too_old' })
  })

  it('names who holds the lock that a dump waits for', async () => {
    const blocker = await server.connect('zoo')
    await blocker.query("SET application_name = 'nightly job'; BEGIN; LOCK TABLE zoo IN ACCESS EXCLUSIVE MODE")
    const engine = engineOf(server, 'zoo', { lockLimit: '500ms' })
    const held = { code: 'database_busy', message: expect.stringContaining('postgres (nightly job') as string }
    await expect(backUp(engine, async () => 1)).rejects.toMatchObject(held)
    await expect(look(engine)).rejects.toMatchObject(held)
    await blocker.end()
  })

  it('stops when it is told to, and leaves nothing at work in the server', async () => {
    const stop = new AbortController()
    const engine = engineOf(server, 'zoo', { dump: { throttle: 10_000 } })
    const dumping = backUp(engine, seen, { ...job, signal: stop.signal })
    setTimeout(() => stop.abort(new Error('enough')), 700)
    await expect(dumping).rejects.toThrow('enough')
    await expect.poll(async () => (await server.sql(AT_WORK)).length, { timeout: 5000 }).toBe(0)
  })
})

const AT_WORK = `SELECT pid FROM pg_stat_activity WHERE application_name = 'backout' AND pid <> pg_backend_pid()`
