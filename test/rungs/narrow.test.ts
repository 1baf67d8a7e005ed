import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import type { RungStory } from './story.ts'
import { onMariadb, onPostgres } from './systems.ts'
import { carriedOut, played, proposed, type System } from './world.ts'

type Undone = readonly (readonly [up: string, down: string])[]

const MANY = 12_000

/** What each way back is refused for, as Backout counts it, with the rows that are in its way: `id` of table t. */
interface Case {
  readonly base: readonly string[]
  readonly release: Undone
  readonly writes: readonly string[]
  readonly counted: Readonly<Record<string, number>>
  readonly inTheWay: string
  readonly locks: readonly string[]
  readonly leave: readonly (readonly [sql: string, level: string, why: string])[]
}

const ROWS = (great: string) => [
  `INSERT INTO author VALUES (1)`,
  `INSERT INTO t VALUES (1, 5, 'a@x', 1.50, '7', '${great}', 1, 1)`,
]

const WRITES = [
  `INSERT INTO t VALUES (2, 3000000000, 'b@x', 1, '1', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (3, NULL, 'c@x', 1, '1', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (4, 1, 'longer', 1, '1', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (5, 1, 'a@x', 1, '1', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (6, 1, 'd@x', 12345.678, '1', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (7, 1, 'e@x', 1.005, '1', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (8, 1, 'f@x', 1, 'many', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (9, 1, 'g@x', 1, '70000', 'ok', 1, 1)`,
  `INSERT INTO t VALUES (10, 1, 'h@x', NULL, '-8', NULL, NULL, NULL)`,
  `INSERT INTO t VALUES (11, 1, 'i@x', 1, '1', 'great', 1, 1)`,
  `INSERT INTO t VALUES (12, 1, 'j@x', 1, '1', 'ok', -1, 1)`,
  `INSERT INTO t VALUES (13, 1, 'k@x', 1, '1', 'ok', 1, 99)`,
]

const COUNTED = {
  't.n (no value)': 1,
  't.n (too wide)': 1,
  't.mail (too wide)': 1,
  't (mail twice)': 1,
  't.price (too wide)': 2,
  't.tag (too wide)': 2,
  't.feeling (too wide)': 1,
  't (a of no author)': 1,
}

const POSTGRES: Case = {
  base: [
    `CREATE TYPE mood AS ENUM ('sad', 'ok')`,
    'CREATE TABLE author (id int PRIMARY KEY, name text)',
    `CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, mail varchar(5) UNIQUE, price numeric(6,2), tag smallint,
      feeling mood, q int CHECK (q > 0), a int REFERENCES author)`,
    ...ROWS('ok'),
  ],
  release: [
    [
      'ALTER TABLE t ALTER n TYPE bigint, ALTER n DROP NOT NULL',
      'ALTER TABLE t ALTER n TYPE int, ALTER n SET NOT NULL',
    ],
    [
      'ALTER TABLE t ALTER mail TYPE text, DROP CONSTRAINT t_mail_key',
      'ALTER TABLE t ALTER mail TYPE varchar(5), ADD CONSTRAINT t_mail_key UNIQUE (mail)',
    ],
    ['ALTER TABLE t ALTER price TYPE numeric', 'ALTER TABLE t ALTER price TYPE numeric(6,2)'],
    ['ALTER TABLE t ALTER tag TYPE text', 'ALTER TABLE t ALTER tag TYPE smallint USING tag::smallint'],
    [
      `ALTER TYPE mood ADD VALUE 'great'`,
      `ALTER TYPE mood RENAME TO moods; CREATE TYPE mood AS ENUM ('sad', 'ok');
       ALTER TABLE t ALTER feeling TYPE mood USING feeling::text::mood; DROP TYPE moods`,
    ],
    ['ALTER TABLE t DROP CONSTRAINT t_q_check', 'ALTER TABLE t ADD CHECK (q > 0)'],
    ['ALTER TABLE t DROP CONSTRAINT t_a_fkey', 'ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES author'],
  ],
  writes: WRITES,
  counted: { ...COUNTED, 't (breaks CHECK ((q > 0)))': 1 },
  inTheWay: '2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13',
  locks: [
    `INSERT INTO t SELECT i, i, NULL, NULL, NULL, NULL, NULL, NULL FROM generate_series(100, ${MANY}) AS i`,
    'ANALYZE t',
  ],
  leave: [
    ['ALTER TABLE t ADD x int', 'note', 'rows that the old release writes stay without it'],
    ['ALTER TABLE t ADD x int NOT NULL DEFAULT 7', 'note', 'rows that the old release writes get 7'],
    ['ALTER TABLE t ADD x int NOT NULL', 'blocker', 'its rows are refused'],
    ['CREATE INDEX i ON t (n)', 'note', 'it refuses nothing'],
    ['CREATE INDEX i ON t (lower(mail))', 'note', 'it refuses nothing'],
    ['CREATE INDEX i ON author (name)', 'note', 'it refuses nothing, but values of name over about 2,700 bytes'],
    [
      'ALTER TABLE t ADD x text NOT NULL GENERATED ALWAYS AS (lower(mail)) STORED',
      'blocker',
      'rows of the old release for which that comes out as none are refused',
    ],
    ['CREATE INDEX i ON t ((100 / n))', 'blocker', 'for which it cannot be computed are refused'],
    ['ALTER TABLE t ADD x int GENERATED ALWAYS AS (100 / n) STORED', 'blocker', 'for which it cannot be computed'],
    ['CREATE TABLE u () INHERITS (t)', 'blocker', 'the old release reads and changes its rows as those of t'],
    ['CREATE UNIQUE INDEX i ON t (n)', 'blocker', 'it refuses rows that the old release may write'],
    ['ALTER TABLE t DROP n', 'blocker', 'its queries fail'],
    ['ALTER TABLE t ALTER n TYPE numeric', 'blocker', 'the old release expects integer'],
    ['CREATE RULE kept AS ON DELETE TO t DO INSTEAD NOTHING', 'blocker', 'it acts on what the old release'],
    ['CREATE TABLE u (a int REFERENCES t)', 'note', 'rows of t that it refers to cannot be deleted meanwhile'],
  ],
}

