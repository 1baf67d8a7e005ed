import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { postgres } from '../../src/adapters/postgres/index.ts'
import { NOTHING, type Proposal } from '../../src/core/contract.ts'
import type { DatabasePin } from '../../src/data/flow/settings.ts'
import { stepAct, walk } from '../conformance/walk.ts'
import { ask } from '../support/ask.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { EARLIER } from './earlier.ts'
import { type Project, postgresProject } from './project.ts'

const signal = new AbortController().signal
const skipped = noPostgres()

const flyway = (schema: string) =>
  `CREATE TABLE ${schema}.flyway_schema_history (installed_rank INT NOT NULL PRIMARY KEY, version VARCHAR(50), description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL,
     script VARCHAR(1000) NOT NULL, checksum INTEGER, installed_by VARCHAR(100) NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT now(), execution_time INTEGER NOT NULL, success BOOLEAN NOT NULL)`
const applied = (schema: string, n: number, at: string) =>
  `INSERT INTO ${schema}.flyway_schema_history VALUES (${n}, '${n}', 'd', 'SQL', 'V${n}__d.sql', 1, 'me', '2026-11-26 ${at}', 1, true)`

const GOOD = [
  'CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)',
  'CREATE SCHEMA billing; CREATE TABLE billing.invoices (id int PRIMARY KEY, note text)',
  'CREATE SCHEMA crm; CREATE TABLE crm.migrations (id int PRIMARY KEY, name text, timestamp bigint, customer text)',
  `INSERT INTO crm.migrations VALUES (1, 'Ada', 1, 'north'), (2, 'Grace', 2, 'south')`,
  ...['public', 'billing'].flatMap(schema => [flyway(schema), applied(schema, 1, '09:00')]),
]
const BAD = [
  `ALTER TABLE orders ADD a int; ${applied('public', 2, '10:00')}`,
  `ALTER TABLE billing.invoices ADD b int; ${applied('billing', 2, '11:00')}`,
  `ALTER TABLE orders ADD c int; ${applied('public', 3, '12:00')}`,
]
/** Undoes what BAD did, in the schema that it is told. */
const DOWN = `case $BACKOUT_SCHEMA.$BACKOUT_MIGRATION in
  public.V2__d.sql) sql='ALTER TABLE orders DROP a' ;;
  public.V3__d.sql) sql='ALTER TABLE orders DROP c' ;;
  billing.V2__d.sql) sql='ALTER TABLE billing.invoices DROP b' ;;
esac
"$0" -qX1 -v ON_ERROR_STOP=1 -c "$sql" \
  -c "DELETE FROM $BACKOUT_SCHEMA.flyway_schema_history WHERE script = '$BACKOUT_MIGRATION'" "$DATABASE_URL"`

