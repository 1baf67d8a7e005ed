import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { conformance } from '../../../test/conformance/suite.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import { sqlite } from './index.ts'
import { APP } from './test/shop.ts'

const DBMATE = join(import.meta.dirname, '..', '..', '..', 'node_modules', '.bin', 'dbmate')

const START = 'CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)'
const MIGRATIONS = {
  '20260101000000_start': [START, 'DROP TABLE users'],
  '20260201000000_mail': ['ALTER TABLE users ADD COLUMN mail TEXT', 'ALTER TABLE users DROP COLUMN mail'],
  '20260201120000_full_name': [
    'ALTER TABLE users RENAME COLUMN name TO full_name',
    'ALTER TABLE users RENAME COLUMN full_name TO name',
  ],
  '20260202000000_logins': ['CREATE TABLE logins (user_id INTEGER, at TEXT)', 'DROP TABLE logins'],
} as const

/** The real dbmate, whose releases are folders of migrations. */
conformance('sqlite migrated by dbmate', {
  adapter: sqlite,
  rungs: ['migrate-down'],
  make: async () => {
    const dir = await mkdtemp(join(tmpdir(), 'backout-dbmate-'))
    const file = join(dir, 'app.db')
    const folder = join(dir, 'migrations')
    await mkdir(folder)
    const dbmate = (word: string) => [DBMATE, '--no-dump-schema', '-u', `sqlite:${file}`, '-d', folder, word]
    const up = () => {
      const [command = '', ...words] = dbmate('up')
      execFileSync(command, words, { stdio: 'ignore' })
    }
    const write = async (name: keyof typeof MIGRATIONS) => {
      const [there, back] = MIGRATIONS[name]
      await writeFile(join(folder, `${name}.sql`), `-- migrate:up\n${there};\n-- migrate:down\n${back};\n`)
    }
    const change = (sql: string) => {
      const db = new DatabaseSync(file)
      db.exec(sql)
      db.close()
    }
    await write('20260101000000_start')
    up()
    change(`INSERT INTO users (name) VALUES ('Ada'), ('Grace')`)
    const settings = { path: 'app.db', migrations: { down: dbmate('rollback') } }
    const { backups, vault } = stepAct()
    const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
    const has = (sql: string) => {
      const db = new DatabaseSync(file, { readOnly: true })
      const found = db.prepare(sql).all().length
      db.close()
      return found > 0
    }
    return {
      open: () => sqlite.open(sqlite.config.parse(settings), ctx),
      upgrade: async () => {
        await write('20260201000000_mail')
        await write('20260201120000_full_name')
        await write('20260202000000_logins')
        up()
        change(`INSERT INTO users (full_name) VALUES ('Katherine')`)
      },
      serves: async () => {
        const logins = has(`SELECT 1 FROM sqlite_schema WHERE name = 'logins'`)
        const mail = has(`SELECT 1 FROM pragma_table_info('users') WHERE name = 'mail'`)
        const renamed = has(`SELECT 1 FROM pragma_table_info('users') WHERE name = 'full_name'`)
        const found = [logins, mail, renamed].filter(Boolean).length
        return found === 3 ? 'B' : found > 0 ? 'other' : 'A'
      },
      dependents: APP,
      dispose: () => rm(dir, { recursive: true, force: true }),
    }
  },
})
