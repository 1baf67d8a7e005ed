import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import type { Step, StepAct } from '../../src/core/contract.ts'
import { planCarry } from '../../src/data/carry/index.ts'
import { type Decision, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carryForward, type OpenedSource } from '../../src/data/carry/step.ts'
import { conflictsIn } from '../../src/data/carry/words.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import type { RungStory } from '../rungs/story.ts'
import { onMariadb, onPostgres, onSqlite } from '../rungs/systems.ts'
import { carriedOut, played, proposed, type World } from '../rungs/world.ts'
import { carrySystems, said, story } from '../support/carry-systems.ts'
import { noMariadb } from '../support/mariadb.ts'
import { noPostgres } from '../support/postgres.ts'

const LIMIT = 120_000
const { systems: SYSTEMS, servers } = carrySystems()

const applied = async (world: World, step: Step, attempt: number, progress: StepAct['progress'] = () => {}) => {
  await using target = await world.open()
  await target.apply(step, { ...stepAct(step, 'back'), attempt, progress })
}
const verdict = async (world: World, step: Step) => {
  await using target = await world.open()
  return (await target.verify(step, stepAct(step, 'back'))).is
}

describe.for(SYSTEMS)('what $name refuses by itself', ({ name, why, make }) => {
  const CHECKED = story(
    'CREATE TABLE looser (id int PRIMARY KEY, total int); INSERT INTO looser SELECT * FROM orders; DROP TABLE orders; ALTER TABLE looser RENAME TO orders',
    [
      'CREATE TABLE orders (id int PRIMARY KEY, total int, CONSTRAINT above CHECK (total > 0))',
      'INSERT INTO orders VALUES (1, 10)',
    ],
    ['INSERT INTO orders VALUES (2, -5), (3, 5), (4, -7)'],
  )
  const dropped = (sql: string): RungStory => ({ ...CHECKED, release: [{ name: '002_x', up: sql, down: null }] })

  it.skipIf(why !== null)(
    'is listed, holds nothing up, and is settled by a word or another value',
    { timeout: LIMIT },
    async () => {
      const system = await make()
      const drop = 'ALTER TABLE orders DROP CONSTRAINT above'
      await using world = await played(system, name === 'SQLite' ? CHECKED : dropped(drop))
      const proposal = await proposed(world, 'restore')
      // Each step is asked afterwards what became of it, and has to be done.
      await carriedOut(world, proposal, 'back')
      const step = ordered(proposal).find(s => s.id.endsWith('/carry')) as Step
      const orders = async () => (await world.dump())['orders']?.map(row => `${row['id']} ${row['total']}`).sort()
      expect(await orders()).toEqual(['1 10', '3 5'])
      const left = async (...words: Decision[]) => (await said(world, ...words)).left[0]
      const two: Decision = { table: 'orders', kind: 'check', key: { id: '2' }, take: 'theirs', set: { total: '-6' } }
      expect(await left(two)).toMatchObject({ conflicts: { check: 2 } })
      // A person's own value was refused too: that holds nothing up either.
      expect(await verdict(world, step)).toBe('done')
      const words: Decision[] = [
        { kind: 'check', take: 'ours' },
        { ...two, set: { total: '6' } },
      ]
      expect(await left(...words)).toMatchObject({ conflicts: {}, settled: 1 })
      expect(await orders()).toEqual(['1 10', '2 6', '3 5'])
      if (name !== 'MariaDB') return
      // The rules of ours may be others now.
      expect(await world.run([drop])).toEqual([true])
      expect([conflictsIn((await said(world)).left), await orders()]).toEqual([0, ['1 10', '2 6', '3 5', '4 -7']])
    },
  )
})

