import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Loss, Proposal, StepAct } from '../../src/core/contract.ts'
import type { Json } from '../../src/core/json.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { onMariadb, onPostgres } from './systems.ts'
import { played, proposed, type System, type World } from './world.ts'

interface Case {
  readonly base: readonly string[]
  readonly up: string
  readonly writes: readonly string[]
}

const between = (system: System, { base, up, writes }: Case) =>
  played(system, {
    base,
    release: [{ name: '002_x', up, down: 'SELECT 1' }],
    early: [],
    meanwhile: [],
    told: false,
    writes,
  })

const counted = (loss: readonly Loss[]) => Object.fromEntries(loss.map(l => [l.what, l.count]))

/** What a restore asks for right before it swaps; carrying forward is left out. */
async function askedFor({ open }: World, proposal: Proposal): Promise<Record<string, number>> {
  const handles = new Map<string, Json>()
  const asked: Loss[] = []
  const accepts: StepAct['accepts'] = loss => asked.push(...loss) >= 0
  for (const step of ordered(proposal).filter(s => !s.id.includes('carry'))) {
    await using target = await open()
    await target.apply(step, { ...stepAct(step, 'lost', handles), accepts })
  }
  return counted(asked)
}

const uncounted = (p: Proposal) => p.findings.filter(f => f.code === 'rows_uncounted').map(f => f.what)

const noPg = noPostgres()
describe.skipIf(noPg !== null)(`B4: what going back loses on PostgreSQL${noPg === null ? '' : ` (${noPg})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())

  it('counts what was written into a column that was renamed, or is computed no more, before a restore', async () => {
    await using world = await between(await onPostgres(server), {
      base: [
        'CREATE TABLE o (id int PRIMARY KEY, note text)',
        `INSERT INTO o SELECT i, 'n' || i FROM generate_series(1, 4) AS i`,
        'CREATE TABLE k (id int PRIMARY KEY, v int)',
        'INSERT INTO k VALUES (1, 1), (2, 2)',
        'CREATE TABLE g (id int PRIMARY KEY, q int, total int GENERATED ALWAYS AS (q * 2) STORED)',
        'INSERT INTO g VALUES (1, 1), (2, 2), (3, 3)',
      ],
      up: `ALTER TABLE o RENAME note TO remark; ALTER TABLE k RENAME id TO number;
        ALTER TABLE g ALTER total DROP EXPRESSION`,
      writes: [
        `UPDATE o SET remark = 'edited' WHERE id <= 3`,
        'UPDATE k SET v = 9 WHERE number = 2',
        'UPDATE g SET total = 999 WHERE id < 3',
      ],
    })
    const restore = await proposed(world, 'restore')
    expect(counted(restore.impact.loss)).toMatchObject({ 'o (changed)': 4, 'k (changed)': 2, 'g (changed)': 3 })
    expect(await askedFor(world, restore)).toEqual({ 'o (changed)': 3, 'k (changed)': 1, 'g (changed)': 2 })
  })

  it('counts words, checks, references and uniqueness that come back in whatever words, and warns of what it cannot count', async () => {
    await using world = await between(await onPostgres(server), {
      base: [
        `CREATE TYPE "OrderStatus" AS ENUM ('open', 'paid')`,
        'CREATE TABLE e (id int PRIMARY KEY, one "OrderStatus", many "OrderStatus"[])',
        'CREATE DOMAIN positive AS int CHECK (VALUE > 0)',
        'CREATE TABLE d (id int PRIMARY KEY, n positive, q smallint CHECK (q < 100))',
        'CREATE TABLE parent (id bigint PRIMARY KEY)',
        'CREATE TABLE "Parent" (id bigint PRIMARY KEY)',
        'INSERT INTO parent VALUES (7)',
        'CREATE TABLE f (id int PRIMARY KEY, p int REFERENCES parent, c int REFERENCES "Parent")',
        `CREATE TABLE u (id int, k int, m text, "M" text, gone date, PRIMARY KEY (id) INCLUDE (k),
          CONSTRAINT late UNIQUE (m) DEFERRABLE, CONSTRAINT other UNIQUE NULLS NOT DISTINCT ("M"))`,
        'CREATE UNIQUE INDEX soft ON u (k DESC) WHERE gone IS NULL',
        `CREATE TABLE x (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&), mail text UNIQUE)`,
        'CREATE DOMAIN mail AS text',
        'CREATE TABLE w (id int PRIMARY KEY, a mail, b text, c timestamp)',
        'CREATE TABLE g (id int PRIMARY KEY, q int, total int GENERATED ALWAYS AS (q * 2) STORED)',
        'CREATE TABLE v (y int) PARTITION BY RANGE (y)',
        'CREATE TABLE v25 PARTITION OF v FOR VALUES FROM (2025) TO (2026)',
      ],
      up: `CREATE TABLE v26 PARTITION OF v FOR VALUES FROM (2026) TO (2027); ALTER TABLE g ALTER total DROP EXPRESSION;
        ALTER TYPE "OrderStatus" ADD VALUE 'lost'; ALTER DOMAIN positive DROP CONSTRAINT positive_check;
        ALTER TABLE d DROP CONSTRAINT d_q_check, ALTER q TYPE int;
        ALTER TABLE f DROP CONSTRAINT f_p_fkey, DROP CONSTRAINT f_c_fkey;
        ALTER TABLE u DROP CONSTRAINT u_pkey, DROP CONSTRAINT late, DROP CONSTRAINT other; DROP INDEX soft;
        ALTER TABLE x DROP CONSTRAINT x_r_excl; ALTER TABLE x RENAME mail TO email;
        ALTER TABLE w ALTER a TYPE text, ALTER b TYPE jsonb USING b::jsonb, ALTER c TYPE timestamptz`,
      writes: [
        `INSERT INTO e VALUES (1, 'lost', '{open,lost}'), (2, 'paid', '{paid,NULL}'), (3, NULL, NULL)`,
        'INSERT INTO d VALUES (1, -1, 500), (2, 1, 501), (3, NULL, 5)',
        'INSERT INTO f VALUES (1, 77, 7), (2, 7, NULL)',
        `INSERT INTO u VALUES (1, 1, 'a', 'x', NULL), (1, 1, 'a', NULL, NULL), (2, 1, 'b', NULL, now())`,
        'INSERT INTO g VALUES (1, 1, 999), (2, 2, NULL)',
        'INSERT INTO v VALUES (2025), (2026), (2026)',
        `INSERT INTO w VALUES (1, 'a', '{"a": 1}', now())`,
      ],
    })
    const down = await proposed(world, 'migrate-down')
    expect(counted(down.impact.loss)).toEqual({
      'e.one (too wide)': 1,
      'e.many (too wide)': 1,
      'd.n (too wide)': 1,
      'd (breaks CHECK ((q < 100)))': 2,
      'f (p of no parent)': 1,
      'f (c of no Parent)': 1,
      'u (id twice)': 1,
      'u (m twice)': 1,
      'u (M twice)': 1,
      'u (k twice)': 1,
      'g.total (at most, computed again)': 1,
      'v (partition v26)': 2,
    })
    expect(uncounted(down)).toEqual([
      'EXCLUDE USING gist (r WITH &&) binds x again, and what does not fit it cannot be counted',
    ])
  })
})

