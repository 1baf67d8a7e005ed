import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { stepAct } from '../../../../test/conformance/walk.ts'
import type { OpenContext, StepAct, Target } from '../../../core/contract.ts'
import type { DatabasePin } from '../../../data/flow/settings.ts'
import { type SqliteConfig, sqliteConfig } from '../config.ts'
import { sqlite } from '../index.ts'

/** Migrations of the bad release, with their ways back, in the bookkeeping of Knex. */
const UP = [
  ['002_discount', 'ALTER TABLE orders ADD COLUMN discount NUMERIC DEFAULT 0'],
  ['003_coupons', 'CREATE TABLE coupons (code TEXT PRIMARY KEY, used INTEGER NOT NULL)'],
] as const
const DOWN = { '002_discount': 'ALTER TABLE orders DROP COLUMN discount', '003_coupons': 'DROP TABLE coupons' }

const MIGRATOR = `
const { DatabaseSync } = require('node:sqlite')
const name = process.env.BACKOUT_MIGRATION
const db = new DatabaseSync(process.env.BACKOUT_DATABASE, { timeout: 1000 })
const down = ${JSON.stringify(DOWN)}
db.exec('BEGIN IMMEDIATE')
if (process.argv[2] === 'hang') { db.exec(down[name]); require('node:fs').writeFileSync('begun', ''); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0) }
if (process.argv[2] === 'fail') { console.error('constraint violated'); process.exit(3) }
if (process.argv[2] !== 'nothing') {
  db.exec(down[name])
  db.prepare('DELETE FROM knex_migrations WHERE name = ?').run(name)
  if (process.argv[2] === 'too-far') db.exec("DELETE FROM knex_migrations WHERE name = '001_start'")
  if (process.argv[2] === 'sloppy' && name === '002_discount') db.exec('ALTER TABLE orders ADD COLUMN left_over TEXT')
}
db.exec('COMMIT')
`

export interface Shop {
  readonly dir: string
  readonly file: string
  readonly ctx: OpenContext
  /** Runs SQL as the application would. */
  sql(text: string): Record<string, unknown>[]
  upgrade(): void
  open(more?: Record<string, unknown>): Promise<Target<DatabasePin>>
  act(more?: Partial<StepAct>): StepAct
  dispose(): Promise<void>
}

const { backups, vault } = stepAct()
const shared = { backups, vault }

/** A shop's database in the state of the good release. */
export async function makeShop(journal = 'wal', stores: Partial<OpenContext> = {}): Promise<Shop> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-sqlite-'))
  await mkdir(join(dir, 'data'))
  const file = join(dir, 'data', 'shop.db')
  await writeFile(join(dir, 'migrator.cjs'), MIGRATOR)
  const ctx: OpenContext = {
    environment: 'test',
    component: 'db',
    baseDir: dir,
    stateDir: join(dir, 'state'),
    ...shared,
    ...stores,
  }
  const sql = (text: string) => {
    const db = new DatabaseSync(file, { timeout: 1000 })
    try {
      if (/^\s*(SELECT|PRAGMA)/i.test(text)) return db.prepare(text).all()
      db.exec(text)
      return []
    } finally {
      db.close()
    }
  }
  sql(`PRAGMA journal_mode = ${journal}`)
  sql(`
    CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, total NUMERIC NOT NULL, note TEXT COLLATE NOCASE);
    CREATE TABLE tags (order_id INTEGER REFERENCES orders(id), tag TEXT CHECK (length(tag) < 20));
    CREATE INDEX tags_tag ON tags (tag);
    CREATE VIEW big AS SELECT * FROM orders WHERE total > 100;
    CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
    CREATE TABLE knex_migrations_lock ("index" INTEGER PRIMARY KEY, is_locked INTEGER);
    INSERT INTO knex_migrations_lock VALUES (1, 0);
    INSERT INTO knex_migrations (name, batch) VALUES ('001_start', 1);
    INSERT INTO orders (total, note) VALUES (10, 'a'), (250.5, 'b'), (99, NULL);
    INSERT INTO tags VALUES (1, 'new'), (1, 'new'), (2, x'00ff');
  `)
  return {
    dir,
    file,
    ctx,
    sql,
    upgrade() {
      for (const [name, up] of UP)
        sql(`BEGIN; ${up}; INSERT INTO knex_migrations (name, batch) VALUES ('${name}', 2); COMMIT`)
      sql(`
        INSERT INTO orders (total, note, discount) VALUES (7, 'since', 3);
        UPDATE orders SET note = 'A' WHERE id = 1;
        DELETE FROM orders WHERE id = 3;
        INSERT INTO coupons VALUES ('XMAS', 1), ('EASTER', 0);
      `)
    },
    open: async more => sqlite.open(config(more), ctx),
    act: more => ({ ...stepAct(undefined, 'run'), ...shared, ...stores, ...more }),
    dispose: () => rm(dir, { recursive: true, force: true }),
  }
}

function config(more: Record<string, unknown> = {}): SqliteConfig {
  const migrations = { down: down(), ...(more['migrations'] as object | undefined) }
  return sqliteConfig.parse({ path: 'data/shop.db', busyLimit: '300ms', ...more, migrations })
}

export function down(how = ''): string[] {
  return [process.execPath, 'migrator.cjs', how]
}

export { APP, ask } from '../../../../test/support/ask.ts'
