import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveIn, readArchive } from '../../src/data/carry/archive.ts'
import { applyCarry } from '../../src/data/carry/index.ts'
import { readLines } from '../../src/data/carry/lines.ts'
import { carriesForward } from '../../src/data/carry/open.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import type { ListedRow } from '../../src/data/carry/rows.ts'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'
import { JOB, played as merged, rows } from '../support/merge.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import type { RungStory } from './story.ts'
import { onMariadb, onPostgres, onSqlite } from './systems.ts'
import { carriedOut, played, proposed, type System, signal, type World } from './world.ts'

type Rows = Readonly<Record<string, readonly string[]>>

/** Restores and carries. Rows are cells with "|" between them; `listed`: table, key and kind of what a person is to decide. */
async function back(
  system: System,
  story: Pick<RungStory, 'base' | 'writes'> & Partial<RungStory>,
  ups: readonly string[],
  told = true,
) {
  const release = ups.map((up, i) => ({ name: `00${i + 2}_x`, up, down: null }))
  await using world = await played(system, { release, told, early: [], meanwhile: [], ...story })
  await carriedOut(world, await proposed(world, 'restore'), 'back')
  return { after: rowsOf(await world.dump()), listed: await listedIn(world) }
}

function rowsOf(dump: Awaited<ReturnType<World['dump']>>): Rows {
  const bare = (value: string | null) => value?.replace(/^'(.*)'$/s, '$1') ?? 'null'
  const all = Object.entries(dump).map(([table, rows]) => [table, rows.map(r => Object.values(r).map(bare).join('|'))])
  return Object.fromEntries(all)
}

async function listedIn({ open, pin }: World): Promise<string[]> {
  await using target = await open()
  if (!carriesForward(target)) throw new Error('it carries nothing')
  await using source = await target.carrying('back', pin.backup ?? '', { signal, guard() {}, progress() {} })
  const found: string[] = []
  for (const part of (await readArchive(source.dir))?.parts ?? []) {
    await readLines(archiveIn(source.dir), part, line => {
      const row = line as Partial<ListedRow>
      if (row.kind !== undefined) found.push(`${row.table} ${Object.values(row.key ?? {}).join('|')} ${row.kind}`)
    })
  }
  return found.sort()
}

const made = (table: string, columns: string) => [
  `CREATE TABLE ${table} (id int PRIMARY KEY, ${columns})`,
  `INSERT INTO ${table} VALUES (1, 10, 'a'), (2, 20, 'b')`,
]

/** What migrations do to a table without UPDATE, and to the key. In each users change row 2 and add row 9. */
const base = [
  ...made('added', 'total int, note varchar(20)'),
  ...made('kept', 'total int, note varchar(20)'),
  ...made('moved', 'total int, note varchar(20)'),
  ...made('numbered', 'total int, note varchar(20)'),
  ...made('swapped', 'total int, note varchar(20)'),
  ...made('joined', 'total int, note varchar(20)'),
  ...made('refunds', 'total int, note varchar(20)'),
]
const release = [
  'ALTER TABLE added DROP COLUMN note',
  'ALTER TABLE added ADD COLUMN note varchar(20)',
  'ALTER TABLE kept ADD COLUMN extra int',
  'ALTER TABLE moved ADD COLUMN cents int',
  'UPDATE moved SET cents = total * 100',
  'ALTER TABLE moved DROP COLUMN total',
  'ALTER TABLE moved RENAME COLUMN cents TO total',
  'UPDATE numbered SET id = id + 1000',
  'CREATE TABLE other AS SELECT id, total * 100 AS total, note FROM swapped',
  'ALTER TABLE swapped RENAME TO before_swap',
  'ALTER TABLE other RENAME TO swapped',
  'INSERT INTO joined SELECT id + 100, total, note FROM refunds',
  'DROP TABLE refunds',
]
const writes = [
  `UPDATE added SET total = 21 WHERE id = 2`,
  `UPDATE kept SET note = 'edited' WHERE id = 2`,
  `UPDATE moved SET note = 'edited' WHERE id = 2`,
  `INSERT INTO moved (id, total, note) VALUES (9, 9000, 'new')`,
  `INSERT INTO numbered VALUES (9, 90, 'new')`,
  `UPDATE swapped SET note = 'edited' WHERE id = 2`,
  `UPDATE joined SET total = 7 WHERE id = 101`,
  `INSERT INTO joined VALUES (9, 90, 'new')`,
]