const MARIADB: Case = {
  base: [
    'CREATE TABLE author (id int PRIMARY KEY) ENGINE=InnoDB',
    `CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, mail varchar(5), price decimal(6,2), tag smallint, feeling enum('sad', 'ok'),
      q int, a int, UNIQUE KEY one_mail (mail), CONSTRAINT positive CHECK (q > 0),
      CONSTRAINT of_author FOREIGN KEY (a) REFERENCES author (id)) ENGINE=InnoDB`,
    ...ROWS('ok'),
  ],
  release: [
    ['ALTER TABLE t MODIFY n bigint', 'ALTER TABLE t MODIFY n int NOT NULL'],
    [
      'ALTER TABLE t MODIFY mail varchar(50), DROP INDEX one_mail',
      'ALTER TABLE t MODIFY mail varchar(5), ADD UNIQUE KEY one_mail (mail)',
    ],
    ['ALTER TABLE t MODIFY price decimal(12,4)', 'ALTER TABLE t MODIFY price decimal(6,2)'],
    ['ALTER TABLE t MODIFY tag varchar(20)', 'ALTER TABLE t MODIFY tag smallint'],
    [`ALTER TABLE t MODIFY feeling enum('sad', 'ok', 'great')`, `ALTER TABLE t MODIFY feeling enum('sad', 'ok')`],
    ['ALTER TABLE t DROP CONSTRAINT positive', 'ALTER TABLE t ADD CONSTRAINT positive CHECK (q > 0)'],
    [
      'ALTER TABLE t DROP FOREIGN KEY of_author',
      'ALTER TABLE t ADD CONSTRAINT of_author FOREIGN KEY (a) REFERENCES author (id)',
    ],
  ],
  writes: WRITES,
  counted: { ...COUNTED, 't (breaks check ("q" > 0))': 1 },
  inTheWay: POSTGRES.inTheWay,
  locks: [
    `INSERT INTO t SELECT seq, seq, NULL, NULL, NULL, NULL, NULL, NULL FROM seq_100_to_${MANY}`,
    'ANALYZE TABLE t',
  ],
  leave: [
    ['ALTER TABLE t ADD x int', 'note', 'rows that the old release writes stay without it'],
    ['ALTER TABLE t ADD x int NOT NULL DEFAULT 7', 'note', 'rows that the old release writes get 7'],
    ['CREATE INDEX i ON t (n)', 'note', 'it refuses nothing'],
    ['CREATE UNIQUE INDEX i ON t (n)', 'blocker', 'it refuses rows that the old release may write'],
    ['ALTER TABLE t DROP n', 'blocker', 'its queries fail'],
    ['ALTER TABLE t MODIFY n decimal(20,0) NOT NULL', 'blocker', 'the old release expects int(11)'],
    ['CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM t', 'blocker', 'it acts on what the old release'],
    ['ALTER TABLE t DROP PRIMARY KEY', 'blocker', 'constraint t is gone (primary key (id))'],
  ],
}

function story({ base, release, writes }: Pick<Case, 'base' | 'release' | 'writes'>): RungStory {
  const named = release.map(([up, down], i) => ({ name: `00${i + 2}_wider`, up, down }))
  return { base, release: named, early: [], meanwhile: [], told: false, writes }
}

