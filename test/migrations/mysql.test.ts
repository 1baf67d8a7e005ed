import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mysql } from '../../src/adapters/mysql/index.ts'
import { memoryBackups, memoryVault } from '../conformance/stores.ts'
import { ordered, stepAct, walk } from '../conformance/walk.ts'
import { ask } from '../support/ask.ts'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'

const signal = new AbortController().signal
const skipped = noMariadb()

/** Bookkeeping as the tool makes it on MySQL, what it then says, and the lock that its session takes in a database `told`. */
const MADE: readonly [tool: string, sql: readonly string[], applied: readonly string[], lock: string][] = [
  [
    'prisma',
    [
      `CREATE TABLE _prisma_migrations (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at DATETIME(3), migration_name VARCHAR(255) NOT NULL,
         logs TEXT, rolled_back_at DATETIME(3), started_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), applied_steps_count INTEGER UNSIGNED NOT NULL DEFAULT 0)`,
      `INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES ('x', 'c', now(), '2026_a')`,
    ],
    ['2026_a'],
    'prisma_migrate',
  ],
  [
    'rails',
    [
      'CREATE TABLE schema_migrations (version varchar(255) NOT NULL PRIMARY KEY)',
      'CREATE TABLE ar_internal_metadata (`key` varchar(255) NOT NULL PRIMARY KEY, value varchar(255))',
      `INSERT INTO schema_migrations VALUES ('20260102000000'), ('20260101000000')`,
    ],
    ['20260101000000', '20260102000000'],
    String(2_053_462_845n * 84_272_416n),
  ],
  [
    'golang-migrate',
    [
      'CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)',
      'INSERT INTO schema_migrations VALUES (7, false)',
    ],
    ['7'],
    '1218244490',
  ],
]

