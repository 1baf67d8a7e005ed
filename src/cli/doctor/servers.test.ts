import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { type Answer, codes, Folder } from './folder.fixture.ts'

const KNEX = [
  'CREATE TABLE knex_migrations (id int PRIMARY KEY, name varchar(50), batch int, migration_time timestamp)',
  "INSERT INTO knex_migrations (id, name, batch) VALUES (1, '001_init.js', 1)",
]

/** Settings as JSON, which is YAML too. */
function folderFor(adapter: string, settings: object): Promise<Folder> {
  const yaml = `environment: shop\ncomponents:\n  db: { adapter: ${adapter}, settings: ${JSON.stringify(settings)} }\n`
  return Folder.make({ 'backout.yaml': yaml })
}

function said({ checks }: Answer, level: string): string[] {
  return checks.filter(c => c.component === 'db' && c.level === level).map(c => `${c.code}: ${c.what} -> ${c.remedy}`)
}

const noPg = noPostgres()

describe.skipIf(noPg !== null)(`doctor and PostgreSQL${noPg === null ? '' : ` (${noPg})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
    await server.sql(`CREATE ROLE shop LOGIN PASSWORD '${PASSWORD}'`)
    await server.sql('CREATE DATABASE shop OWNER shop')
    const shop = await server.connect('shop', 'shop')
    for (const sql of KNEX) await shop.query(sql)
    await shop.end()
  })
  afterAll(() => server?.dispose())
  const settings = (more: object = {}) => server.settings('shop', { user: 'shop', writers: 'none', ...more })

  it('F: names a right that is missing with the statement that gives it, and is content once it is given', async () => {
    await using folder = await folderFor('postgres', settings())
    const before = await folder.doctor()
    expect(before).toMatchObject({ code: 3, accepted: false })
    expect(said(before, 'problem')).toEqual([
      'right_missing: db: shop may not make the copies of shop that backups are loaded into: no backup can be made and proven without it -> ALTER ROLE shop CREATEDB',
    ])
    await server.sql('ALTER ROLE shop CREATEDB')
    const after = await folder.doctor()
    expect(after.code).toBe(0)
    const well = said(after, 'ok').join('\n')
    expect(well).toContain('pg_dump')
    expect(well).toContain('may do all that capturing and going back take')
    expect(well).toContain('migrations are known by knex, 1 applied')
    expect(codes(after, 'warning')).toContain('no_down_command')
  })

  it('says of the backup of the newest release whether it is proven', async () => {
    await server.sql('ALTER ROLE shop CREATEDB')
    await using folder = await folderFor('postgres', settings())
    expect((await folder.run('capture', 'v1', '--known-good')).code).toBe(0)
    expect(said(await folder.doctor(), 'ok').join('\n')).toContain('the backup of db for v1 is intact and proven')
  })

  it('says once that there is no such server, or no such database', async () => {
    await using nobody = await folderFor('postgres', settings({ port: 1 }))
    expect(codes(await nobody.doctor(), 'problem')).toEqual(['cannot_observe'])
    await using nothing = await folderFor('postgres', settings({ database: 'gone' }))
    expect(codes(await nothing.doctor(), 'problem')).toEqual(['database_missing'])
  })
})

const noMaria = noMariadb()

describe.skipIf(noMaria !== null)(`doctor and MariaDB${noMaria === null ? '' : ` (skipped: ${noMaria})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
    await server.sql(
      'CREATE DATABASE shop',
      "CREATE USER shop IDENTIFIED BY 'a word'",
      'GRANT ALL ON shop.* TO shop',
      'USE shop',
      ...KNEX,
    )
  })
  afterAll(() => server?.dispose())

  it('F: names a right that is missing with the statement that gives it, and is content once it is given', async () => {
    const login = { socket: server.socket, user: 'shop', password: 'a word', database: 'shop', writers: 'none' }
    await using folder = await folderFor('mysql', login)
    const before = await folder.doctor()
    expect(before.code).toBe(3)
    const grant = "GRANT ALL ON `shop\\_backout\\_%`.* TO 'shop'@'%'"
    expect(said(before, 'problem')).toEqual([
      expect.stringMatching(/^right_missing: .*no backup can be made and proven/),
    ])
    expect(said(before, 'problem')[0]).toContain(grant)
    await server.sql(grant)
    const after = await folder.doctor()
    expect(after.code).toBe(0)
    expect(said(after, 'ok').join('\n')).toMatch(/mariadb-dump 1\d\.[^]*migrations are known by knex, 1 applied/)
    expect((await folder.run('capture', 'v1', '--known-good')).code).toBe(0)
    expect(said(await folder.doctor(), 'ok').join('\n')).toContain('the backup of db for v1 is intact and proven')
  })
})