async function expectLeft(system: System): Promise<void> {
  const { after, listed } = await back(system, { base, writes }, release)
  expect(after).toMatchObject({
    added: ['1|10|a', '2|21|b'],
    kept: ['1|10|a', '2|20|edited'],
    moved: ['1|10|a', '2|20|edited'],
    numbered: ['1|10|a', '2|20|b', '9|90|new'],
    swapped: ['1|10|a', '2|20|edited'],
    joined: ['1|10|a', '2|20|b', '9|90|new'],
    refunds: ['1|10|a', '2|20|b'],
  })
  const came = listed.filter(text => text.startsWith('joined'))
  expect(came).toEqual(['joined 101 ambiguous', 'joined 102 ambiguous'])
  for (const row of ['1', '2', '1001', '1002']) expect(listed).toContain(`numbered ${row} ambiguous`)
  expect(listed.filter(text => text.startsWith('moved 9'))).toEqual(['moved 9 rewritten'])
  for (const row of ['swapped 1', 'swapped 2']) expect(listed).toContain(`${row} ambiguous`)
  expect(listed.filter(text => text.startsWith('kept'))).toEqual([])
}

describe('C14: what a migration wrote is nobody’s edit', () => {
  it('on SQLite', async () => expectLeft(await onSqlite()))

  it('and what came and went under a key that it rewrote waits for a person; users’ later rows do not', async () => {
    const merge = merged({
      base: `CREATE TABLE tag (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO tag VALUES (1, 'a'), (2, 'b')`,
      migration: 'UPDATE tag SET id = id + 10',
      writes: `INSERT INTO tag VALUES (20, 'c'); UPDATE tag SET v = 'edited' WHERE id = 12`,
    })
    try {
      const source = { ...merge.source, touched: { tables: ['tag'], columns: { tag: ['id'] } } }
      const ids = () => rows(merge.ours, 'SELECT id FROM tag ORDER BY id').map(r => r['id'])
      const { left } = await applyCarry(source, NOTHING_SAID, JOB)
      expect([left.map(t => t.conflicts), ids()]).toEqual([[{ ambiguous: 4 }], [1, 2, 20]])
      await applyCarry(source, { ...NOTHING_SAID, decisions: [{ kind: 'ambiguous', take: 'theirs' }] }, JOB)
      expect(ids()).toEqual([11, 12, 20])
    } finally {
      rmSync(merge.dir, { recursive: true })
    }
  })
})