describe.skipIf(skipped !== null)(`migration tools on MariaDB${skipped === null ? '' : ` (${skipped})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
  })
  afterAll(() => server.dispose())

  it.each(MADE)(
    'C2 C11: %s is known by its bookkeeping, and by the lock of its session',
    async (name, sql, applied, lock) => {
      await server.sql('DROP DATABASE IF EXISTS told', 'CREATE DATABASE told', 'USE told', ...sql)
      const settings = { socket: server.socket, user: 'root', database: 'told' }
      const stores = { backups: memoryBackups(), vault: memoryVault() }
      const ctx = { environment: 'test', component: 'db', baseDir: '/', stateDir: '/nowhere', ...stores }
      await using target = await mysql.open(mysql.config.parse(settings), ctx)
      const before = await target.observe(signal)
      expect(before.state).toMatchObject({ level: { tool: name, applied } })
      expect(before.inFlight).toEqual([])
      const holder = await createConnection({ socketPath: server.socket, user: 'root' })
      await holder.query(`SELECT GET_LOCK('${lock}', 1)`)
      const seen = await target.observe(signal)
      await holder.end()
      const said = `^${name} is migrating right now \\(session \\d+ holds its lock\\)$`
      expect(seen.inFlight.map(op => op.what)).toEqual([expect.stringMatching(said)])
    },
  )

  it('C11: several bookkeepings in one database are undone each by its own command, and a table that is only called so is data', async () => {
    const knex = (table: string) =>
      `CREATE TABLE ${table} (id int AUTO_INCREMENT PRIMARY KEY, name varchar(255), batch int, migration_time timestamp)`
    await server.sql('CREATE DATABASE books', 'USE books', knex('knex_migrations'), knex('jobs_migrations'))
    await server.sql(
      'USE books',
      'CREATE TABLE orders (id int PRIMARY KEY)',
      'CREATE TABLE migrations (id int PRIMARY KEY, name varchar(20), timestamp bigint, customer varchar(20))',
      "INSERT INTO migrations VALUES (1, 'Ada', 1, 'north'), (2, 'Grace', 2, 'south')",
      "INSERT INTO knex_migrations (name, batch) VALUES ('1_start', 1)",
      "INSERT INTO jobs_migrations (name, batch) VALUES ('1_start', 1)",
    )
    const stores = { backups: memoryBackups(), vault: memoryVault() }
    const ctx = { environment: 'test', component: 'db', baseDir: '/', stateDir: '/nowhere', ...stores }
    const client = 'mariadb --no-defaults --user="$MYSQL_USER" --socket="$MYSQL_UNIX_PORT" "$MYSQL_DATABASE" -e'
    const down = (column: string) =>
      `${client} "ALTER TABLE orders DROP ${column}; DELETE FROM $BACKOUT_TABLE WHERE name = '$BACKOUT_MIGRATION'"`
    const migrations = {
      tool: 'knex',
      table: 'knex_migrations',
      down: down('x'),
      also: { jobs_migrations: { tool: 'knex', down: down('y') } },
    }
    const settings = { socket: server.socket, user: 'root', database: 'books', writers: 'none', migrations }
    const open = () => mysql.open(mysql.config.parse(settings), ctx)
    await using target = await open()
    const act = { ...stepAct(), ...stores, purpose: 'departure', release: 'v1' } as const
    const to = await target.capture(await target.observe(signal), act)
    expect([to.level.table, to.level.more?.[0]?.table]).toEqual(['knex_migrations', 'jobs_migrations'])
    expect([Object.keys(to.schema.tables), to.fingerprint.tables['migrations']?.rows]).toEqual([
      ['migrations', 'orders'],
      2,
    ])
    await server.sql(
      'USE books',
      'ALTER TABLE orders ADD x int',
      'ALTER TABLE orders ADD y int',
      "INSERT INTO knex_migrations (name, batch, migration_time) VALUES ('2_more', 2, '2026-11-26 11:00')",
      "INSERT INTO jobs_migrations (name, batch, migration_time) VALUES ('2_more', 2, '2026-11-26 10:00')",
    )
    const proposal = await target.propose(ask(await target.observe(signal), to, 'migrate-down'))
    expect(proposal.findings.filter(f => f.level === 'blocker')).toEqual([])
    const downs = { ...proposal, phases: { data: proposal.phases.data ?? { seq: [] } } }
    expect((await walk(downs, open)).map(v => [v.step, v.after])).toEqual([
      ['db/migrate-down/2_more', 'done'],
      ['db/migrate-down/jobs_migrations/2_more', 'done'],
    ])
  }, 60_000)

  it('C2: ends a migration under way as a step, and no other session; what it had changed stays, and stops the run', async () => {
    const [[, sql, , lock] = ['', [], [], '']] = MADE
    await server.sql('DROP DATABASE IF EXISTS ends', 'CREATE DATABASE ends', 'USE ends', ...sql)
    await server.sql('USE ends', 'CREATE TABLE people (id int PRIMARY KEY, name varchar(40))')
    const stores = { backups: memoryBackups(), vault: memoryVault() }
    const ctx = { environment: 'test', component: 'db', baseDir: '/', stateDir: '/nowhere', ...stores }
    const settings = { socket: server.socket, user: 'root', database: 'ends', writers: 'none' }
    await using target = await mysql.open(mysql.config.parse(settings), ctx)
    const act = { ...stepAct(), ...stores, purpose: 'departure', release: 'v1' } as const
    const pin = await target.capture(await target.observe(signal), act)
    const migrate = (...words: string[]) =>
      server.sql('USE ends', `SELECT GET_LOCK('${lock}', 1)`, ...words, 'SELECT SLEEP(60)').then(
        () => 'ended',
        () => 'killed',
      )
    const bystander = server.sql('USE ends', 'SELECT SLEEP(6)').then(() => 'ended')
    const running = async () => (await target.observe(signal)).inFlight.map(op => op.what)
    const plan = async (rung: string) => {
      const question = { to: pin, release: 'v1', rung, needs: [], dependents: [], dependencies: [], upgradedAt: null }
      return target.propose({ from: await target.observe(signal), mode: 'full', signal, ...question })
    }
    const first = migrate()
    await expect.poll(running, { timeout: 20_000 }).toHaveLength(1)
    const proposal = await plan('leave')
    const [stop] = ordered(proposal)
    if (stop === undefined) throw new Error('no step')
    expect([stop.id, proposal.settles]).toEqual(['db/stop-migration/prisma', await running()])
    expect(proposal.findings.find(f => f.code === 'migration_ended')?.what).toContain('half-way')
    expect((await target.verify(stop, stepAct(stop))).is).toBe('not-done')
    await target.apply(stop, stepAct(stop))
    expect([(await target.verify(stop, stepAct(stop))).is, await first, await running()]).toEqual([
      'done',
      'killed',
      [],
    ])

    const second = migrate('ALTER TABLE people ADD COLUMN mail text')
    await expect.poll(running, { timeout: 20_000 }).toHaveLength(1)
    await expect(target.apply(stop, stepAct(stop))).rejects.toMatchObject({ code: 'migration_moved', exit: 'moved' })
    const [again] = ordered(await plan('leave'))
    if (again === undefined) throw new Error('no step')
    await server.sql('USE ends', 'ALTER TABLE people ADD COLUMN phone text')
    await expect(target.apply(again, stepAct(again))).rejects.toMatchObject({
      code: 'migration_left_half',
      why: expect.stringContaining('it changed tables'),
      next: expect.stringContaining('backout abort'),
    })
    expect([(await target.verify(again, stepAct(again))).is, await second]).toEqual(['not-done', 'killed'])
    expect(await bystander).toBe('ended')
  }, 60_000)
})
