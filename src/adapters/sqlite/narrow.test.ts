import { afterEach, describe, expect, it } from 'vitest'
import type { Proposal, Step } from '../../core/contract.ts'
import { type Between, makeBetween } from './test/renamed.ts'
import { ask } from './test/shop.ts'

const anew = (columns: string, select = '*') =>
  `CREATE TABLE anew (${columns}); INSERT INTO anew SELECT ${select} FROM t; DROP TABLE t; ALTER TABLE anew RENAME TO t`
const BASE = `CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, mail TEXT);
  CREATE UNIQUE INDEX one_mail ON t (mail); INSERT INTO t VALUES (1, 5, 'a@x')`

describe('C11 B4: what does not fit the narrower schema is counted before it comes back', () => {
  let world: Between
  afterEach(() => world.dispose())

  const upgraded = async (up: string, since: string) => {
    world = await makeBetween(BASE, { '002_wide': { up, down: 'SELECT 1' } })
    world.sql(since)
    return world.propose()
  }
  const lost = (p: Proposal) => Object.fromEntries(p.impact.loss.map(l => [l.what, l.count]))
  const said = (p: Proposal, code: string) => p.findings.filter(f => f.code === code).map(f => f.what)

  it('values missing where NOT NULL comes back', async () => {
    const down = await upgraded(
      `${anew('id INTEGER PRIMARY KEY, n INTEGER, mail TEXT')}; CREATE UNIQUE INDEX one_mail ON t (mail)`,
      `INSERT INTO t VALUES (2, NULL, 'b@x'), (3, NULL, 'c@x')`,
    )
    expect(lost(down)).toEqual({ 't.n (no value)': 2 })
    expect(said(down, 'rows_do_not_fit')).toEqual([
      '2 values do not fit the schema of the release: t.n is NOT NULL again',
    ])
  })

  it('values of another kind where the type comes back', async () => {
    const down = await upgraded(
      `${anew('id INTEGER PRIMARY KEY, n TEXT NOT NULL, mail TEXT')}; CREATE UNIQUE INDEX one_mail ON t (mail)`,
      `INSERT INTO t VALUES (2, '007', 'b@x'), (3, 'many', 'c@x'), (4, '8', 'd@x')`,
    )
    expect(lost(down)).toEqual({ 't.n (too wide)': 2 })
  })

  it('rows that are there twice where uniqueness comes back', async () => {
    const down = await upgraded(
      'DROP INDEX one_mail',
      `INSERT INTO t VALUES (2, 1, 'a@x'), (3, 1, 'a@x'), (4, 1, NULL), (5, 1, NULL)`,
    )
    expect(lost(down)).toEqual({ 't (mail twice)': 2 })
    const step = down.steps[1] as Step
    const refused = (await world.open()).apply(step, world.act(step, { accepts: loss => loss.length === 0 }))
    await expect(refused).rejects.toMatchObject({ code: 'loss_not_accepted' })
  })

  it('rows of one key where the primary key comes back', async () => {
    const down = await upgraded(
      `${anew('id INTEGER NOT NULL, n INTEGER NOT NULL, mail TEXT, PRIMARY KEY (id, n)')}; CREATE UNIQUE INDEX one_mail ON t (mail)`,
      `INSERT INTO t VALUES (2, 1, 'b@x'), (2, 2, 'c@x')`,
    )
    expect(lost(down)).toMatchObject({ 't (id twice)': 1 })
  })

  it('rows that break a check or refer to nothing where those come back, and none that a partial index lets be', async () => {
    world = await makeBetween(
      `CREATE TABLE author (id INTEGER PRIMARY KEY); INSERT INTO author VALUES (1);
       CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0), mail TEXT, a INTEGER REFERENCES author);
       CREATE UNIQUE INDEX one_mail ON t (mail) WHERE (n = 1)`,
      {
        '002_loose': { up: anew('id INTEGER PRIMARY KEY, n INTEGER, mail TEXT, a INTEGER'), down: 'SELECT 1' },
      },
    )
    world.sql(`INSERT INTO t VALUES (1, 1, 'a', 1), (2, -1, 'a', 1), (3, 5, 'a', 9), (4, NULL, 'a', NULL)`)
    const down = await world.propose()
    expect(lost(down)).toEqual({ 't (breaks check (n>0))': 1, 't (a of no author)': 1 })
    expect(said(down, 'rows_do_not_fit')).toEqual([
      '1 rows do not fit the schema of the release: check (n>0) binds t again',
      '1 rows do not fit the schema of the release: a of t refers to author again',
    ])
  })

  it('warns where texts are compared otherwise again, and nobody can tell which', async () => {
    world = await makeBetween('CREATE TABLE t (id INTEGER PRIMARY KEY, mail TEXT COLLATE NOCASE UNIQUE)', {
      '002_exact': { up: anew('id INTEGER PRIMARY KEY, mail TEXT UNIQUE'), down: 'SELECT 1' },
    })
    world.sql(`INSERT INTO t VALUES (1, 'bob'), (2, 'Bob')`)
    expect(said(await world.propose(), 'rows_uncounted')).toContain(
      'unique (mail) binds t again, and what does not fit it cannot be counted',
    )
  })

  it.each(['SELECT sum(n) FROM t WHERE n > 5', 'SELECT 1 WHERE 1 = 0', `SELECT 'many'`])(
    'refuses what is declared and gives no number: %s',
    async sql => {
      world = await makeBetween(BASE, { '002_loose': { up: 'DROP INDEX one_mail', down: 'SELECT 1' } })
      const target = await world.open({ loses: [{ migration: '002_loose', what: 't.n', sql }] })
      const from = await target.observe(new AbortController().signal)
      await expect(target.propose(ask(from, world.pin, 'migrate-down'))).rejects.toMatchObject({
        code: 'loss_not_counted',
      })
    },
  )

  it('says nothing where everything fits, and what undoing keeps busy where the table is big', async () => {
    const down = await upgraded(
      `${anew('id INTEGER PRIMARY KEY, n INTEGER, mail TEXT')}; CREATE UNIQUE INDEX one_mail ON t (mail)`,
      `WITH RECURSIVE k(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM k WHERE i < 12000) INSERT INTO t SELECT i, i, i FROM k`,
    )
    expect(down.impact.loss).toEqual([])
    expect(said(down, 'rows_do_not_fit')).toEqual([])
    expect(said(down, 'long_lock')).toEqual([
      'Undoing rewrites the whole table t (about 12000 rows), and others wait for it meanwhile',
    ])
  })
})

