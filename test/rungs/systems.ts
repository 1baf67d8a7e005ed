import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createConnection } from 'mysql2/promise'
import { mysql } from '../../src/adapters/mysql/index.ts'
import { dumpOf as mysqlDump } from '../../src/adapters/mysql/test/merge.ts'
import { postgres } from '../../src/adapters/postgres/index.ts'
import { dumpOf as postgresDump } from '../../src/adapters/postgres/test/merge.ts'
import { sqlite } from '../../src/adapters/sqlite/index.ts'
import type { Mariadb } from '../support/mariadb.ts'
import { dumpOf as sqliteDump } from '../support/merge-oracle.ts'
import type { PostgresServer } from '../support/postgres.ts'
import type { System } from './world.ts'

let made = 0

const passes = async (work: Promise<unknown>) =>
  work.then(
    () => true,
    () => false,
  )

const UNDO = `const { DatabaseSync } = require('node:sqlite')
const sql = require('node:fs').readFileSync('down/' + process.env.BACKOUT_MIGRATION + '.sql', 'utf8')
new DatabaseSync(process.env.BACKOUT_DATABASE).exec('BEGIN;' + sql + 'COMMIT')`

/** A file of SQLite. */
export async function onSqlite(): Promise<System> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-rungs-db-'))
  await writeFile(join(dir, 'undo.cjs'), UNDO)
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

/** A new database of this server. */
export async function onPostgres(server: PostgresServer): Promise<System> {
  const database = `random${++made}`
  await server.sql(`CREATE DATABASE ${database}`)
  const settings = server.settings(database)
  const psql = join(String(settings['tools']), 'psql')
  return {
    async run(statements) {
      const client = await server.connect(database)
      try {
        const done: boolean[] = []
        for (const sql of statements) done.push(await passes(client.query(sql)))
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

/** The same on MariaDB. */
export async function onMariadb(server: Mariadb): Promise<System> {
  const database = `random${++made}`
  await server.sql(`CREATE DATABASE ${database} CHARACTER SET utf8mb4`)
  const client = `mariadb --no-defaults --user="$MYSQL_USER" --socket="$MYSQL_UNIX_PORT" "$MYSQL_DATABASE"`
  const settings = { socket: server.socket, user: 'root', database }
  return {
    async run(statements) {
      const link = await createConnection({ socketPath: server.socket, user: 'root', database, charset: 'utf8mb4' })
      try {
        const done: boolean[] = []
        for (const sql of statements) done.push(await passes(link.query(sql)))
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
