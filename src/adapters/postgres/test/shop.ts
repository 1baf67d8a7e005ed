import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stepAct } from '../../../../test/conformance/walk.ts'
import type { PostgresServer } from '../../../../test/support/postgres.ts'
import type { OpenContext, StepAct, Target } from '../../../core/contract.ts'
import type { DatabasePin } from '../../../data/flow/settings.ts'
import { postgresConfig } from '../config.ts'
import { postgres } from '../index.ts'

/** Migrations of the bad release, with their ways back, in the bookkeeping of dbmate. */
const UP = [
  ['2', 'ALTER TABLE orders ADD COLUMN discount numeric DEFAULT 0'],
  ['3', 'CREATE TABLE coupons (code text PRIMARY KEY, used int NOT NULL)'],
] as const

const DOWN = `case $BACKOUT_MIGRATION in
  2) sql='ALTER TABLE orders DROP COLUMN discount' ;;
  3) sql='DROP TABLE coupons' ;;
esac
"$0" -qX1 -v ON_ERROR_STOP=1 -c "$sql" -c "DELETE FROM schema_migrations WHERE version = '$BACKOUT_MIGRATION'" "$DATABASE_URL"`

const GOOD = `
  CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE TABLE orders (id serial PRIMARY KEY, total numeric NOT NULL, note text, feeling mood, at timestamptz DEFAULT now());
  CREATE TABLE tags (order_id int REFERENCES orders, tag text CHECK (length(tag) < 20));
  CREATE INDEX tags_tag ON tags (tag);
  CREATE VIEW big AS SELECT * FROM orders WHERE total > 100;
  CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);
  INSERT INTO schema_migrations VALUES ('1');
  INSERT INTO orders (total, note) VALUES (10, 'a'), (250.50, 'b'), (99, NULL);
  INSERT INTO tags VALUES (1, 'new'), (1, 'new'), (2, 'old')`

export interface Shop {
  readonly database: string
  readonly ctx: OpenContext
  sql(text: string): Promise<Record<string, unknown>[]>
  upgrade(): Promise<void>
  open(more?: Record<string, unknown>): Promise<Target<DatabasePin>>
  act(more?: Partial<StepAct>): StepAct
  dispose(): Promise<void>
}

const { backups, vault } = stepAct()
let made = 0

/** A shop's database in the state of the good release. */
export async function makeShop(server: PostgresServer): Promise<Shop> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-postgres-'))
  const database = `shop${++made}`
  const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
  const sql = (text: string) => server.sql(text, database)
  await server.sql(`CREATE DATABASE ${database}`)
  await sql(GOOD)
  const settings = server.settings(database)
  const down = ['sh', '-c', DOWN, join(String(settings['tools']), 'psql')]
  return {
    database,
    ctx,
    sql,
    async upgrade() {
      for (const [version, up] of UP) await sql(`${up}; INSERT INTO schema_migrations VALUES ('${version}')`)
      await sql(`INSERT INTO orders (total, note, discount) VALUES (7, 'since', 3);
        UPDATE orders SET note = 'A' WHERE id = 1; DELETE FROM orders WHERE id = 3;
        INSERT INTO coupons VALUES ('XMAS', 1), ('EASTER', 0)`)
    },
    open: async (more = {}) => postgres.open(postgresConfig.parse({ ...settings, migrations: { down }, ...more }), ctx),
    act: more => ({ ...stepAct(undefined, 'run'), backups, vault, ...more }),
    dispose: () => rm(dir, { recursive: true, force: true }),
  }
}

export const APP = [{ id: 'shop', serves: ['stopped', 'drained', 'exec-from'] as const }]
