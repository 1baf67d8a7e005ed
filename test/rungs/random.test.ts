import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mysql } from '../../src/adapters/mysql/index.ts'
import { dumpOf as mysqlDump } from '../../src/adapters/mysql/test/merge.ts'
import { postgres } from '../../src/adapters/postgres/index.ts'
import { dumpOf as postgresDump } from '../../src/adapters/postgres/test/merge.ts'
import { sqlite } from '../../src/adapters/sqlite/index.ts'
import { mariadb, type Mariadb, noMariadb } from '../support/mariadb.ts'
import { dumpOf as sqliteDump } from '../support/merge-oracle.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { tryRung } from './rungs.ts'
import type { System } from './world.ts'

/** Stories a rung. */
const RUNS = Number(process.env['BACKOUT_RANDOM_RUNGS'] ?? 2)
const LIMIT = { timeout: 600_000 }
let made = 0

const refused = async (work: Promise<unknown>) =>
  work.then(
    () => true,
    () => false,
  )

/** Every rung, on stories of random schemas, releases and writes. Those that a plan refuses touch nothing. */
function rungs(make: () => Promise<System>, runs: number): void {
  it('leave: nothing is touched', LIMIT, async () => {
    expect((await tryRung('leave', make, runs)).tried).toBe(runs)
  })
  it('migrate-down: what has a place is there again, what goes was counted', LIMIT, async () => {
    expect((await tryRung('migrate-down', make, runs)).gone).toBeGreaterThan(0)
  })
  it('restore: no committed row is lost without being listed', LIMIT, async () => {
    expect((await tryRung('restore', make, runs)).gone).toBeGreaterThan(0)
  })
}

describe('C11, C13, C14: random releases on SQLite', () => {
  const undo = `const { DatabaseSync } = require('node:sqlite')
const sql = require('node:fs').readFileSync('down/' + process.env.BACKOUT_MIGRATION + '.sql', 'utf8')
new DatabaseSync(process.env.BACKOUT_DATABASE).exec('BEGIN;' + sql + 'COMMIT')`

  const make = async (): Promise<System> => {
    const dir = await mkdtemp(join(tmpdir(), 'backout-rungs-db-'))
    await writeFile(join(dir, 'undo.cjs'), undo)
    const path = join(dir, 'shop.db')
    return {
      async run(statements) {
        const db = new DatabaseSync(path)
        db.exec('PRAGMA foreign_keys = ON')
        const done = statements.map(sql => {
          try {
            db.exec(sql)
            return true
          } catch {
            return false
          }
        })
        db.close()
        return done
      },
      dump: async () => sqliteDump(path),
      open: async (settings, ctx) => sqlite.open(sqlite.config.parse({ path, ...settings }), ctx),
      down: [process.execPath, '--disable-warning=ExperimentalWarning', join(dir, 'undo.cjs')],
      dispose: () => rm(dir, { recursive: true, force: true }),
    }
  }
  rungs(make, RUNS * 3)
})

const noPg = noPostgres()

describe.skipIf(noPg !== null)(
  `C11, C13, C14: random releases on PostgreSQL${noPg === null ? '' : ` (${noPg})`}`,
  () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await postgresServer()
    })
    afterAll(() => server?.dispose())

    const make = async (): Promise<System> => {
      const database = `random${++made}`
      await server.sql(`CREATE DATABASE ${database}`)
      const settings = server.settings(database)
      const psql = join(String(settings['tools']), 'psql')
      return {
        async run(statements) {
          const client = await server.connect(database)
          try {
            const done: boolean[] = []
            for (const sql of statements) done.push(await refused(client.query(sql)))
            return done
          } finally {
            await client.end()
          }
        },
        dump: () => postgresDump(server, database),
        open: async (more, ctx) => postgres.open(postgres.config.parse({ ...settings, ...more }), ctx),
        down: ['sh', '-c', `'${psql}' -qX1 -v ON_ERROR_STOP=1 -f "down/$BACKOUT_MIGRATION.sql" "$DATABASE_URL"`],
        dispose: async () => {},
      }
    }
    rungs(make, RUNS)
  },
)

const noMaria = noMariadb()

describe.skipIf(noMaria !== null)(
  `C11, C13, C14: random releases on MariaDB${noMaria === null ? '' : ` (skipped: ${noMaria})`}`,
  () => {
    let server: Mariadb
    beforeAll(async () => {
      server = await mariadb()
    })
    afterAll(() => server?.dispose())

    const make = async (): Promise<System> => {
      const database = `random${++made}`
      await server.sql(`CREATE DATABASE ${database} CHARACTER SET utf8mb4`)
      const client = `mariadb --no-defaults --user="$MYSQL_USER" --socket="$MYSQL_UNIX_PORT" "$MYSQL_DATABASE"`
      const settings = { socket: server.socket, user: 'root', database }
      return {
        async run(statements) {
          const link = await createConnection({ socketPath: server.socket, user: 'root', database, charset: 'utf8mb4' })
          try {
            const done: boolean[] = []
            for (const sql of statements) done.push(await refused(link.query(sql)))
            return done
          } finally {
            await link.end()
          }
        },
        dump: () => mysqlDump(server, database, false),
        open: async (more, ctx) => mysql.open(mysql.config.parse({ ...settings, ...more }), ctx),
        down: ['sh', '-c', `${client} < "down/$BACKOUT_MIGRATION.sql"`],
        dispose: async () => {},
      }
    }
    rungs(make, RUNS)
  },
)