describe.skipIf(skipped !== null)(`bookkeeping in several schemas${skipped === null ? '' : ` (${skipped})`}`, () => {
  let server: PostgresServer
  let p: Project
  let made = 0
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server.dispose())
  afterEach(() => p.dispose())

  const make = async (...statements: string[]) => {
    p = await postgresProject(`schemas${++made}`, server)
    for (const sql of statements) await p.sql(sql)
  }
  const psql = () => join(String(server.settings('x')['tools']), 'psql')
  const capture = async (migrations: object = {}) => {
    await using target = await p.open({ ...migrations })
    const act = { ...stepAct(), ...p.stores, purpose: 'release', release: 'v1' } as const
    return target.capture(await target.observe(signal), act)
  }
  const propose = async (to: DatabasePin, migrations: object, rung = 'migrate-down'): Promise<Proposal> => {
    await using target = await p.open({ ...migrations })
    return target.propose(ask(await target.observe(signal), to, rung))
  }
  const told = ({ findings }: Proposal, level = 'blocker') =>
    findings.filter(f => f.level === level).map(f => `${f.code}: ${f.what}`)

  it('C11: sees what was applied in each, and undoes it there, newest first', async () => {
    await make(...GOOD)
    const to = await capture()
    expect(to.level).toMatchObject({
      table: 'flyway_schema_history',
      more: [{ table: 'billing.flyway_schema_history' }],
    })
    expect(to.fingerprint.tables['crm.migrations']?.rows).toBe(2)
    for (const sql of BAD) await p.sql(sql)
    const migrations = { down: ['sh', '-c', DOWN, psql()] }
    const proposal = await propose(to, migrations)
    expect(told(proposal)).toEqual([])
    expect(told(proposal, 'warning').filter(text => text.startsWith('undo_order'))).toEqual([])
    expect(proposal.findings.filter(f => f.code === 'migrations_between').map(f => f.what)).toEqual([
      'To undo (flyway (flyway_schema_history)), newest first: V3__d.sql, V2__d.sql',
      'To undo (flyway (billing.flyway_schema_history)), newest first: V2__d.sql',
    ])
    const verdicts = await walk(proposal, () => p.open(migrations))
    expect(verdicts.map(v => [v.step, v.before, v.after])).toEqual(
      [
        'db/backup',
        'db/migrate-down/V3__d.sql',
        'db/migrate-down/billing.flyway_schema_history/V2__d.sql',
        'db/migrate-down/V2__d.sql',
      ].map(step => [step, 'not-done', 'done']),
    )
    for (const rung of ['leave', 'migrate-down', 'restore'])
      expect(await propose(to, migrations, rung)).toEqual(NOTHING)
  }, 60_000)

  it('C11: never says that there is nothing to undo where something is, in whichever schema', async () => {
    await make(...GOOD)
    const to = await capture()
    await p.sql(applied('billing', 2, '11:00'))
    const blind = await propose(to, { down: 'flyway undo' })
    expect(told(blind)).toEqual([
      'bookkeeping_unassigned: flyway (billing.flyway_schema_history) applied V2__d.sql since, and the settings do not say which command undoes that',
    ])
    const named = await propose(to, {
      down: 'flyway undo',
      table: 'billing.flyway_schema_history',
      also: { 'public.flyway_schema_history': {} },
    })
    expect([told(named), named.steps.map(s => s.id)]).toEqual([[], ['db/backup', 'db/migrate-down/V2__d.sql']])
    const { impact } = await propose(to, {}, 'leave')
    expect(impact.staysBehind).toEqual(['migration V2__d.sql stays applied (flyway (billing.flyway_schema_history))'])
  }, 60_000)

  it('C11: undoes each by its own command, whichever is the main one', async () => {
    await make(...GOOD)
    const own = (schema: string) => ['sh', '-c', `test $BACKOUT_SCHEMA = ${schema} || exit 7; ${DOWN}`, psql()]
    const migrations = {
      table: 'billing.flyway_schema_history',
      down: own('billing'),
      also: { flyway_schema_history: { down: own('public') } },
    }
    const to = await capture(migrations)
    for (const sql of BAD) await p.sql(sql)
    const verdicts = await walk(await propose(to, migrations), () => p.open(migrations))
    expect(verdicts.map(v => [v.step, v.after])).toEqual(
      [
        'db/backup',
        'db/migrate-down/flyway_schema_history/V3__d.sql',
        'db/migrate-down/V2__d.sql',
        'db/migrate-down/flyway_schema_history/V2__d.sql',
      ].map(step => [step, 'done']),
    )
  }, 60_000)

  it('C11: does not believe a command that undoes in another schema', async () => {
    await make(...GOOD)
    const to = await capture()
    for (const sql of BAD) await p.sql(sql)
    const wrong = `"$0" -qX -c "DELETE FROM billing.flyway_schema_history WHERE installed_rank = 2; DELETE FROM flyway_schema_history WHERE installed_rank = 3" "$DATABASE_URL" # $BACKOUT_TABLE`
    const migrations = { down: ['sh', '-c', wrong, psql()] }
    const proposal = await propose(to, migrations)
    const step = proposal.steps.find(s => s.id.includes('V3'))
    if (step === undefined) throw new Error('no step')
    await using target = await p.open(migrations)
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'down_of_another' })
    expect((await target.verify(step, stepAct(step))).is).toBe('not-done')
  }, 60_000)

  it('C11: what scripts take out of the books of their own migration is no loss, and out of a table of that name is', async () => {
    await make(...GOOD)
    const to = await capture()
    for (const sql of BAD.slice(1, 2)) await p.sql(sql)
    await p.write(
      'down/V2__d.sql.sql',
      `DELETE FROM billing.flyway_schema_history WHERE version = '2'; DELETE FROM crm.migrations`,
    )
    const migrations = { down: 'true # $BACKOUT_TABLE', downScripts: 'down/{name}.sql' }
    expect(told(await propose(to, migrations), 'warning').filter(text => text.startsWith('down_script'))).toEqual([
      'down_script_destroys: Undoing V2__d.sql deletes from crm.migrations (down/V2__d.sql.sql), which counting by the schema does not see',
    ])
  }, 60_000)

  it('C11: what a script destroys is looked up in the schema that it means', async () => {
    await make(...GOOD, 'CREATE TABLE invoices (id int)')
    const to = await capture()
    await p.sql(`ALTER TABLE billing.invoices ADD b int; CREATE TABLE news (id int); ${applied('billing', 2, '11:00')}`)
    await p.write(
      'down/V2__d.sql.sql',
      `ALTER TABLE billing.invoices DROP b; DROP TABLE news; DROP TABLE billing.news; ALTER TABLE invoices DROP b;
       DELETE FROM flyway_schema_history WHERE version = '2'; DELETE FROM public.flyway_schema_history`,
    )
    const migrations = { down: 'true # $BACKOUT_TABLE', downScripts: 'down/{name}.sql' }
    expect(told(await propose(to, migrations), 'warning').filter(text => text.startsWith('down_script'))).toEqual([
      'down_script_destroys: Undoing V2__d.sql drops the table billing.news, drops the column invoices.b, deletes from public.flyway_schema_history (down/V2__d.sql.sql), which counting by the schema does not see',
    ])
  }, 60_000)

  it('C2: ends what runs in one schema, and knows it from what runs in another', async () => {
    const golang = (schema: string) =>
      `CREATE TABLE ${schema}.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO ${schema}.schema_migrations VALUES (7, false)`
    await make('CREATE SCHEMA billing', golang('public'), golang('billing'), 'CREATE TABLE orders (id int)')
    const to = await capture()
    const database = p.file.split('/').at(-1) ?? ''
    const lock = (schema: string) =>
      BigInt.asUintN(32, BigInt(crc32(`${schema}\0schema_migrations\0${database}`)) * 1_486_364_155n)
    const sessions = await Promise.all(['public', 'billing'].map(() => server.connect(database)))
    for (const [i, schema] of ['public', 'billing'].entries())
      await sessions[i]?.query(`SELECT pg_advisory_lock(${lock(schema)})`)
    const ended = Promise.all(
      sessions.map(s => new Promise<void>(done => void s.on('error', () => done()).on('end', () => done()))),
    )
    const proposal = await propose(to, {}, 'leave')
    expect(told(proposal)).toEqual([])
    const verdicts = await walk(proposal, () => p.open({}))
    expect(verdicts).toEqual(
      ['schema_migrations', 'billing.schema_migrations'].map(table => ({
        step: `db/stop-migration/golang-migrate/${table}`,
        before: 'not-done',
        after: 'done',
      })),
    )
    await ended
  }, 60_000)

  describe('A4 C11: captured by an earlier version', () => {
    const pinned = async (name: keyof typeof EARLIER): Promise<DatabasePin> => {
      await make(EARLIER[name])
      const pins = JSON.parse(await readFile(join(import.meta.dirname, 'earlier.json'), 'utf8')) as Record<
        string,
        unknown
      >
      await using target = await p.open({})
      return { ...postgres.pin.parse(pins[name]), identity: (await target.observe(signal)).identity }
    }

    it('with one bookkeeping: it is what is there, and what came since is undone', async () => {
      const to = await pinned('PLAIN')
      for (const rung of ['leave', 'migrate-down', 'restore']) expect(await propose(to, {}, rung)).toEqual(NOTHING)
      await p.sql(`ALTER TABLE orders ADD x int; INSERT INTO schema_migrations VALUES ('2')`)
      const { steps, findings } = await propose(to, { down: 'dbmate rollback' })
      expect([steps.map(s => s.id), findings.filter(f => f.level === 'blocker')]).toEqual([
        ['db/backup', 'db/migrate-down/2'],
        [],
      ])
    }, 60_000)

    it('with several, of which it read one: what the others had applied is not known, and never taken for the same', async () => {
      const to = await pinned('SEVERAL')
      const leave = await propose(to, {}, 'leave')
      expect(leave).toEqual({ ...NOTHING, findings: leave.findings })
      expect(told(leave, 'warning').map(text => text.split(':')[0])).toEqual(['bookkeeping_untold'])
      expect(told(await propose(to, {})).join()).toContain(
        'bookkeeping_untold: What dbmate (schema_migrations) had applied at the release is not known',
      )
      await using target = await p.open({})
      const question = { to, rows: 0, ...p.stores, signal, progress() {} }
      const { shape, parts } = (await target.compare?.(question as never)) ?? {}
      expect([shape?.length, parts]).toEqual([1, []])
    }, 60_000)
  })
})
