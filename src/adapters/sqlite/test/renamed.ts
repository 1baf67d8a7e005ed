import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { stepAct } from '../../../../test/conformance/walk.ts'
import type { Backup, Fact, OpenContext, Proposal, Question, Step, StepAct, Target } from '../../../core/contract.ts'
import type { Json } from '../../../core/json.ts'
import type { DatabasePin } from '../../../data/flow/settings.ts'
import { sqlite } from '../index.ts'
import { ask } from './shop.ts'

const MIGRATOR = `
const { DatabaseSync } = require('node:sqlite')
const name = process.env.BACKOUT_MIGRATION
const db = new DatabaseSync(process.env.BACKOUT_DATABASE, { timeout: 1000 })
db.exec('BEGIN IMMEDIATE;' + JSON.parse(process.argv[2])[name])
db.prepare('DELETE FROM knex_migrations WHERE name = ?').run(name)
db.exec('COMMIT')
`

export const ORDERS = `
  CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, status TEXT, created_at TEXT);
  INSERT INTO orders VALUES (1, 100, 'paid', '2026-01-01 10:00:00'), (2, 250, 'new', '2026-01-02 10:00:00'),
    (3, NULL, 'new', '2026-01-03 10:00:00'), (4, 990, 'paid', '2026-01-04 10:00:00');
`
export const RENAME =
  'ALTER TABLE orders RENAME COLUMN total TO total_cents; ALTER TABLE orders ADD COLUMN discount INTEGER'
export const RENAME_BACK =
  'ALTER TABLE orders DROP COLUMN discount; ALTER TABLE orders RENAME COLUMN total_cents TO total'

export interface Migration {
  readonly up: string
  readonly down: string
}

/** A database between two releases whose migrations a test writes itself. */
export interface Between {
  readonly dir: string
  readonly file: string
  readonly ctx: OpenContext
  readonly pin: DatabasePin
  readonly settings: Record<string, unknown>
  sql(text: string): Record<string, unknown>[]
  open(more?: Record<string, unknown>): Promise<Target<DatabasePin>>
  propose(rung?: string, more?: Partial<Question<DatabasePin>>): Promise<Proposal>
  act(step: Step, more?: Partial<StepAct>): StepAct
  /** What steps told. */
  readonly facts: Fact[]
  readonly handles: Map<string, Json>
  /** The backup that this run made. */
  own(): Promise<Backup>
  dispose(): Promise<void>
}

/** `base`: the good release's tables and rows. `migrations`: what the bad one brought, oldest first. */
export async function makeBetween(base: string, migrations: Record<string, Migration>): Promise<Between> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-renames-'))
  const file = join(dir, 'shop.db')
  await writeFile(join(dir, 'migrator.cjs'), MIGRATOR)
  const { backups, vault } = stepAct()
  const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
  const sql = (text: string) => {
    const db = new DatabaseSync(file, { timeout: 1000 })
    try {
      if (/^\s*SELECT/i.test(text)) return db.prepare(text).all()
      db.exec(text)
      return []
    } finally {
      db.close()
    }
  }
  sql(`PRAGMA journal_mode = wal; ${base};
    CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
    CREATE TABLE knex_migrations_lock ("index" INTEGER PRIMARY KEY, is_locked INTEGER);
    INSERT INTO knex_migrations (name) VALUES ('001_start')`)
  const downs = Object.fromEntries(Object.entries(migrations).map(([name, { down }]) => [name, down]))
  const settings = {
    path: 'shop.db',
    busyLimit: '300ms',
    migrations: { down: [process.execPath, 'migrator.cjs', JSON.stringify(downs)] },
  }
  const open = async (more = {}) => sqlite.open(sqlite.config.parse({ ...settings, ...more }), ctx)
  const target = await open()
  const atGood = await target.observe(new AbortController().signal)
  const pin = await target.capture(atGood, { ...stepAct(), purpose: 'release', release: 'v1' })
  for (const [name, { up }] of Object.entries(migrations))
    sql(`BEGIN; ${up}; INSERT INTO knex_migrations (name) VALUES ('${name}'); COMMIT`)
  const facts: Fact[] = []
  const handles = new Map<string, Json>()
  const run = `r${dir.slice(-6)}`
  return {
    dir,
    file,
    ctx,
    pin,
    settings,
    sql,
    open,
    facts,
    handles,
    propose: async (rung = 'migrate-down', more = {}) => {
      const opened = await open()
      return opened.propose(ask(await opened.observe(new AbortController().signal), pin, rung, more))
    },
    act: (step, more) => ({ ...stepAct(step, run, handles), tell: async fact => void facts.push(fact), ...more }),
    own: async () => {
      const made = (await backups.list('db')).find(b => b.idem === `${run}.db.backup`)
      if (made === undefined) throw new Error('no backup was made')
      return made
    },
    dispose: () => rm(dir, { recursive: true, force: true }),
  }
}