describe('C11: leaving the schema says, for each difference, why the old release can or cannot live with it', () => {
  let world: Between
  afterEach(() => world.dispose())

  it.each([
    [
      'ALTER TABLE t ADD COLUMN x',
      'note',
      'column t.x was added (no type, nullable): rows that the old release writes stay without it',
    ],
    ['ALTER TABLE t ADD COLUMN x DEFAULT 7', 'note', 'rows that the old release writes get 7'],
    ['CREATE TABLE u (v)', 'note', 'table u was added: the old release does not know it, and leaves it alone'],
    ['CREATE INDEX i ON t (n)', 'note', 'index t.i was added (t(n)): it refuses nothing'],
    ['CREATE INDEX i ON "t" (lower(mail))', 'note', 'it refuses nothing'],
    ['ALTER TABLE t ADD COLUMN g TEXT AS (lower(mail))', 'note', 'it is computed, whoever writes the row'],
    ['ALTER TABLE t ADD COLUMN g TEXT NOT NULL AS (lower(mail))', 'blocker', 'for which that comes out as none'],
    [`ALTER TABLE t ADD COLUMN g AS (json_extract(mail, '$.a'))`, 'blocker', 'for which it cannot be computed'],
    [`ALTER TABLE t ADD COLUMN g AS (mail ->> '$.a')`, 'blocker', 'for which it cannot be computed'],
    ['ALTER TABLE t ADD COLUMN "g h" AS (lower(mail))', 'blocker', 'for which it cannot be computed'],
    ['CREATE INDEX i ON t (abs(n))', 'blocker', 'for which it cannot be computed are refused'],
    [
      'ALTER TABLE t DROP COLUMN n',
      'blocker',
      'column t.n is gone: the old release reads and writes it: its queries fail',
    ],
    ['CREATE UNIQUE INDEX i ON t (n)', 'blocker', 'it refuses rows that the old release may write'],
    ['DROP INDEX one_mail', 'blocker', 'the old release relies on it to refuse rows'],
    [anew('id INTEGER PRIMARY KEY, n INTEGER, mail TEXT'), 'blocker', 'it does not expect rows without a value'],
    [anew('id INTEGER PRIMARY KEY, n REAL NOT NULL, mail TEXT'), 'blocker', 'the old release expects INTEGER'],
    [
      anew('id INTEGER PRIMARY KEY, n INTEGER NOT NULL, mail TEXT, x NOT NULL', '*, 1'),
      'blocker',
      'its rows are refused',
    ],
    ['CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END', 'blocker', 'it acts on what the old release writes'],
    [
      `${anew('id INTEGER NOT NULL, n INTEGER NOT NULL, mail TEXT')}; CREATE UNIQUE INDEX one_mail ON t (mail)`,
      'blocker',
      'constraint t is gone (primary key (id)): the old release relies on it to refuse rows',
    ],
  ])('%s', async (up, level, why) => {
    world = await makeBetween(BASE, { '002_bad': { up, down: 'SELECT 1' } })
    const { findings } = await world.propose('leave')
    const told = findings.filter(f => f.level === level && f.code.startsWith('schema_')).map(f => f.what)
    expect(told.join()).toContain(why)
  })
})