const OTHER = 'CREATE TABLE x (id int PRIMARY KEY)'
const ODD = [
  {
    name: 'SQLite',
    why: null,
    make: () => onSqlite(),
    base: ['CREATE TABLE o (id int PRIMARY KEY, note text)', `CREATE INDEX odd ON o (json_extract(note, '$.a'))`],
    up: 'DROP INDEX odd',
    writes: [`INSERT INTO o VALUES (2, 'no JSON'), (3, '{"a":1}')`],
    listed: ['o check'],
  },
  {
    name: 'PostgreSQL',
    why: noPostgres(),
    make: () => onPostgres(servers.postgres),
    base: [
      'CREATE TABLE o (id int PRIMARY KEY, note text)',
      'CREATE INDEX odd ON o (note)',
      'CREATE TABLE u (id text PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v int)',
      `INSERT INTO u (id, v) VALUES ('ann', 1), ('bob', 2)`,
    ],
    up: 'DROP INDEX odd',
    writes: [
      `INSERT INTO o SELECT 2, string_agg(md5(g::text), '') FROM generate_series(1, 2000) g`,
      `INSERT INTO o VALUES (3, 'short')`,
      `DELETE FROM u WHERE id = 'ann'`,
      `INSERT INTO u (id, v) VALUES ('ann', 3)`,
      `UPDATE u SET v = 22 WHERE id = 'bob'`,
    ],
    listed: ['o check', 'u check'],
  },
  {
    name: 'MariaDB',
    why: noMariadb(),
    make: () => onMariadb(servers.maria),
    base: [`CREATE TABLE o (id int PRIMARY KEY, note varbinary(20), odd int AS (COLUMN_GET(note, 1 AS int)) STORED)`],
    up: 'ALTER TABLE o DROP COLUMN odd',
    writes: [`INSERT INTO o VALUES (2, 'no columns'), (3, NULL)`],
    listed: ['o check'],
  },
]
describe.for(ODD)('what $name refuses in words of its own', ({ why, make, base, up, writes, listed }) => {
  it.skipIf(why !== null)('holds no other row up', { timeout: LIMIT }, async () => {
    const more = [...writes, 'INSERT INTO x VALUES (1)']
    await using world = await played(await make(), story(up, [...base, OTHER], more))
    await carriedOut(world, await proposed(world, 'restore'), 'back')
    const { left } = await said(world)
    expect(left.flatMap(t => Object.keys(t.conflicts).map(kind => `${t.table} ${kind}`))).toEqual(listed)
    const now = await world.dump()
    expect([now['o']?.map(row => row['id']), now['x']?.map(row => row['id'])]).toEqual([['3'], ['1']])
    if (now['u'] !== undefined) expect(now['u'].map(row => row['v'])).toEqual(['1', '22'])
  })
})

const COUNTED = [
  { name: 'SQLite', why: null, make: () => onSqlite(), id: 'INTEGER PRIMARY KEY AUTOINCREMENT' },
  { name: 'PostgreSQL', why: noPostgres(), make: () => onPostgres(servers.postgres), id: 'serial PRIMARY KEY' },
  { name: 'MariaDB', why: noMariadb(), make: () => onMariadb(servers.maria), id: 'int AUTO_INCREMENT PRIMARY KEY' },
]
describe.for(COUNTED)('on $name', ({ why, make, id }) => {
  it.skipIf(why !== null).each([
    ['where the table has another name', ['1', '2', '3', '4', '7']],
    ['where nothing is carried yet', ['1', '2', '3', '7']],
  ] as const)('no number is issued again %s', { timeout: LIMIT }, async (_, ids) => {
    const base = [
      `CREATE TABLE orders (id ${id}, note varchar(20))`,
      `INSERT INTO orders (note) VALUES ('aa'), ('bb'), ('cc')`,
    ]
    const writes = [`INSERT INTO purchases (note) VALUES ('dd'), ('ee'), ('ff')`, 'DELETE FROM purchases WHERE id > 4']
    await using world = await played(await make(), story('ALTER TABLE orders RENAME TO purchases', base, writes))
    const step = await restored(world)
    if (ids.length === 5) await applied(world, step, 1)
    else {
      await using source = await sourceOf(world)
      await carryForward(source, { ...NOTHING_SAID, mode: 'report' }, job)
    }
    await world.run([`INSERT INTO orders (note) VALUES ('after')`])
    expect((await world.dump())['orders']?.map(row => row['id'])).toEqual(ids)
  })
})

