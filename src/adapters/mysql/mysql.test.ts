import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { mysql } from './index.ts'

const APP = [{ id: 'app', serves: ['stopped' as const] }]

const GOOD = [
  'CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, total decimal(8,2) NOT NULL, note varchar(50)) ENGINE=InnoDB',
  "INSERT INTO orders (total, note) VALUES (5.00, 'first'), (7.50, NULL), (9.99, 'last')",
  'CREATE TABLE knex_migrations (id int AUTO_INCREMENT PRIMARY KEY, name varchar(255), batch int, migration_time timestamp)',
  'CREATE TABLE knex_migrations_lock (`index` int PRIMARY KEY, is_locked int)',
  "INSERT INTO knex_migrations (name, batch) VALUES ('001_start', 1)",
]
const BAD = [
  'ALTER TABLE orders ADD COLUMN discount decimal(8,2) DEFAULT 0',
  "INSERT INTO knex_migrations (name, batch) VALUES ('002_discount', 2)",
  'CREATE TABLE coupons (code varchar(20) PRIMARY KEY, used int NOT NULL) ENGINE=InnoDB',
  "INSERT INTO knex_migrations (name, batch) VALUES ('003_coupons', 2)",
]

/** Undoes one migration with the server's own client, which finds the server by the variables that the adapter sets. */
const DOWN = `#!/bin/sh
case "$BACKOUT_MIGRATION" in
  002_discount) sql='ALTER TABLE orders DROP COLUMN discount' ;;
  003_coupons) sql='DROP TABLE coupons' ;;
  *) exit 3 ;;
esac
exec mariadb --no-defaults --user="$MYSQL_USER" "$MYSQL_DATABASE" -e "$sql; DELETE FROM knex_migrations WHERE name = '$BACKOUT_MIGRATION'"
`

const why = noMariadb()

describe.skipIf(why !== null)(`C11, C13: mysql${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  let made = 0
  beforeAll(async () => {
    server = await mariadb()
    await server.sql("CREATE USER app IDENTIFIED BY 'a word'", 'GRANT ALL ON *.* TO app')
  })
  afterAll(() => server?.dispose())

  const { backups, vault } = stepAct()
  const shop = async (dir: string) => {
    const database = `shop${++made}`
    await server.sql(`CREATE DATABASE ${database} CHARACTER SET utf8mb4`, `USE ${database}`, ...GOOD)
    const migrations = { down: [join(dir, 'down')] }
    const settings = { socket: server.socket, user: 'app', password: 'a word', database, migrations }
    const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
    return { database, open: () => mysql.open(mysql.config.parse(settings), ctx) }
  }

  conformance('mysql on MariaDB', {
    adapter: mysql,
    rungs: ['migrate-down', 'restore'],
    make: async () => {
      const dir = await mkdtemp(join(tmpdir(), 'backout-mysql-'))
      await writeFile(join(dir, 'down'), DOWN)
      await chmod(join(dir, 'down'), 0o755)
      const [one, other] = [await shop(dir), await shop(dir)]
      return {
        open: one.open,
        openOther: other.open,
        upgrade: async () => {
          await server.sql(`USE ${one.database}`, ...BAD)
        },
        serves: async () => {
          const tables = (await server.sql(`SHOW TABLES FROM ${one.database} LIKE 'coupons'`)).length
          const columns = (await server.sql(`SHOW COLUMNS FROM ${one.database}.orders LIKE 'discount'`)).length
          return tables + columns === 0 ? 'A' : tables + columns === 2 ? 'B' : 'other'
        },
        dependents: APP,
        dispose: () => rm(dir, { recursive: true, force: true }),
      }
    },
  })
})