const noMaria = noMariadb()
describe.skipIf(noMaria !== null)(
  `B4: what going back loses on MariaDB${noMaria === null ? '' : ` (${noMaria})`}`,
  () => {
    let server: Mariadb
    beforeAll(async () => {
      server = await mariadb()
    })
    afterAll(() => server?.dispose())

    it('counts prefixes, keys and collations that are unique again, and checks of columns that were narrower', async () => {
      await using world = await between(await onMariadb(server), {
        base: [
          'CREATE TABLE p (id int PRIMARY KEY, m varchar(500), UNIQUE KEY u (m(3)))',
          'CREATE TABLE c (id int PRIMARY KEY, m varchar(50) COLLATE utf8mb4_general_ci, UNIQUE KEY u (m))',
          'CREATE TABLE k (id int NOT NULL PRIMARY KEY, k int NOT NULL)',
          'CREATE TABLE v (y int) PARTITION BY RANGE (y) (PARTITION p25 VALUES LESS THAN (2026))',
          'CREATE TABLE q (id int PRIMARY KEY, q smallint, CONSTRAINT small CHECK (q < 100))',
        ],
        up: 'ALTER TABLE p DROP KEY u',
        writes: [
          'ALTER TABLE c MODIFY m varchar(50) COLLATE utf8mb4_bin',
          'ALTER TABLE k DROP PRIMARY KEY, ADD PRIMARY KEY (id, k)',
          'ALTER TABLE q DROP CONSTRAINT small, MODIFY q int',
          `INSERT INTO p VALUES (1, 'abcd'), (2, 'abce'), (3, 'abd')`,
          `INSERT INTO c VALUES (1, 'bob'), (2, 'Bob')`,
          'INSERT INTO k VALUES (1, 1), (1, 2)',
          'ALTER TABLE v ADD PARTITION (PARTITION p26 VALUES LESS THAN (2027))',
          'INSERT INTO v VALUES (2025), (2026), (2026)',
          'INSERT INTO q VALUES (1, 500), (2, 501), (3, 5)',
        ],
      })
      const down = await proposed(world, 'migrate-down')
      expect(counted(down.impact.loss)).toEqual({
        'p (m(3) twice)': 1,
        'c (m twice)': 1,
        'k (id twice)': 1,
        'v (partition p26)': 2,
        'q (breaks check ("q" < 100))': 2,
      })
      expect(uncounted(down)).toEqual([])
    })
  },
)