describe.skipIf(noMariadb() !== null)('what was not borne out on MariaDB', () => {
  const STOCK = story(
    'CREATE TABLE other (x int)',
    [
      'CREATE TABLE a_sale (id int PRIMARY KEY, s int)',
      'CREATE TABLE stamped (id int PRIMARY KEY, v int, at int)',
      'INSERT INTO a_sale VALUES (1, 5), (2, 6)',
      'INSERT INTO stamped VALUES (1, 1, 1)',
    ],
    ['UPDATE a_sale SET s = 7 WHERE id = 1', 'UPDATE stamped SET v = 2'],
  )
  /** Somebody else writes right after the first rows were carried. */
  const somebodyWrites = async () => {
    const [row] = await servers.maria.sql(
      "SELECT SCHEMA_NAME AS d FROM information_schema.SCHEMATA WHERE SCHEMA_NAME REGEXP '^random[0-9]+$' ORDER BY LENGTH(SCHEMA_NAME) DESC, SCHEMA_NAME DESC LIMIT 1",
    )
    let wrote = false
    return ({ text, done = 0 }: { text: string; done?: number }) => {
      if (wrote || text !== 'carrying rows' || done === 0) return
      wrote = true
      const sql = 'UPDATE a_sale SET s = s + 1000; UPDATE stamped SET at = 99'
      execFileSync('mariadb', [
        '--no-defaults',
        '-uroot',
        `--socket=${servers.maria.socket}`,
        String(row?.['d']),
        '-e',
        sql,
      ])
    }
  }

  it('stays so however often it is tried, until a person takes it as it is', { timeout: LIMIT }, async () => {
    await using world = await played(await onMariadb(servers.maria), STOCK)
    const step = await restored(world)
    const progress = await somebodyWrites()
    for (const attempt of [1, 2, 1]) {
      const why = expect.stringMatching(/a_sale: [^]*stamped: 1 rows have cells that were not to be written/)
      await expect(applied(world, step, attempt, progress)).rejects.toMatchObject({ code: 'carry_unproven', why })
      expect(await verdict(world, step)).toBe('not-done')
    }
    const sales = async () => (await world.dump())['a_sale']?.map(row => row['s'])
    expect(await sales()).toEqual(['1007', '1006'])
    await world.run(['UPDATE a_sale SET s = s - 1000'])
    await using source = await sourceOf(world)
    const outcome = await carryForward(source, NOTHING_SAID, job, { accepted: { by: 'eva', reason: 'mended by hand' } })
    expect([outcome.proof.ok, await sales()]).toEqual([true, ['7', '6']])
    expect(await verdict(world, step)).toBe('done')
  })

  it('is not to be: what the server sets by itself stays as it is', { timeout: LIMIT }, async () => {
    const stamp = 'timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)'
    const base = [
      `CREATE TABLE orders (id int PRIMARY KEY, note varchar(20), at ${stamp}, gone ${stamp})`,
      `INSERT INTO orders VALUES (1, 'a', '2020-01-01', '2020-01-02'), (2, 'b', '2020-01-01', '2020-01-02')`,
    ]
    const told = story('ALTER TABLE orders DROP gone, ADD x int', base, [
      `UPDATE orders SET note = 'edited', at = at, x = 1 WHERE id = 2`,
    ])
    await using world = await played(await onMariadb(servers.maria), told)
    await applied(world, await restored(world), 1)
    expect((await world.dump())['orders']?.at(-1)).toEqual({ ...world.base['orders']?.at(-1), note: 'edited' })
  })
})