function narrows(make: () => Promise<System>, own: Case): void {
  const lost = (p: Awaited<ReturnType<typeof proposed>>) =>
    Object.fromEntries(p.impact.loss.map(l => [l.what, l.count]))

  it('counts what each way back would be refused for, and goes back once that is gone', async () => {
    await using world = await played(await make(), story(own))
    expect(lost(await proposed(world, 'migrate-down'))).toEqual(own.counted)
    for (const [, down] of own.release) {
      expect(await world.run(['BEGIN', down, 'ROLLBACK']), down).toEqual([true, false, true])
    }
    expect(await world.run([`DELETE FROM t WHERE id IN (${own.inTheWay})`])).toEqual([true])
    const before = await world.dump()
    const down = await proposed(world, 'migrate-down')
    expect(lost(down)).toEqual({})
    await carriedOut(world, down, 'narrow')
    expect((await world.dump())['t']?.map(row => [row['id'], row['mail']])).toEqual(
      before['t']?.map(row => [row['id'], row['mail']]),
    )
  })

  it('names the tables that undoing keeps busy, with their size', async () => {
    const [wider] = own.release
    if (wider === undefined) throw new Error('no migration')
    await using world = await played(await make(), story({ ...own, release: [wider], writes: own.locks }))
    const { findings, impact } = await proposed(world, 'migrate-down')
    expect(impact.loss).toEqual([])
    expect(findings.find(f => f.code === 'long_lock')?.what).toMatch(
      /^Undoing rewrites the whole table t \(about 1[12]\d{3} rows\), and others wait for it meanwhile$/,
    )
  })

  it.each(own.leave)('leaving it: %s', async (sql, level, why) => {
    // A column that must be filled is only added to an empty table.
    const base = [...own.base, 'DELETE FROM t']
    await using world = await played(await make(), story({ base, release: [[sql, 'SELECT 1']], writes: [] }))
    const { findings } = await proposed(world, 'leave')
    const told = findings.filter(f => f.level === level && f.code.startsWith('schema_')).map(f => f.what)
    expect(told.join()).toContain(why)
  })
}

const noPg = noPostgres()
describe.skipIf(noPg !== null)(`C11 B4: a wider schema on PostgreSQL${noPg === null ? '' : ` (${noPg})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())
  narrows(() => onPostgres(server), POSTGRES)

  it('says which rights are gone where the schema is left', async () => {
    await server.sql('CREATE ROLE clerk')
    const base = ['CREATE TABLE t (id int PRIMARY KEY)', 'GRANT SELECT, UPDATE ON t TO clerk']
    const release = [['REVOKE UPDATE ON t FROM clerk', 'GRANT UPDATE ON t TO clerk']] as const
    await using world = await played(await onPostgres(server), story({ base, release, writes: [] }))
    const { findings } = await proposed(world, 'leave')
    const told = findings.filter(f => f.code === 'rights_gone').map(f => `${f.level}: ${f.what}`)
    expect(told).toEqual(['warning: Rights of the release are gone: clerk may not UPDATE t'])
  })
})

const noMaria = noMariadb()
describe.skipIf(noMaria !== null)(`C11 B4: a wider schema on MariaDB${noMaria === null ? '' : ` (${noMaria})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
  })
  afterAll(() => server?.dispose())
  narrows(() => onMariadb(server), MARIADB)

  it('counts the rows of one key where the primary key comes back', async () => {
    const told = {
      base: ['CREATE TABLE o (id int NOT NULL PRIMARY KEY, k int NOT NULL)'],
      release: [
        [
          'ALTER TABLE o DROP PRIMARY KEY, ADD PRIMARY KEY (id, k)',
          'ALTER TABLE o DROP PRIMARY KEY, ADD PRIMARY KEY (id)',
        ],
      ] as const,
      writes: ['INSERT INTO o VALUES (1, 1), (1, 2)'],
    }
    await using world = await played(await onMariadb(server), story(told))
    expect((await proposed(world, 'migrate-down')).impact.loss).toMatchObject([{ what: 'o (id twice)', count: 1 }])
  })

  it('sees a primary key that was changed by hand before it restores', async () => {
    const base = ['CREATE TABLE o (id int NOT NULL PRIMARY KEY, k int NOT NULL)', 'INSERT INTO o VALUES (1, 1)']
    await using world = await played(await onMariadb(server), story({ base, release: [], writes: [] }))
    expect((await proposed(world, 'restore')).steps).toEqual([])
    await world.run(['ALTER TABLE o DROP PRIMARY KEY, ADD PRIMARY KEY (k)'])
    expect((await proposed(world, 'restore')).steps).not.toEqual([])
  })
})
