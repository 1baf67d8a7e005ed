import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { codes, Folder, KNEX } from '../doctor/folder.fixture.ts'

const RAILS = `CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('20250101000000');
CREATE TABLE ar_internal_metadata (key varchar PRIMARY KEY, value varchar)`
const DJANGO = `CREATE TABLE django_migrations (id integer PRIMARY KEY, app varchar, name varchar, applied datetime);
INSERT INTO django_migrations VALUES (1, 'polls', '0001_initial', '2025-01-01')`

interface Said {
  readonly components: readonly string[]
  readonly found: readonly { readonly what: string; readonly then: string }[]
}

/** What init says, after doctor has accepted the file and a second init has left it as it was. */
async function accepted(folder: Folder): Promise<Said & { text: string }> {
  const said = JSON.parse((await folder.run('init', '--json')).stdout) as Said
  const text = await readFile(folder.path('backout.yaml'), 'utf8')
  const doctor = await folder.doctor()
  expect(codes(doctor, 'problem')).toEqual([])
  expect(doctor).toMatchObject({ code: 0, accepted: true })
  const again = await folder.run('init')
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('config_exists') as string })
  expect(await readFile(folder.path('backout.yaml'), 'utf8')).toBe(text)
  return { ...said, text }
}

describe('init in projects of other kinds', () => {
  it('Rails: takes the databases that count, and the tool of the project', async () => {
    await using folder = await Folder.make({ Gemfile: "gem 'rails'\n" })
    await folder.write('bin/rails', '#!/bin/sh\n', 0o755)
    for (const name of ['development', 'test']) await folder.database(`storage/${name}.sqlite3`, RAILS)
    await folder.database('storage/production.sqlite3', RAILS)
    await folder.database('storage/production_cache.sqlite3', 'CREATE TABLE entries (x)')
    const { components, found, text } = await accepted(folder)
    expect(components).toEqual(['db-production', 'db-production_cache'])
    expect(found).toContainEqual({
      what: 'SQLite database storage/development.sqlite3',
      then: 'is for development: left out',
    })
    expect(text).toMatch(/tool: rails\n +down: bin\/rails db:migrate:down VERSION="\$BACKOUT_MIGRATION"/)
  })

  it('Django: leaves the command to be filled in as a comment', async () => {
    await using folder = await Folder.make({ 'manage.py': '', 'mysite/settings.py': 'SECRET_KEY = "hush-hush"\n' })
    await folder.database('db.sqlite3', DJANGO)
    const { components, text } = await accepted(folder)
    expect(components).toEqual(['db'])
    expect(text).toMatch(/# migrations: \{ down: "python manage.py migrate /)
    expect(text).not.toContain('hush')
  })

  it('Node: takes the database for development where there is no other', async () => {
    await using folder = await Folder.make({
      'package.json': '{"dependencies":{"knex":"3"}}',
      '.env': 'KEY=hush-hush\n',
    })
    await folder.database('dev.sqlite3', KNEX)
    const { components, text } = await accepted(folder)
    expect(components).toEqual(['db', 'env'])
    expect(text).not.toContain('hush')
  })

  it('many databases: takes five, and says of the rest why not', async () => {
    await using folder = await Folder.make()
    for (const name of ['a', 'b', 'c', 'd', 'e', 'with space'])
      await folder.database(`${name}.db`, 'CREATE TABLE t (x)')
    const { components, found } = await accepted(folder)
    expect(components).toHaveLength(5)
    expect(found.at(-1)?.then).toMatch(/more than 5/)
  })

  it('a monorepo: finds what lies deeper', async () => {
    await using folder = await Folder.make({
      'package.json': '{"workspaces":["packages/*"]}',
      'packages/api/.env': 'A=1\n',
      'packages/web/flags.json': '{"newCheckout":true,"dark":false}',
    })
    await folder.database('packages/api/data.sqlite', KNEX)
    expect((await accepted(folder)).components).toEqual(['db', 'env', 'flags'])
  })

  it('Compose alone: an example, and a comment that says what it leaves as it is', async () => {
    await using folder = await Folder.make({
      'compose.yaml': 'services:\n  db:\n    image: postgres:16\n    environment: { POSTGRES_PASSWORD: hush-hush }\n',
    })
    const { text, found } = await accepted(folder)
    expect(text).toMatch(/Found too, and NOT taken back by this file:/)
    expect(found.map(f => f.then)).toContain('left as a comment')
    expect(text).not.toContain('hush')
  })
})
