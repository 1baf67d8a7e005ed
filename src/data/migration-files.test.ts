import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findMigrationFiles, wayBack } from './migration-files.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-files-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const write = async (files: Record<string, string>) => {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), text)
  }
}
/** "sql: DROP TABLE a", "code", "none: has no way back". */
const way = async (migration: string): Promise<string> => {
  const [files, more] = await findMigrationFiles(dir)
  if (files === undefined || more !== undefined) return `${files?.tool} ${more?.tool}`
  const found = await wayBack(files, migration)
  const more_ = found.is === 'sql' ? `: ${found.sql.trim()}` : found.is === 'none' ? `: ${found.why}` : ''
  return `${files.tool} ${found.is}${more_}`
}

const NONE = 'none: has no way back'
const EMPTY = 'none: undoes nothing'
const IRREVERSIBLE = 'none: says that it is irreversible'
const NODE = 'migrations/20260101000000_a.js'
const django = (operations: string) => ({
  'shop/migrations/0001_initial.py': `class Migration(migrations.Migration):\n  operations = [${operations}]`,
})

describe('C11: how a migration is undone, by its files', () => {
  it.each<[string, Record<string, string>, string, string]>([
    [
      'rails change',
      { 'db/migrate/20260101000000_a.rb': 'def change\n add_column :a, :b, :text\nend' },
      '20260101000000',
      'rails computed',
    ],
    [
      'rails irreversible',
      { 'db/migrate/20260101000000_a.rb': 'def up\nend\ndef down\n raise ActiveRecord::IrreversibleMigration\nend' },
      '20260101000000',
      `rails ${IRREVERSIBLE}`,
    ],
    [
      'rails up only',
      { 'db/migrate/20260101000000_a.rb': 'def up\n execute "x"\nend' },
      '20260101000000',
      `rails ${NONE}`,
    ],
    ['django', django("migrations.AddField('a', 'b', x)"), 'shop.0001_initial', 'django computed'],
    [
      'django one way',
      django('migrations.RunPython(fill, elidable=True)'),
      'shop.0001_initial',
      `django ${IRREVERSIBLE}`,
    ],
    [
      'django both ways',
      django('migrations.RunPython(fill, migrations.RunPython.noop)'),
      'shop.0001_initial',
      'django code',
    ],
    [
      'django SQL',
      django("migrations.RunSQL('UPDATE a SET b = 1, c = 2')"),
      'shop.0001_initial',
      `django ${IRREVERSIBLE}`,
    ],
    [
      'alembic',
      {
        'alembic/versions/ae10_a.py':
          "revision = 'ae10'\ndown_revision = None\ndef upgrade():\n  pass\ndef downgrade() -> None:\n  op.drop_table('a')",
      },
      'ae10',
      'alembic code',
    ],
    [
      'alembic empty',
      { 'alembic/versions/ae10_a.py': "revision: str = 'ae10'\ndown_revision = None\ndef downgrade():\n  pass\n" },
      'ae10',
      `alembic ${EMPTY}`,
    ],
    [
      'knex',
      { [NODE]: 'exports.up = knex => 1\nexports.down = knex => knex.schema.dropTable("a")' },
      '20260101000000_a.js',
      'knex code',
    ],
    ['knex without', { [NODE]: 'exports.up = knex => 1 // exports.down = ' }, '20260101000000_a.js', `knex ${NONE}`],
    [
      'knex empty',
      { [NODE]: 'export async function up(knex) { await x }\nexport async function down(knex) {\n  // nothing\n}' },
      '20260101000000_a.js',
      `knex ${EMPTY}`,
    ],
    [
      'knex throws',
      { [NODE]: 'exports.up = knex => 1\nexports.down = async function (knex) {\n throw new Error("no") }' },
      '20260101000000_a.js',
      `knex ${IRREVERSIBLE}`,
    ],
    [
      'typeorm',
      {
        'src/migrations/1700000000000-Add.ts':
          'export class Add1700000000000 implements MigrationInterface {\n async down(queryRunner: QueryRunner): Promise<void> {}\n}',
      },
      'Add1700000000000',
      `typeorm ${EMPTY}`,
    ],
    [
      'sequelize',
      {
        [NODE]:
          'module.exports = {\n async up(queryInterface) {},\n async down(queryInterface) { await queryInterface.dropTable("a") } }',
      },
      '20260101000000_a.js',
      'sequelize code',
    ],
    [
      'laravel',
      { 'database/migrations/2026_01_01_000000_a.php': '<?php\npublic function down(): void\n{\n  //\n}' },
      '2026_01_01_000000_a',
      `laravel ${EMPTY}`,
    ],
    [
      'prisma',
      { 'prisma/migrations/20260101000000_a/migration.sql': 'x', 'prisma/migrations/migration_lock.toml': '' },
      '20260101000000_a',
      `prisma ${NONE}`,
    ],
    ['drizzle', { 'drizzle/0000_a.sql': 'x', 'drizzle/meta/_journal.json': '{}' }, 'ab12', 'drizzle unknown'],
    [
      'flyway',
      { 'db/migration/V1.2__a.sql': 'x', 'db/migration/U1.2__a.sql': 'DROP TABLE a' },
      'V1.2__a.sql',
      'flyway sql: DROP TABLE a',
    ],
    ['flyway without', { 'db/migration/V1__a.sql': 'x' }, 'V1__a.sql', `flyway ${NONE}`],
    [
      'liquibase',
      { 'db/changelog/c.sql': '--liquibase formatted sql' },
      'db/changelog/c.sql::1::eva',
      'liquibase code',
    ],
    [
      'golang-migrate',
      { 'migrations/0007_a.up.sql': 'x', 'migrations/0007_a.down.sql': 'DROP TABLE a' },
      '7',
      'golang-migrate sql: DROP TABLE a',
    ],
    [
      'golang-migrate empty',
      { 'migrations/7_a.up.sql': 'x', 'migrations/7_a.down.sql': '-- no\n;' },
      '7',
      `golang-migrate ${EMPTY}`,
    ],
    [
      'dbmate',
      { 'db/migrations/2026_a.sql': '-- migrate:up\nx\n-- migrate:down transaction:false\nDROP TABLE a' },
      '2026',
      'dbmate sql: DROP TABLE a',
    ],
    ['dbmate without', { 'db/migrations/2026_a.sql': '-- migrate:up\nx' }, '2026', `dbmate ${NONE}`],
    [
      'goose',
      { 'migrations/00003_a.sql': '-- +goose Up\nx\n-- +goose Down\nDROP TABLE a' },
      '3',
      'goose sql: DROP TABLE a',
    ],
    ['goose in Go', { 'migrations/00003_a.go': 'goose.AddMigrationContext(up, down)' }, '3', 'goose code'],
    [
      'node-pg-migrate',
      { 'migrations/1700_a.sql': '-- Up Migration\nx\n-- Down Migration\nDROP TABLE a' },
      '1700_a',
      'node-pg-migrate sql: DROP TABLE a',
    ],
    [
      'node-pg-migrate inferred',
      { 'migrations/1700_a.js': 'exports.up = pgm => pgm.createTable("a", {})' },
      '1700_a',
      'node-pg-migrate computed',
    ],
    [
      'node-pg-migrate none',
      { 'migrations/1700_a.js': 'exports.up = pgm => 1\nexports.down = false' },
      '1700_a',
      `node-pg-migrate ${IRREVERSIBLE}`,
    ],
    ['atlas', { 'migrations/20260101_a.sql': 'x', 'migrations/atlas.sum': 'h1:' }, '20260101', 'atlas computed'],
    ['pgroll', { 'migrations/01_a.yaml': 'operations:\n  - add_column: {}' }, '01_a', 'pgroll computed'],
    ['a migration that is not there', { 'migrations/7_a.up.sql': 'x' }, '8', 'golang-migrate unknown'],
  ])('%s', async (_, files, migration, expected) => {
    await write(files)
    expect(await way(migration)).toBe(expected)
  })

  it('looks into no packages, and finds none where there is none', async () => {
    await write({
      'node_modules/x/migrations/7_a.up.sql': 'x',
      'docs/migrations/how.md': 'x',
      'migrations/notes.txt': '',
    })
    expect(await findMigrationFiles(dir)).toEqual([])
  })

  it('says of a name that files of several folders bear that nobody can tell', async () => {
    const up = 'exports.up = knex => knex.schema; exports.down = knex => knex.schema.dropTable(1)'
    await write({ 'a/migrations/1_x.js': up, 'b/migrations/1_x.js': up, 'b/migrations/2_y.js': up })
    expect([await way('1_x.js'), await way('2_y.js')]).toEqual(['knex several', 'knex code'])
  })
})
