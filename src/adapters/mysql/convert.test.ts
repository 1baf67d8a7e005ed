import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { applyCarry, planCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { Job } from '../../data/engine.ts'
import { listedIn, played } from './test/merge.ts'

const why = noMariadb()
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

interface Retyped {
  readonly was: string
  readonly is: string
  /** What the rows have that nobody changes, what a user writes, and how the old type has that. */
  readonly kept: string
  readonly wrote: string
  readonly back: string
  /** What the old type cannot have. */
  readonly misfit?: string
}

const RETYPED: readonly Retyped[] = [
  { was: 'decimal(10,2)', is: 'decimal(12,4)', kept: '1.25', wrote: '2.5', back: '2.50', misfit: '2.505' },
  { was: 'decimal(12,4)', is: 'decimal(10,2)', kept: '1.25', wrote: '2.5', back: '2.5000' },
  { was: 'decimal(4,2)', is: 'decimal(12,4)', kept: '1.25', wrote: '-99.99', back: '-99.99', misfit: '12345.5' },
  { was: 'decimal(10,2) unsigned', is: 'decimal(12,4)', kept: '1.25', wrote: '2.5', back: '2.50', misfit: '-1' },
  { was: 'int', is: 'decimal(12,2)', kept: '1', wrote: '2', back: '2', misfit: '2.5' },
  { was: 'tinyint unsigned', is: 'decimal(12,2)', kept: '1', wrote: '255', back: '255', misfit: '256' },
  {
    was: 'bigint unsigned',
    is: 'decimal(22,1)',
    kept: '1',
    wrote: '18446744073709551615',
    back: '18446744073709551615',
  },
  { was: 'decimal(10,2)', is: 'int', kept: '1', wrote: '2', back: '2.00', misfit: '123456789' },
  { was: 'int', is: 'bigint unsigned', kept: '1', wrote: '2', back: '2', misfit: '3000000000' },
  { was: 'int', is: 'varchar(20)', kept: '1', wrote: `'-20'`, back: '-20', misfit: `'020'` },
  { was: 'bigint', is: 'varchar(30)', kept: '1', wrote: `'9007199254740993'`, back: '9007199254740993', misfit: `'x'` },
  {
    was: 'datetime',
    is: 'datetime(6)',
    kept: `'2026-01-01 10:00:00'`,
    wrote: `'2026-01-01 11:00:00'`,
    back: '2026-01-01 11:00:00',
    misfit: `'2026-01-01 11:00:00.5'`,
  },
  {
    was: 'datetime(6)',
    is: 'datetime',
    kept: `'2026-01-01 10:00:00'`,
    wrote: `'2026-01-01 11:00:00'`,
    back: '2026-01-01 11:00:00.000000',
  },
  {
    was: 'datetime(3)',
    is: 'datetime(6)',
    kept: `'2026-01-01 10:00:00.5'`,
    wrote: `'0000-00-00'`,
    back: '0000-00-00 00:00:00.000',
    misfit: `'2026-01-01 11:00:00.5005'`,
  },
  {
    was: 'timestamp NULL',
    is: 'timestamp(3) NULL',
    kept: `'2026-01-01 10:00:00'`,
    wrote: `'2026-01-01 11:00:00'`,
    back: '2026-01-01 11:00:00',
    misfit: `'2026-01-01 11:00:00.5'`,
  },
  {
    was: 'time(1)',
    is: 'time(4)',
    kept: `'-100:00:00.5'`,
    wrote: `'10:00:00'`,
    back: '10:00:00.0',
    misfit: `'10:00:00.55'`,
  },
  {
    was: 'date',
    is: 'datetime',
    kept: `'2026-01-01'`,
    wrote: `'2026-02-31'`,
    back: '2026-02-31',
    misfit: `'2026-01-01 00:00:01'`,
  },
  {
    was: 'date',
    is: 'datetime(6)',
    kept: `'0000-00-00'`,
    wrote: `'2026-01-02'`,
    back: '2026-01-02',
    misfit: `'2026-01-01 00:00:00.000001'`,
  },
  { was: 'datetime(3)', is: 'date', kept: `'2026-01-01'`, wrote: `'2026-01-02'`, back: '2026-01-02 00:00:00.000' },
]

describe.skipIf(why !== null)(`values of another type on MariaDB${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
  })
  afterAll(() => server?.dispose())

  it('go back into the old one where they fit, and what nobody changed is not doubted', async () => {
    const all = RETYPED.map((r, i) => ({ ...r, t: `t${i}` }))
    const merge = await played(server, {
      base: all.flatMap(({ t, was, kept }) => [
        `CREATE TABLE ${t} (id int PRIMARY KEY, v ${was}, n int)`,
        `INSERT INTO ${t} VALUES (1, ${kept}, 1), (2, ${kept}, 2), (3, ${kept}, 3), (4, NULL, 4)`,
      ]),
      early: [],
      release: all.map(({ t, is }) => ({ sql: `ALTER TABLE ${t} MODIFY v ${is}` })),
      meanwhile: [],
      writes: all.flatMap(({ t, wrote, misfit }) => [
        `INSERT INTO ${t} VALUES (5, ${wrote}, 5)`,
        `UPDATE ${t} SET v = ${wrote} WHERE id = 1`,
        `UPDATE ${t} SET n = 22 WHERE id = 2`,
        ...(misfit === undefined ? [] : [`INSERT INTO ${t} VALUES (6, ${misfit}, 6)`]),
      ]),
      after: [],
      told: true,
    })
    try {
      const [, base] = await Promise.all([planCarry(merge.source, NOTHING_SAID, job), merge.dump('base')])
      const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
      const after = await merge.dump('ours')
      const listed = (await listedIn(merge.source, outcome)).map(row => [row.table, row.kind])
      const found = all.map(({ t, was, is }) => {
        const kinds = listed.filter(([table]) => table === t).map(([, kind]) => kind)
        return { from: is, to: was, rows: after[t], kinds }
      })
      const expected = all.map(({ t, was, is, back, misfit }) => {
        const kept = base[t]?.find(row => row['id'] === '3')?.['v']
        const rows = [
          { id: '1', v: back, n: '1' },
          { id: '2', v: kept, n: '22' },
          { id: '3', v: kept, n: '3' },
          { id: '4', v: null, n: '4' },
          { id: '5', v: back, n: '5' },
        ]
        return { from: is, to: was, rows, kinds: misfit === undefined ? [] : ['type'] }
      })
      expect(found).toEqual(expected)
      expect(outcome.proof).toMatchObject({ ok: true, problems: [] })
    } finally {
      await merge.dispose()
    }
  })

  it.each([
    ['decimal(6,2)', 'decimal(8,4)', ['1.25', '2', '3'], '4.5', '4.50'],
    ['int', 'varchar(36)', ['1', '2', '30'], `'40'`, '40'],
    [
      'datetime(3)',
      'datetime',
      [`'2026-01-01'`, `'2026-01-02'`, `'2026-01-03'`],
      `'2026-01-04'`,
      '2026-01-04 00:00:00.000',
    ],
  ])('tell rows apart as keys: %s that became %s', async (was, is, [one, two, three], added, back) => {
    const merge = await played(server, {
      base: [
        `CREATE TABLE t (k ${was} PRIMARY KEY, n int)`,
        `INSERT INTO t VALUES (${one}, 1), (${two}, 2), (${three}, 3)`,
      ],
      early: [],
      release: [{ sql: `ALTER TABLE t MODIFY k ${is}` }],
      meanwhile: [],
      writes: [`INSERT INTO t VALUES (${added}, 4)`, `UPDATE t SET n = 22 WHERE n = 2`, 'DELETE FROM t WHERE n = 3'],
      after: [],
      told: true,
    })
    try {
      const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
      expect(outcome.plan.tables).toMatchObject([{ key: ['k'], inserts: 1, updates: 1, deletes: 1, conflicts: {} }])
      const base = (await merge.dump('base'))['t']?.map(row => row['k']) ?? []
      expect((await merge.dump('ours'))['t']).toEqual([
        { k: base[0], n: '1' },
        { k: base[1], n: '22' },
        { k: back, n: '4' },
      ])
      expect(outcome.proof).toMatchObject({ ok: true, problems: [] })
    } finally {
      await merge.dispose()
    }
  })

  it('leaves to a person in which zone a timestamp became a datetime', async () => {
    const merge = await played(server, {
      base: [
        'CREATE TABLE t (id int PRIMARY KEY, at timestamp NULL)',
        `INSERT INTO t VALUES (1, '2026-01-01 10:00:00')`,
      ],
      early: [],
      release: [{ sql: `SET time_zone = '+02:00'` }, { sql: 'ALTER TABLE t MODIFY at datetime' }],
      meanwhile: [],
      writes: [`INSERT INTO t VALUES (2, '2026-01-02 10:00:00')`],
      after: [],
      told: true,
    })
    try {
      const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
      const [listed] = (await listedIn(merge.source, outcome)).filter(row => row.kind === 'type')
      expect(listed).toMatchObject({ table: 't', key: { id: '2' } })
      expect((await merge.dump('ours'))['t']).toEqual((await merge.dump('base'))['t'])
    } finally {
      await merge.dispose()
    }
  })
})
