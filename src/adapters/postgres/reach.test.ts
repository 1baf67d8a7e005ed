import { execFileSync } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { backUp, engineOf, job, look, never, seen } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer
let replica: PostgresServer
let certificate: string

beforeAll(async () => {
  if (missing !== null) return
  const dir = await mkdtemp(join(tmpdir(), 'tls-'))
  certificate = join(dir, 'cert.pem')
  const key = join(dir, 'key.pem')
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, '-keyout', key, '-out', certificate],
    {
      stdio: 'ignore',
    },
  )
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', 'postgres', dir])
  server = await postgresServer(['ssl=on', `ssl_cert_file=${certificate}`, `ssl_key_file=${key}`])
  await server.sql('CREATE DATABASE shop')
  await server.sql(
    'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i',
    'shop',
  )
  replica = await postgresServer([], server)
})
afterAll(async () => {
  await replica?.dispose()
  await server?.dispose()
})

const TLS = `SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`

describe.skipIf(missing !== null)(`reaching PostgreSQL${missing === null ? '' : ` (${missing})`}`, () => {
  it.each([
    ['checked whole', 'localhost', { mode: 'verify-full' }],
    ['checked but for the name', '127.0.0.1', { mode: 'verify-ca' }],
    ['where the server has it', '127.0.0.1', {}],
  ])('by TLS, %s: sessions and tools alike', async (_, host, more) => {
    const ssl = { ...more, ...('mode' in more ? { ca: certificate } : {}) }
    const engine = engineOf(server, 'shop', { host, ssl })
    expect(await engine.reading(never, db => db.query(TLS))).toEqual([{ ssl: true }])
    const { backup, read } = await backUp(engine)
    await using beside = await engine.beside(backup, 'scratch', `tls-${host}-${ssl.mode ?? ''}`, job)
    expect(compareFingerprints(read.data, (await beside.reading(never, seen)).data)).toEqual([])
    await beside.drop()
  })

  it('not by TLS where nobody vouches for the certificate, or it names another', async () => {
    for (const [host, ssl] of [
      ['localhost', { mode: 'verify-full' }],
      ['127.0.0.1', { mode: 'verify-full', ca: certificate }],
    ] as const) {
      await expect(look(engineOf(server, 'shop', { host, ssl }))).rejects.toMatchObject({
        code: 'database_unreachable',
      })
    }
  })

  it('by a socket, and by a URL', async () => {
    const url = `postgres://postgres:${PASSWORD}@localhost:${server.port}/shop?sslmode=verify-full&sslrootcert=${certificate}`
    const fresh = { host: undefined, port: undefined, user: undefined, password: undefined, database: undefined }
    expect(await engineOf(server, 'ignored', { ...fresh, url }).reading(never, db => db.query(TLS))).toEqual([
      { ssl: true },
    ])
    const local = engineOf(server, 'shop', { host: server.socketDir })
    expect(await local.reading(never, db => db.query(TLS))).toEqual([{ ssl: false }])
    expect((await backUp(local)).read.data.tables['t']?.rows).toBe(1000)
  })

  it('dumps from a replica once it has caught up, and not from another server', async () => {
    const engine = engineOf(server, 'shop', { dump: { from: { port: replica.port } } })
    await server.sql(`INSERT INTO t SELECT i, 'late' FROM generate_series(2001, 2500) i`, 'shop')
    const { backup, read } = await backUp(engine)
    expect(read.data.tables['t']?.rows).toBe(1500)
    expect(compareFingerprints(read.data, (await look(engine)).data)).toEqual([])
    await using beside = await engine.beside(backup, 'scratch', 'from', job)
    expect(compareFingerprints(read.data, (await beside.reading(never, seen)).data)).toEqual([])
    await beside.drop()
    await replica.sql('SELECT pg_wal_replay_pause()')
    await server.sql(`INSERT INTO t VALUES (9999, 'too late')`, 'shop')
    const behind = engineOf(server, 'shop', { dump: { from: { port: replica.port }, catchUpLimit: '1s' } })
    await expect(backUp(behind)).rejects.toMatchObject({ code: 'replica_behind' })
    const other = await postgresServer()
    try {
      await other.sql('CREATE DATABASE shop')
      const wrong = engineOf(server, 'shop', { dump: { from: { port: other.port } } })
      await expect(backUp(wrong)).rejects.toMatchObject({ code: 'replica_of_another' })
    } finally {
      await other.dispose()
    }
  })
})
