import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../../src/cli/doctor/folder.fixture.ts'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'

/** The rehearsal of docs/databases.md on a server: what SQL differs, and how it is run. */
interface Stage {
  readonly sql: (...statements: readonly string[]) => Promise<Record<string, unknown>[]>
  readonly adapter: string
  readonly settings: object
  /** Undoes 002_discount by the server's own client. */
  readonly down: string
}

const mark = (name: string, id: number) =>
  `INSERT INTO knex_migrations (id, name, batch) VALUES (${id}, '${name}', ${id})`

const GOOD = (id: string) => [
  `CREATE TABLE orders (id ${id}, total numeric(10,2) NOT NULL, customer varchar(20))`,
  `INSERT INTO orders (total, customer) VALUES (10, 'ann'), (25, 'bob'), (7, 'cid')`,
  'CREATE TABLE knex_migrations (id int PRIMARY KEY, name varchar(50), batch int, migration_time timestamp NULL)',
  mark('001_orders', 1),
]
const DISCOUNT = ['ALTER TABLE orders ADD COLUMN discount numeric(10,2) DEFAULT 0', mark('002_discount', 2)]
const DISCOUNTS = [
  `INSERT INTO orders (total, customer, discount) VALUES (40, 'dan', 5)`,
  'UPDATE orders SET discount = 2 WHERE id = 1',
]
const CENTS = [
  'ALTER TABLE orders RENAME COLUMN total TO cents',
  'UPDATE orders SET cents = cents * 100',
  mark('003_cents', 3),
]
const CENTS_WRITTEN = [
  `INSERT INTO orders (cents, customer) VALUES (1250, 'eve')`,
  `UPDATE orders SET customer = 'Bob' WHERE id = 2`,
]

async function rehearse({ sql, adapter, settings, down }: Stage): Promise<Record<string, unknown>[]> {
  const migrations = { down: ['sh', '-c', down], downScripts: 'down/{name}.sql' }
  const whole = { ...settings, writers: 'none', compatible: 'never', migrations }
  const yaml = `environment: rehearsal\ncomponents:\n  db: { adapter: ${adapter}, settings: ${JSON.stringify(whole)} }\n`
  await using folder = await Folder.make({ 'backout.yaml': yaml, 'down/002_discount.sql': '-- see `down`' })
  const backout = async (line: string, code = 0): Promise<string> => {
    const ran = await folder.run(...line.split(' '))
    expect({ line, code: ran.code }, ran.stdout + ran.stderr).toEqual({ line, code })
    return ran.stdout
  }
  const upgrade = async (to: string, up: readonly string[], written: readonly string[]) => {
    await backout(`upgrade begin ${to}`)
    await sql(...up)
    await backout(`upgrade migrated ${to}`)
    await sql(...written)
    await backout(`upgrade end ${to}`)
  }
  await backout('capture v1 --known-good')
  await backout('db check')
  await upgrade('v2', DISCOUNT, DISCOUNTS)
  expect(await backout('plan')).toContain('2 values of orders.discount')
  await backout('run --yes')
  expect(await backout('db check', 10)).toContain('3 rows then, 4 now')
  expect(await backout('db check --rows 5', 10)).toMatch(/orders: added +id = 4 +total \*\*\*/)
  await upgrade('v3', CENTS, CENTS_WRITTEN)
  expect((await backout('plan')).replaceAll(/\s+/g, ' ')).toContain('No down-script is there for 003_cents')
  await backout('run --yes --loss-window 1h')
  expect(await backout('data status', 5)).toContain('1 column-gone')
  await folder.write(
    'words.yaml',
    '- { table: orders, kind: column-gone, key: { id: "5" }, take: theirs, set: { total: "12.50" } }\n',
  )
  await backout('data apply --yes --settle words.yaml')
  await backout('db check', 10)
  return sql('SELECT id, total, customer FROM orders ORDER BY id')
}

const BACK = [
  { id: 1, total: '10.00', customer: 'ann' },
  { id: 2, total: '25.00', customer: 'Bob' },
  { id: 3, total: '7.00', customer: 'cid' },
  { id: 4, total: '40.00', customer: 'dan' },
  { id: 5, total: '12.50', customer: 'eve' },
]
const DOWN = `ALTER TABLE orders DROP COLUMN discount; DELETE FROM knex_migrations WHERE name = '$BACKOUT_MIGRATION'`

const noPg = noPostgres()

describe.skipIf(noPg !== null)(
  `C11, C13, C14, D5: the rehearsal on PostgreSQL${noPg === null ? '' : ` (${noPg})`}`,
  () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await postgresServer()
    })
    afterAll(() => server?.dispose())

    it('undoes, restores, and brings back what was written', async () => {
      await server.sql('CREATE DATABASE shop')
      const sql = (...statements: readonly string[]) => server.sql(statements, 'shop')
      await sql(...GOOD('serial PRIMARY KEY'))
      const settings = server.settings('shop')
      const down = `'${String(settings['tools'])}/psql' -v ON_ERROR_STOP=1 -qc "${DOWN}"`
      expect(await rehearse({ sql, adapter: 'postgres', settings, down })).toEqual(BACK)
    }, 240_000)
  },
)

const noMaria = noMariadb()

describe.skipIf(noMaria !== null)(
  `C11, C13, C14, D5: the rehearsal on MariaDB${noMaria === null ? '' : ` (skipped: ${noMaria})`}`,
  () => {
    let server: Mariadb
    beforeAll(async () => {
      server = await mariadb()
    })
    afterAll(() => server?.dispose())

    it('undoes, restores, and brings back what was written', async () => {
      await server.sql('CREATE DATABASE shop')
      const sql = (...statements: readonly string[]) => server.sql('USE shop', ...statements)
      await sql(...GOOD('int AUTO_INCREMENT PRIMARY KEY'))
      const settings = { socket: server.socket, user: 'root', database: 'shop' }
      const down = `mariadb --no-defaults --user="$MYSQL_USER" --socket="$MYSQL_UNIX_PORT" "$MYSQL_DATABASE" -e "${DOWN}"`
      expect(await rehearse({ sql, adapter: 'mysql', settings, down })).toEqual(BACK)
    }, 240_000)
  },
)
