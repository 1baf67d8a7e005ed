import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { compareFingerprints } from '../../data/diff.ts'
import type { Reader } from '../../data/engine.ts'
import { compareSchemas } from '../../data/schema.ts'
import { mysqlSettings } from './config.ts'
import { fingerprint } from './fingerprint.ts'
import { shownName } from './names.ts'
import { extents, readSchema } from './schema.ts'
import { connect, type Session } from './session.ts'
import { inSnapshot } from './snapshot.ts'
import { CHANGES, zooFor } from './zoo.fixture.ts'

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
    const zoo = await zooFor(server)
    await server.sql('CREATE DATABASE zoo', 'USE zoo', ...zoo)
    await server.sql('CREATE DATABASE zoo2', 'USE zoo2', ...zoo)
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

  it('are the same by many sessions and pieces as by one, whatever the key, and beyond 32 bits of it', async () => {
    await server.sql(
      'CREATE DATABASE big',
      'USE big',
      'CREATE TABLE counted (id bigint PRIMARY KEY, a varchar(20), d double) ENGINE=InnoDB',
      `INSERT INTO counted SELECT IF(seq % 2 = 0, seq, -seq * 10000000000), CONCAT('v', seq), seq / 7 FROM seq_1_to_70000`,
      'CREATE TABLE short (id bigint PRIMARY KEY, a varchar(20), d double) ENGINE=InnoDB',
      `INSERT INTO short SELECT seq, CONCAT('v', seq), seq / 7 FROM seq_1_to_70000`,
      'CREATE TABLE named (name varchar(30) PRIMARY KEY, a int, b int) ENGINE=InnoDB',
      `INSERT INTO named SELECT CONCAT('n', seq), seq, -seq FROM seq_1_to_70000`,
      `CREATE TABLE wide (id int PRIMARY KEY, ${Array.from({ length: 900 }, (_, i) => `c${i} int`).join(', ')}) ENGINE=InnoDB`,
      'INSERT INTO wide (id, c0, c899) VALUES (1, 5, 7), (2, NULL, 8)',
      'ANALYZE TABLE counted, short, named, wide',
    )
    const taken = async (pieces: 'many' | 'one') => {
      const settings = mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'big' })
      const access = { server: settings, baseDir: '/', connectLimit: 5_000, busyLimit: 5_000, own: new Set<number>() }
      const signal = AbortSignal.timeout(60_000)
      await using first = await connect(access, 'big', signal)
      await using second = await connect(access, 'big', signal)
      const schema = await readSchema(first, 'big')
      const known = pieces === 'one' ? new Map() : await extents(first, 'big')
      const sessions: [Session, ...Session[]] = pieces === 'one' ? [first] : [first, second]
      return await fingerprint({ sessions, database: 'big', extents: known }, schema)
    }
    const [many, one] = [await taken('many'), await taken('one')]
    expect(compareFingerprints(one, many)).toEqual([])
    expect(Object.keys(one.tables['wide']?.columns ?? {})).toHaveLength(901)
    expect(one.tables['counted']?.rows).toBe(70_000)
    await server.sql(
      'USE big',
      `UPDATE counted x JOIN counted y ON y.id = IF(x.id = 2, 4, 2) SET x.a = IF(x.id = 2, 'v4', 'v2') WHERE x.id IN (2, 4)`,
      'UPDATE wide SET c898 = 1 WHERE id = 2',
    )
    expect(compareFingerprints(one, await taken('many')).map(d => [d.table, d.columns])).toEqual([
      ['counted', ['a']],
      ['wide', ['c898']],
    ])
  })

  it('of servers whose checksums take no seed notice every change too', async () => {
    await server.sql('CREATE DATABASE zoo3', 'USE zoo3', ...(await zooFor(server)))
    const settings = mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'zoo3' })
    const access = { server: settings, baseDir: '/', connectLimit: 5_000, busyLimit: 5_000, own: new Set<number>() }
    await using db = await connect(access, 'zoo3', AbortSignal.timeout(60_000))
    const older: Session = { ...db, flavour: { mariadb: true, version: '10.6.1-MariaDB', number: 100_601 } }
    const taken = async () => {
      const schema = await readSchema(db, 'zoo3')
      return fingerprint({ sessions: [older], database: 'zoo3', extents: new Map() }, schema)
    }
    for (const [table, sql] of CHANGES) {
      const before = await taken()
      await server.sql(
        "SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES'",
        'SET foreign_key_checks = 0',
        'USE zoo3',
        sql,
      )
      const differing = compareFingerprints(before, await taken()).map(d => d.table)
      expect([sql, differing.includes(shownName(table))]).toEqual([sql, true])
    }
    expect((await taken()).method).toBe('mariadb-mirror-2')
  })

  it('of the oldest rows, and of some columns, where only these are asked for', async () => {
    const part = await reading('zoo', async db => {
      const schema = await db.schema()
      const whole = await db.fingerprint(schema)
      const some = await db.fingerprint(schema, { tables: ['numbers'], columns: { numbers: ['price'] } })
      const first = await db.fingerprint(schema, { tables: ['numbers'], rows: 2 })
      return { whole, some, first, counts: await db.rowCounts(schema), bytes: await db.bytes() }
    })
    expect(part.some.tables).toEqual({
      numbers: { rows: 5, columns: { price: part.whole.tables['numbers']?.columns['price'] } },
    })
    expect(part.first.tables['numbers']?.rows).toBe(2)
    expect(part.counts['numbers']).toBe(5)
    expect(part.bytes).toBeGreaterThan(100_000)
  })

  it('refuse to write while they are read', async () => {
    const refused = reading('zoo', db => db.query('DELETE FROM log'))
    await expect(refused).rejects.toMatchObject({ code: 'database_failed' })
  })
})
