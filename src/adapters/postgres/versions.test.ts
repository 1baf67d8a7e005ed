import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INSTALLED, noPostgres, OTHER, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { compareSchemas } from '../../data/schema.ts'
import { backUp, engineOf, job, look, never, seen } from './test/support.ts'
import { fillZoo } from './test/zoo.ts'

const why = OTHER === null ? 'no second version in BACKOUT_TEST_POSTGRES' : noPostgres()

const major = async (server: PostgresServer) =>
  Number((await server.sql(`SELECT current_setting('server_version_num')::int / 10000 AS n`))[0]?.['n'])

describe.skipIf(why !== null)(`A4: PostgreSQL of two versions${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let [older, newer]: PostgresServer[] = []
  let tools: unknown
  beforeAll(async () => {
    const servers = await Promise.all([postgresServer([], null, INSTALLED), postgresServer([], null, OTHER)])
    const versions = await Promise.all(servers.map(major))
    ;[older, newer] = (versions[0] ?? 0) > (versions[1] ?? 0) ? servers.toReversed() : servers
    for (const server of servers) {
      await server.sql('CREATE DATABASE zoo')
      await fillZoo(server, 'zoo', Math.min(...versions))
      await server.sql(`UPDATE zoo SET made = '2026-01-01'`, 'zoo')
    }
    tools = newer?.settings('zoo')['tools']
  })
  afterAll(() => Promise.all([older?.dispose(), newer?.dispose()]))

  it('read the same in the same content, schema and every value', async () => {
    if (older === undefined || newer === undefined) throw new Error('no servers')
    const [one, two] = [await look(engineOf(older, 'zoo')), await look(engineOf(newer, 'zoo'))]
    expect(compareSchemas(one.schema, two.schema)).toEqual([])
    expect(compareFingerprints(one.data, two.data)).toEqual([])
    expect(Object.keys(one.data.tables).length).toBeGreaterThan(10)
  })

  it.each(['older', 'newer'])('prove a backup of the older one on the %s, by the tools of the newer', async on => {
    if (older === undefined || newer === undefined) throw new Error('no servers')
    const there = on === 'older' ? older : newer
    const engine = engineOf(older, 'zoo', { tools, scratch: { host: there.host, port: there.port } })
    const { backup, read } = await backUp(engine)
    await using beside = await engine.beside(backup, 'scratch', on, job)
    const back = await beside.reading(never, seen)
    expect(compareSchemas(read.schema, back.schema)).toEqual([])
    expect(compareFingerprints(read.data, back.data)).toEqual([])
    await beside.drop()
  })

  it('refuses the tools of the older one for the newer', async () => {
    if (older === undefined || newer === undefined) throw new Error('no servers')
    const engine = engineOf(newer, 'zoo', { tools: older.settings('zoo')['tools'] })
    await expect(backUp(engine)).rejects.toMatchObject({ code: 'tool_too_old' })
  })
})
