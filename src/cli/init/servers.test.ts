import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { Folder } from '../doctor/folder.fixture.ts'

const SHOP = `CREATE TABLE orders (id serial PRIMARY KEY, total int);
  CREATE TABLE knex_migrations (id int PRIMARY KEY, name text, batch int, migration_time timestamptz);
  INSERT INTO knex_migrations (id, name, batch) VALUES (1, '001_init.js', 1)`
const PACKAGES = '{"dependencies":{"pg":"8","knex":"3"}}'

/** Everything that init says and writes. */
async function init(folder: Folder): Promise<{ said: string; written: string; all: string }> {
  const ran = await folder.run('init')
  expect(ran.code, ran.stderr).toBe(0)
  const written = await readFile(folder.path('backout.yaml'), 'utf8')
  const said = ran.stdout.replaceAll(/\s+/g, ' ')
  return { said, written, all: said + written }
}

const missing = noPostgres()

describe.skipIf(missing !== null)(`F: init and a server that answers${missing === null ? '' : ` (${missing})`}`, () => {
  let server: PostgresServer
  let url: string
  beforeAll(async () => {
    server = await postgresServer()
    await server.sql('CREATE DATABASE shop')
    await server.sql(SHOP, 'shop')
    url = `postgres://postgres:${PASSWORD}@127.0.0.1:${server.port}/shop?sslmode=prefer&application_name=x`
  })
  afterAll(() => server?.dispose())

  it.each([
    ['plain', (u: string) => `A=1\nDATABASE_URL=${u}\n`],
    ['quoted and exported', (u: string) => `export DATABASE_URL="${u}"\r\n`],
  ])('writes the component of a URL in .env, %s; doctor and capture work with it', async (_, env) => {
    await using folder = await Folder.make({ '.env': env(url), 'package.json': PACKAGES })
    const { said, written, all } = await init(folder)
    expect(said).toContain('PostgreSQL database of DATABASE_URL (.env), migrated by knex -> component db')
    expect(said).not.toContain('PostgreSQL (pg in package.json)')
    expect(written).toMatch(/ {2}db:\n {4}adapter: postgres\n {4}settings:\n {6}url: .*DATABASE_URL/)
    expect(written).toContain('npx knex migrate:down')
    expect(all).not.toContain(PASSWORD)
    const doctor = await folder.doctor()
    expect(doctor.accepted, JSON.stringify(doctor.checks)).toBe(true)
    const captured = await folder.run('capture', 'v1')
    expect(captured.code, captured.stderr).toBe(0)
    expect(captured.stdout).toContain('migration 001_init.js')
    expect(captured.stdout + captured.stderr).not.toContain(PASSWORD)
  })

  it('takes it from the environment of the shell where it stands in no file', async () => {
    await using folder = await Folder.make({ 'package.json': PACKAGES })
    folder.env['ORDERS_DATABASE_URL'] = url
    const { written, all } = await init(folder)
    expect(written).toMatch(/ {2}orders:\n {4}adapter: postgres\n {4}settings:\n {6}url: \$\{env:ORDERS_DATABASE_URL\}/)
    expect(all).not.toContain(PASSWORD)
    expect((await folder.doctor()).accepted).toBe(true)
  })

  it('says that migrations are kept in several tables, and doctor that nothing says which command undoes which', async () => {
    await server.sql('CREATE DATABASE several')
    await server.sql(`${SHOP}; CREATE SCHEMA jobs; CREATE TABLE jobs.knex_migrations (LIKE knex_migrations)`, 'several')
    await using folder = await Folder.make({
      '.env': `DATABASE_URL=${url.replace('/shop', '/several')}\n`,
      'package.json': PACKAGES,
    })
    const { written } = await init(folder)
    expect(written.replaceAll(/\n *# */g, ' ')).toContain('Migrations are kept in jobs.knex_migrations, too: name in')
    const { checks } = await folder.doctor()
    expect(checks.filter(c => c.code === 'bookkeeping_unassigned').map(c => [c.level, c.what])).toEqual([
      [
        'warning',
        'db: Several bookkeepings of migrations are here, and nothing says which command undoes what knex (knex_migrations), knex (jobs.knex_migrations) applied',
      ],
    ])
  })
})

describe('F: init and a server that does not answer', () => {
  it('leaves the component as a comment that says why, and shows no password', async () => {
    const url = 'mysql://app:hush-hush@127.0.0.1:1/shop'
    await using folder = await Folder.make({ '.env': `MYSQL_URL='${url}'\n` })
    const { said, written, all } = await init(folder)
    expect(said).toContain('MySQL or MariaDB database of MYSQL_URL (.env) -> left as a comment')
    expect(written.replaceAll(/\n *# */g, ' ')).toMatch(/Found, but not live: .*cannot be reached/)
    expect(written).toMatch(/# +url: .*MYSQL_URL/)
    expect(all).not.toContain('hush')
    expect((await folder.doctor()).accepted).toBe(true)
  })

  it('does not read what another program puts together, and knows no other kinds', async () => {
    await using folder = await Folder.make({
      '.env':
        'DATABASE_URL=postgres://app:$PW@127.0.0.1:1/shop\nPW=hush-hush\nREDIS_URL=redis://x\nDB_URL=jdbc:oracle:thin:@x\n',
    })
    const { written, all } = await init(folder)
    expect(written).toMatch(/# +url: \$\{env:DATABASE_URL\}/)
    expect(written.replaceAll(/\n *# */g, ' ')).toContain('is not written plainly')
    expect(written).not.toMatch(/redis:|oracle/)
    expect(all).not.toContain('hush')
  })
})