it.skipIf(noMariadb() !== null)(
  'MariaDB: texts of another collation or character set are told apart as ours does',
  {
    timeout: LIMIT,
  },
  async () => {
    const base = [
      'CREATE TABLE a (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v int)',
      `INSERT INTO a VALUES ('ann', 1), ('bob', 2)`,
      'CREATE TABLE b (id int PRIMARY KEY, k varchar(20) COLLATE utf8mb4_unicode_ci UNIQUE)',
      `INSERT INTO b VALUES (1, 'ann'), (2, 'bob')`,
      'CREATE TABLE c (k varchar(20) PRIMARY KEY, v int) CHARACTER SET latin1',
      `INSERT INTO c VALUES ('ann', 1), ('b\u00e9a', 2)`,
      'CREATE TABLE d (k varchar(20) PRIMARY KEY, v varchar(20)) CHARACTER SET latin1',
      `INSERT INTO d VALUES ('ann', '\u00e9'), ('b\u00e9a', 'x')`,
    ]
    const up = [
      'ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci',
      'ALTER TABLE b MODIFY k varchar(20) COLLATE utf8mb4_general_ci',
      'ALTER TABLE c CONVERT TO CHARACTER SET utf8mb4',
      'ALTER TABLE d CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
    ].map((sql, i) => ({ name: `00${i + 2}_x`, up: sql, down: null }))
    const writes = [
      `INSERT INTO a VALUES ('cid', 3)`,
      `UPDATE a SET v = 22 WHERE k = 'bob'`,
      `INSERT INTO b VALUES (3, 'cid')`,
      `UPDATE b SET k = 'bobby' WHERE id = 2`,
      `INSERT INTO c VALUES ('cid', 3), ('\u{1f600}', 4)`,
      `UPDATE c SET v = 22 WHERE k = 'b\u00e9a'`,
      `INSERT INTO d VALUES ('ANN', 'other')`,
      `DELETE FROM d WHERE k = 'b\u00e9a'`,
    ]
    await using world = await played(await onMariadb(servers.maria), { ...story('', base, writes), release: up })
    const proposal = await proposed(world, 'restore')
    await carriedOut(world, proposal, 'back')
    const held = Object.entries(await world.dump()).map(([name, rows]) => [
      name,
      rows.map(r => Object.values(r).join(' ')),
    ])
    expect(Object.fromEntries(held)).toEqual({
      a: ['ann 1', 'bob 22', 'cid 3'],
      b: ['1 ann', '2 bobby', '3 cid'],
      c: ['ann 1', 'b\u00e9a 22', 'cid 3'],
      d: ['ann \u00e9'],
    })
    await using source = await sourceOf(world)
    const plan = await planCarry(source, NOTHING_SAID, job)
    expect(plan.tables.map(t => [t.table, t.key, t.conflicts])).toEqual([
      ['a', ['k'], {}],
      ['b', ['id'], {}],
      ['c', [], { type: 1 }],
      ['d', [], { unique: 1 }],
    ])
  },
)

describe.skipIf(noPostgres() !== null)('on PostgreSQL', () => {
  it('compares again where somebody writes meanwhile, each table without those that inherit from it', {
    timeout: LIMIT,
  }, async () => {
    const base = [
      'CREATE TABLE a_city (id int PRIMARY KEY, n text)',
      'CREATE TABLE z_capital (state text, PRIMARY KEY (id)) INHERITS (a_city)',
      `INSERT INTO a_city VALUES (1, 'a')`,
      `INSERT INTO z_capital VALUES (2, 'b', 'B'), (5, 'e', 'E')`,
    ]
    const writes = [
      `INSERT INTO z_capital (id, n, state) VALUES (3, 'c', 'C')`,
      `UPDATE z_capital SET n = 'bb' WHERE id = 2`,
      'DELETE FROM z_capital WHERE id = 5',
      `INSERT INTO a_city VALUES (4, 'd')`,
    ]
    const told = story('ALTER TABLE a_city ADD x int', base, writes)
    await using world = await played(await onPostgres(servers.postgres), told)
    await restored(world)
    await using source = await sourceOf(world)
    const wrote = Promise.withResolvers<void>()
    let first = true
    const merging: OpenedSource['merging'] = async given => {
      const merger = await source.merging(given)
      const transaction = merger.transaction.bind(merger)
      merger.transaction = async work => {
        if (first) {
          first = false
          await world.run([`UPDATE z_capital SET n = 'somebody' WHERE id = 2`])
          wrote.resolve()
        }
        return transaction(work)
      }
      return merger
    }
    const outcome = await carryForward({ ...source, merging }, NOTHING_SAID, job)
    await wrote.promise
    expect(outcome.left.map(t => t.conflicts)).toEqual([{}, { changed: 1 }])
    const rows = Object.entries(await world.dump()).map(([name, list]) => [
      name,
      list.map(row => `${row['id']} ${row['n']}`),
    ])
    expect(Object.fromEntries(rows)).toEqual({
      a_city: ['1 a', '2 somebody', '3 c', '4 d'],
      z_capital: ['2 somebody', '3 c'],
    })
  })
})
