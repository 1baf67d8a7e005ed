import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mariadb, type Mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import type { Reader } from '../../data/engine.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { compareSchemas } from '../../data/schema.ts'
import { mysqlSettings } from './config.ts'
import { inSnapshot } from './snapshot.ts'
import { CHANGES, ZOO } from './zoo.fixture.ts'

const why = noMariadb()

describe.skipIf(why !== null)(`MariaDB's schema and fingerprint${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  const reading = <T>(database: string, work: (db: Reader) => Promise<T>) => {
    const settings = mysqlSettings.parse({ socket: server.socket, user: 'root', database })
    const access = { server: settings, baseDir: '/', connectLimit: 5_000, busyLimit: 5_000, own: new Set<number>() }
    return inSnapshot(access, database, 'brief', AbortSignal.timeout(60_000), work)
  }
  const both = (database: string) =>
    reading(database, async db => {
      const schema = await db.schema()
      return { schema, data: await db.fingerprint(schema) }
    })

  beforeAll(async () => {
    server = await mariadb()
    await server.sql('CREATE DATABASE zoo', 'USE zoo', ...ZOO)
    await server.sql('CREATE DATABASE zoo2', 'USE zoo2', ...ZOO)
  })
  afterAll(async () => server?.dispose())

  it('are the same for the same content in another database', async () => {
    const [one, two] = [await both('zoo'), await both('zoo2')]
    expect(compareSchemas(one.schema, two.schema)).toEqual([])
    expect(compareFingerprints(one.data, two.data)).toEqual([])
    expect(one.data.tables['numbers']?.rows).toBe(5)
    expect(Object.keys(one.schema.tables)).toContain('"select`""odd.name"')
  })

  it.each(CHANGES)('notice a change in %s: %s', async (table, sql) => {
    const before = await reading('zoo2', async db => db.fingerprint(await db.schema()))
    await server.sql(
      "SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES'",
      'SET foreign_key_checks = 0',
      'USE zoo2',
      sql,
    )
    const after = await reading('zoo2', async db => db.fingerprint(await db.schema()))
    const differing = compareFingerprints(before, after).map(d => d.table)
    expect(differing.filter(t => t !== 'log')).toEqual([
      table.includes('.') ? `"${table.replaceAll('"', '""')}"` : table,
    ])
  })
})