describe('C2 C11: several migration tools in one database', () => {
  let world: Between
  afterEach(() => world.dispose())

  const PRISMA = `CREATE TABLE _prisma_migrations (migration_name, finished_at, rolled_back_at, started_at);
    INSERT INTO _prisma_migrations VALUES ('001_base', 1, NULL, 1)`
  const LATER = `INSERT INTO _prisma_migrations VALUES ('002_more', 2, NULL, 2)`
  const add = { '002_x': { up: 'ALTER TABLE t ADD COLUMN x', down: 'ALTER TABLE t DROP COLUMN x' } }

  it('counts the tables of none of them as data, and sees what any of them has under way', async () => {
    world = await makeBetween(`${BASE}; ${PRISMA}`, add)
    expect(world.pin.level).toEqual({
      tool: 'knex',
      table: 'knex_migrations',
      applied: ['001_start'],
      more: [{ tool: 'prisma', table: '_prisma_migrations', applied: ['001_base'] }],
    })
    expect(Object.keys(world.pin.schema.tables)).toEqual(['t'])
    world.sql(`INSERT INTO _prisma_migrations VALUES ('003_half', NULL, NULL, 3)`)
    const { summary } = await (await world.open()).observe(new AbortController().signal)
    expect(summary).toContain('prisma migration 003_half began and did not end')
    expect(summary).toContain(
      'knex (knex_migrations): migration 002_x, prisma (_prisma_migrations): migration 001_base',
    )
  })

  const blockers = async (migrations: object, rung = 'migrate-down') => {
    const target = await world.open({ migrations: { ...(world.settings['migrations'] as object), ...migrations } })
    const proposal = await target.propose(ask(await target.observe(new AbortController().signal), world.pin, rung))
    const told = proposal.findings.filter(f => f.level === 'blocker').map(f => `${f.code}: ${f.what}`)
    return { told, steps: proposal.steps.map(s => s.id), proposal }
  }
  const UNASSIGNED = 'and the settings do not say which command undoes that'

  it('undoes nothing with a command of which nobody says what it undoes', async () => {
    world = await makeBetween(`${BASE}; ${PRISMA}`, add)
    expect((await blockers({})).told).toEqual([
      `bookkeeping_unassigned: knex (knex_migrations) applied 002_x since, ${UNASSIGNED}`,
    ])
    expect(await blockers({ tool: 'knex' })).toMatchObject({ told: [], steps: ['db/backup', 'db/migrate-down/002_x'] })
    world.sql(LATER)
    expect((await blockers({ tool: 'knex' })).told).toEqual([
      `bookkeeping_unassigned: prisma (_prisma_migrations) applied 002_more since, ${UNASSIGNED}`,
    ])
    const stays = (await blockers({}, 'leave')).proposal.impact.staysBehind
    expect(stays).toContain('migration 002_more stays applied (prisma (_prisma_migrations))')
    const { well, findings } = (await (await world.open()).ready?.(new AbortController().signal)) ?? {}
    expect(well).toContain(
      'migrations are known by knex (knex_migrations), 2 applied; prisma (_prisma_migrations), 2 applied',
    )
    expect(findings?.map(f => [f.level, f.code])).toContainEqual(['warning', 'bookkeeping_unassigned'])
  })

  it('undoes each by the command that the settings name for it, and says where the order is a guess', async () => {
    world = await makeBetween(`${BASE}; ${PRISMA}`, add)
    world.sql(LATER)
    const also = { _prisma_migrations: { down: 'true' } }
    const { told, steps, proposal } = await blockers({ also })
    expect([told, steps]).toEqual([
      [],
      ['db/backup', 'db/migrate-down/_prisma_migrations/002_more', 'db/migrate-down/002_x'],
    ])
    const order = proposal.findings.find(f => f.code === 'undo_order_guessed')
    expect(order?.what).toContain('one after the other: prisma (_prisma_migrations), then knex (knex_migrations)')
    expect((await blockers({ also: { _prisma_migrations: {} } })).told).toEqual([
      'no_down_command: prisma has no way to undo a migration, and `migrations.also._prisma_migrations.down` is not set',
    ])
    expect((await blockers({ also: { ...also, gone: {} } })).told).toEqual([
      'bookkeeping_amiss: The settings name bookkeeping of migrations that cannot be read: there is no table gone',
    ])
  })

  it('asks the one that the settings name', async () => {
    world = await makeBetween(`${BASE}; ${PRISMA}`, add)
    const named = await world.open({ migrations: { tool: 'prisma' } })
    expect((await named.observe(new AbortController().signal)).state).toMatchObject({
      level: { tool: 'prisma', applied: ['001_base'], more: [{ tool: 'knex', applied: ['001_start', '002_x'] }] },
    })
  })
})
