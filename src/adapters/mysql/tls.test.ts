import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import type { Backup } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import type { Job } from '../../data/engine.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'

const why = noMariadb()
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

describe.skipIf(why !== null)(`MariaDB over TLS${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  let dir: string
  const certificate = (name: string) => {
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost']
    const names = ['-addext', 'subjectAltName=DNS:localhost']
    const out = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.pem`)]
    execFileSync('openssl', [...request, ...names, ...out], { stdio: 'ignore' })
  }
  const engine = (ssl: object | undefined) =>
    mysqlEngine(
      mysqlSettings.parse({
        host: 'localhost',
        port: server.port,
        user: 'app',
        password: 'a word',
        database: 'shop',
        connectLimit: '3s',
        ssl,
      }),
      dir,
    )

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-tls-'))
    certificate('server')
    certificate('other')
    server = await mariadb([`--ssl-cert=${join(dir, 'server.pem')}`, `--ssl-key=${join(dir, 'server.key')}`])
    await server.sql(
      "CREATE USER app IDENTIFIED BY 'a word' REQUIRE SSL",
      'GRANT ALL ON *.* TO app',
      'CREATE DATABASE shop',
      'CREATE TABLE shop.t (id int PRIMARY KEY) ENGINE=InnoDB',
    )
  })
  afterAll(async () => {
    await server?.dispose()
    await rm(dir, { recursive: true, force: true })
  })

  it('reads, dumps and loads with a server that is known', async () => {
    const known = engine({ ca: 'server.pem' })
    const [row] = await known.reading(job.signal, db => db.query("SHOW STATUS LIKE 'Ssl_version'"))
    expect(row?.['Value']).toMatch(/^TLS/)
    const { dumped } = await known.dump(dir, job, async () => null)
    const image = await known.beside(
      { id: 'b', dir, facts: toJson({ dump: dumped }) } as unknown as Backup,
      'scratch',
      'm',
      job,
    )
    expect(Object.keys((await image.reading(job.signal, db => db.schema())).tables)).toEqual(['t'])
    await image.drop()
  })

  it('speaks to nobody who cannot show a certificate that it trusts, and not in the clear', async () => {
    const look = (ssl: object | undefined) => engine(ssl).identity(job.signal)
    await expect(look({ ca: 'other.pem' })).rejects.toMatchObject({
      code: 'database_unreachable',
      next: expect.stringContaining('ssl:'),
    })
    await expect(look(undefined)).rejects.toMatchObject({ code: 'database_denied' })
    expect(await look({ verify: false })).toMatch(/^mysql:/)
  })
})