const noPg = noPostgres()
describe.skipIf(noPg !== null)(`C14: the same on PostgreSQL${noPg === null ? '' : ` (${noPg})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())

  it('in tables, columns and keys', async () => expectLeft(await onPostgres(server)))

  it.each([true, false])(
    'in what the server knows under another name, whatever else was done to it; told: %s',
    async told => {
      const ups = [
        'ALTER TABLE sold RENAME TO purchases',
        'ALTER TABLE purchases ADD discount int',
        'ALTER TABLE noted RENAME note TO remark',
        'ALTER TABLE noted ALTER remark TYPE varchar(30)',
        'CREATE TABLE next (LIKE swapped INCLUDING ALL)',
        'INSERT INTO next SELECT * FROM swapped',
        'ALTER TABLE swapped RENAME TO before_swap',
        'ALTER TABLE next RENAME TO swapped',
      ]
      const users = [
        `INSERT INTO purchases VALUES (9, 90, 'new')`,
        `UPDATE purchases SET note = 'edited' WHERE id = 2`,
        `UPDATE noted SET remark = 'edited' WHERE id = 2`,
        `UPDATE swapped SET note = 'edited' WHERE id = 2`,
      ]
      const tables = ['sold', 'noted', 'swapped'].flatMap(name => made(name, 'total int, note text'))
      const { after, listed } = await back(await onPostgres(server), { base: tables, writes: users }, ups, told)
      const edited = ['1|10|a', '2|20|edited']
      // What was made anew, or got another type, the migration may have written: that has to be told from the users' work.
      const unsure = told ? edited : ['1|10|a', '2|20|b']
      expect(after).toEqual({ sold: [...edited, '9|90|new'], noted: unsure, swapped: unsure })
      expect(listed).toEqual(told ? [] : ['noted 2 ambiguous', 'swapped 2 ambiguous'])
    },
  )

  it.each([true, false])('in a renamed column that users edited meanwhile; readable: %s', async readable => {
    const names = ['early', 'late', 'typed']
    const base = [
      ...names.flatMap(name => [
        ...made(name, 'total int NOT NULL, note text'),
        `INSERT INTO ${name} VALUES (3, 30, 'c')`,
      ]),
      ...made('cents', 'total int NOT NULL, note text'),
      'CREATE TABLE log (a int, t text)',
      `INSERT INTO log VALUES (1, 'x'), (2, 'y')`,
      'CREATE TABLE paid (a int, euros int)',
      'INSERT INTO paid VALUES (1, 10), (2, 20)',
    ]
    const ups = [
      ...names.map(name => `ALTER TABLE ${name} RENAME total TO amount`),
      'ALTER TABLE typed ALTER amount TYPE numeric(10,2)',
      'ALTER TABLE cents RENAME total TO amount',
      'UPDATE cents SET amount = amount * 100',
      'ALTER TABLE log RENAME t TO txt',
      'ALTER TABLE paid RENAME euros TO cents',
      'UPDATE paid SET cents = cents * 100',
      ...(readable ? [] : ['SELECT now()']),
    ]
    const story = {
      base,
      early: ['UPDATE early SET total = 11 WHERE id = 1'],
      meanwhile: ['UPDATE late SET amount = 11 WHERE id = 1'],
      writes: [
        ...names.flatMap(name => [
          `INSERT INTO ${name} VALUES (4, 40, 'd')`,
          `UPDATE ${name} SET amount = 21 WHERE id = 2`,
        ]),
        `INSERT INTO cents VALUES (4, 4000, 'd')`,
        `INSERT INTO log VALUES (3, 'z')`,
        'INSERT INTO paid VALUES (3, 3000)',
      ],
    }
    const { after, listed } = await back(await onPostgres(server), story, ups)
    const users = [readable ? '1|11|a' : '1|10|a', '2|21|b', '3|30|c', '4|40|d']
    expect(after).toEqual({
      early: users,
      late: users,
      typed: ['1|10|a', '2|21|b', '3|30|c', '4|40|d'],
      cents: ['1|10|a', '2|20|b'],
      log: ['1|x', '2|y', '3|z'],
      paid: ['1|10', '2|20', '3|null'],
    })
    const unknown = readable ? [] : ['early 1 ambiguous', 'late 1 ambiguous']
    expect(listed).toEqual(['cents 4 column-gone', ...unknown])
  })

  it('through views and parts of tables', async () => {
    const story = {
      base: [
        ...made('sold', 'total int, note text'),
        'CREATE VIEW active AS SELECT * FROM sold WHERE total > 0',
        'CREATE TABLE parted (id int PRIMARY KEY, total int, note text) PARTITION BY RANGE (id)',
        'CREATE TABLE parted_a PARTITION OF parted FOR VALUES FROM (0) TO (100)',
        `INSERT INTO parted VALUES (1, 10, 'a'), (2, 20, 'b')`,
      ],
      writes: [`UPDATE sold SET note = 'edited' WHERE id = 2`, `UPDATE parted SET note = 'edited' WHERE id = 2`],
    }
    const ups = ['UPDATE active SET total = total * 100', 'UPDATE parted_a SET total = total * 100']
    const { after, listed } = await back(await onPostgres(server), story, ups)
    expect(after).toMatchObject({ sold: ['1|10|a', '2|20|edited'], parted: ['1|10|a', '2|20|edited'] })
    expect(listed).toEqual(['parted 1 ambiguous', 'parted 2 ambiguous', 'sold 1 ambiguous', 'sold 2 ambiguous'])
  })
})

const noMaria = noMariadb()
describe.skipIf(noMaria !== null)(`C14: the same on MariaDB${noMaria === null ? '' : ` (${noMaria})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
  })
  afterAll(() => server?.dispose())

  it('in tables, columns and keys', async () => expectLeft(await onMariadb(server)))

  it('by the server itself with each update, and in what only MariaDB runs', async () => {
    const at = `at timestamp NOT NULL DEFAULT '2020-01-01' ON UPDATE CURRENT_TIMESTAMP`
    const story = {
      base: [
        `CREATE TABLE stamped (id int PRIMARY KEY, total int, ${at})`,
        'INSERT INTO stamped (id, total) VALUES (1, 10), (2, 20)',
        ...made('other', 'total int, note varchar(20)'),
      ],
      writes: [`UPDATE other SET note = 'edited' WHERE id = 2`],
    }
    const ups = ['UPDATE stamped SET total = total * 100', '/*M!100100 UPDATE other SET total = total * 100 */']
    const { after, listed } = await back(await onMariadb(server), story, ups)
    const before = '2020-01-01 00:00:00'
    expect(after).toEqual({ stamped: [`1|10|${before}`, `2|20|${before}`], other: ['1|10|a', '2|20|edited'] })
    expect(listed).toEqual(['other 1 ambiguous', 'other 2 ambiguous', 'stamped 1 ambiguous', 'stamped 2 ambiguous'])
  })
})
