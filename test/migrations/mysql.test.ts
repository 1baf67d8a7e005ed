import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mysql } from '../../src/adapters/mysql/index.ts'
import { memoryBackups, memoryVault } from '../conformance/stores.ts'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'

const signal = new AbortController().signal
const skipped = noMariadb()

/** Bookkeeping as the tool makes it on MySQL, what it then says, and the lock that its session takes in a database `told`. */
const MADE: readonly [tool: string, sql: readonly string[], applied: readonly string[], lock: string][] = [
  [
    'prisma',
    [
      `CREATE TABLE _prisma_migrations (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at DATETIME(3), migration_name VARCHAR(255) NOT NULL,
         logs TEXT, rolled_back_at DATETIME(3), started_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), applied_steps_count INTEGER UNSIGNED NOT NULL DEFAULT 0)`,
      `INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES ('x', 'c', now(), '2026_a')`,
    ],
    ['2026_a'],
    'prisma_migrate',
  ],
  [
    'rails',
    [
      'CREATE TABLE schema_migrations (version varchar(255) NOT NULL PRIMARY KEY)',
      'CREATE TABLE ar_internal_metadata (`key` varchar(255) NOT NULL PRIMARY KEY, value varchar(255))',
      `INSERT INTO schema_migrations VALUES ('20260102000000'), ('20260101000000')`,
    ],
    ['20260101000000', '20260102000000'],
    String(2_053_462_845n * 84_272_416n),
  ],
  [
    'golang-migrate',
    [
      'CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)',
      'INSERT INTO schema_migrations VALUES (7, false)',
    ],
    ['7'],
    '1218244490',
  ],
]

describe.skipIf(skipped !== null)(`migration tools on MariaDB${skipped === null ? '' : ` (${skipped})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
  })
  afterAll(() => server.dispose())

  it.each(MADE)(
    'C2 C11: %s is known by its bookkeeping, and by the lock of its session',
    async (name, sql, applied, lock) => {
      await server.sql('DROP DATABASE IF EXISTS told', 'CREATE DATABASE told', 'USE told', ...sql)
      const settings = { socket: server.socket, user: 'root', database: 'told' }
      const stores = { backups: memoryBackups(), vault: memoryVault() }
      const ctx = { environment: 'test', component: 'db', baseDir: '/', stateDir: '/nowhere', ...stores }
      await using target = await mysql.open(mysql.config.parse(settings), ctx)
      const before = await target.observe(signal)
      expect(before.state).toMatchObject({ level: { tool: name, applied } })
      expect(before.inFlight).toEqual([])
      const holder = await createConnection({ socketPath: server.socket, user: 'root' })
      await holder.query(`SELECT GET_LOCK('${lock}', 1)`)
      const seen = await target.observe(signal)
      await holder.end()
      const said = `^${name} is migrating right now \\(session \\d+ holds its lock\\)$`
      expect(seen.inFlight.map(op => op.what)).toEqual([expect.stringMatching(said)])
    },
  )
})
