import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memoryBackups } from '../../../test/conformance/stores.ts'
import { INSTALLED, type Mariadb, mariadb, noMariadb, OTHER } from '../../../test/support/mariadb.ts'
import { toJson } from '../../core/json.ts'
import { compareFingerprints } from '../../data/diff.ts'
import type { Engine, Job, Reader } from '../../data/engine.ts'
import { compareSchemas } from '../../data/schema.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'
import { zooFor } from './zoo.fixture.ts'

const why = OTHER === null ? 'no second version in BACKOUT_TEST_MARIADB' : noMariadb()
const NOT_THE_TIME = `UPDATE zoo.times SET made = '2026-01-01 00:00:00'`

describe.skipIf(why !== null)(`A4: MariaDB of two versions${why === null ? '' : ` (skipped: ${why})`}`, () => {
  const job: Job = { signal: AbortSignal.timeout(120_000), guard() {}, progress() {} }
  const both = async (db: Reader, method?: string) => {
    const schema = await db.schema()
    return { schema, data: await db.fingerprint(schema, undefined, method) }
  }
  let dir: string
  let servers: Mariadb[] = []
  let [older, newer]: { server: Mariadb; bin: string }[] = []

  const engineOf = (server: Mariadb, more: object = {}): Engine =>
    mysqlEngine(mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'zoo', ...more }), '/')

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-versions-'))
    servers = await Promise.all([mariadb([], INSTALLED), mariadb([], [OTHER ?? ''])])
    const numbered = await Promise.all(
      servers.map(async (server, i) => {
        const [row] = await server.sql('SELECT VERSION() AS version')
        const [major = 0, minor = 0] = String(row?.['version']).split('.').map(Number)
        return { server, bin: i === 0 ? '/usr/bin' : (OTHER ?? ''), version: major * 100 + minor }
      }),
    )
    ;[older, newer] = numbered.toSorted((a, b) => a.version - b.version)
    if (older === undefined) throw new Error('no server')
    const zoo = await zooFor(older.server)
    for (const server of servers) {
      await server.sql(
        'CREATE DATABASE zoo CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci',
        'USE zoo',
        ...zoo,
        NOT_THE_TIME,
      )
    }
  })
  afterAll(async () => {
    await Promise.all(servers.map(server => server.dispose()))
    await rm(dir, { recursive: true, force: true })
  })

  it('read the same in the same content, schema and every value', async () => {
    if (older === undefined || newer === undefined) throw new Error('no servers')
    const one = await engineOf(older.server).reading(job.signal, db => both(db))
    const two = await engineOf(newer.server).reading(job.signal, db => both(db, one.data.method))
    expect(compareSchemas(one.schema, two.schema)).toEqual([])
    expect(compareFingerprints(one.data, two.data)).toEqual([])
    expect(one.data.tables['numbers']?.rows).toBe(5)
  })

  it.each(['older', 'newer'])('prove a backup of the older one on the %s, by the tools of the newer', async on => {
    if (older === undefined || newer === undefined) throw new Error('no servers')
    const there = on === 'older' ? older : newer
    const engine = engineOf(older.server, { tools: newer.bin, scratch: { socket: there.server.socket, user: 'root' } })
    const draft = await memoryBackups().begin({ component: 'db', reason: 'capture', release: 'good' })
    const { dumped, read } = await engine.dump(draft.dir, job, db => both(db))
    const backup = await draft.seal(toJson({ dump: dumped }))
    await using beside = await engine.beside(backup, 'scratch', on, job)
    const back = await beside.reading(job.signal, db => both(db, read.data.method))
    expect(compareSchemas(read.schema, back.schema)).toEqual([])
    expect(compareFingerprints(read.data, back.data)).toEqual([])
    await beside.drop()
  })

  it('refuses the tools of the older one for the newer', async () => {
    if (older === undefined || newer === undefined) throw new Error('no servers')
    const engine = engineOf(newer.server, { tools: older.bin })
    await expect(engine.dump(dir, job, db => both(db))).rejects.toMatchObject({ code: 'tool_too_old' })
  })
})
