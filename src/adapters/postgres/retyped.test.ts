import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { played } from './test/merge.ts'
import { job } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

/** The type at the release and a value; the type since, a value that users wrote then, and what the old column has of it. */
const PAIRS = [
  ['numeric(10,2)', '1.25', 'numeric(12,4)', '2.5000', '2.50'],
  ['timestamp', `'2026-01-01 00:00'`, 'date', `'2026-01-02'`, '2026-01-02 00:00:00'],
  ['date', `'2026-01-01'`, 'timestamp', `'2026-01-02'`, '2026-01-02'],
  ['date', `'-infinity'`, 'timestamp', `'infinity'`, 'infinity'],
  ['char(5)', `'a'`, 'text', `'b'`, 'b'],
  ['text', `'a'`, 'char(5)', `'b'`, 'b'],
  ['real', '0.5', 'double precision', '0.25', '0.25'],
  ['real', '0.5', 'double precision', `'-Infinity'`, '-Infinity'],
  ['double precision', '0.5', 'real', '0.25', '0.25'],
  ['boolean', 'true', 'int', '0', 'false'],
  ['int', '1', 'boolean', 'false', '0'],
  ['money', `'1.50'`, 'numeric', '2.5', '$2.50'],
  ['text', `'10.0.0.1'`, 'inet', `'10.0.0.2'`, '10.0.0.2'],
  ['text', `'10.0.0.0/8'`, 'cidr', `'10.1.0.0/16'`, '10.1.0.0/16'],
  ['text', `'2026-01-01'`, 'date', `'2026-01-02'`, '2026-01-02'],
  ['text', `'1 day'`, 'interval', `'2 days'`, '2 days'],
  ['varchar(10)', `'1'`, 'int', '22', '22'],
  ['text', `'{a}'`, 'text[]', `'{b}'`, '{b}'],
  ['text', `'0.1'`, 'double precision', '0.2', '0.2'],
] as const

/** The same for a value that the old column cannot have. */
const MISFITS = [
  ['date', `'2026-01-01'`, 'timestamp', `'2026-01-02 10:00'`],
  ['char(5)', `'a'`, 'text', `'longer than that'`],
  ['char(5)', `'a'`, 'text', `'b '`],
  ['real', '0.5', 'double precision', '0.1'],
  ['real', '0.5', 'double precision', '1e300'],
  ['boolean', 'true', 'int', '2'],
  ['money', `'1.50'`, 'numeric', '2.555'],
  ['money', `'1.50'`, 'numeric', `'NaN'`],
  ['varchar(2)', `'1'`, 'int', '333'],
] as const

const USING: Readonly<Record<string, string>> = { 'int boolean': 'v::int::boolean', 'money numeric': 'v::numeric' }

type Pair = readonly [was: string, a: string, now: string, b: string, ...rest: string[]]

async function carried(pairs: readonly Pair[]) {
  const merge = await played(server, {
    base: pairs.flatMap(([was, a], i) => [
      `CREATE TABLE o${i} (id int PRIMARY KEY, v ${was}, n int)`,
      `INSERT INTO o${i} VALUES (1, ${a}, 1), (2, ${a}, 2), (3, ${a}, 3)`,
    ]),
    release: pairs.map(([was, , now], i) => ({
      sql: `ALTER TABLE o${i} ALTER v TYPE ${now} USING ${USING[`${was} ${now}`] ?? `v::${now}`}`,
    })),
    writes: pairs.flatMap(([, , , b], i) => [
      `INSERT INTO o${i} VALUES (4, ${b}, 4)`,
      `UPDATE o${i} SET v = ${b} WHERE id = 1`,
      `UPDATE o${i} SET n = 22 WHERE id = 2`,
    ]),
    after: [],
    told: true,
  })
  try {
    const { left, proof } = await applyCarry(merge.source, NOTHING_SAID, job)
    const of = (i: number) =>
      server
        .sql(`SELECT id, v::text AS v, n FROM o${i} ORDER BY id`, merge.ours)
        .then(rows => rows.map(row => ({ ...row })))
    const rows = await Promise.all(pairs.map((_, i) => of(i)))
    const conflicts = pairs.map((_, i) => left.find(t => t.table === `o${i}`)?.conflicts)
    return { rows, conflicts, problems: proof.problems }
  } finally {
    await merge.dispose()
  }
}

describe.skipIf(missing !== null)(
  `C14: a column that got another type on PostgreSQL${missing === null ? '' : ` (${missing})`}`,
  () => {
    it('takes what users wrote since as far as its old type can have it', async () => {
      const found = await carried(PAIRS)
      expect(found.problems).toEqual([])
      for (const [i, [was, , now, , is]] of PAIRS.entries()) {
        const values = (found.rows[i] ?? []).map(row => [row['id'], row['v'], row['n']])
        const kept = values.find(([id]) => id === 3)?.[1]
        expect(values, `${was} -> ${now}`).toEqual([
          [1, is, 1],
          [2, kept, 22],
          [3, kept, 3],
          [4, is, 4],
        ])
        expect(found.conflicts[i], `${was} -> ${now}`).toEqual({})
      }
    })

    it('lists what it cannot have, and carries the other cells of the row', async () => {
      const found = await carried(MISFITS)
      expect(found.problems).toEqual([])
      for (const [i, [was, , now, b]] of MISFITS.entries()) {
        const values = (found.rows[i] ?? []).map(row => [row['id'], row['n']])
        expect(values, `${was} -> ${now} ${b}`).toEqual([
          [1, 1],
          [2, 22],
          [3, 3],
        ])
        expect(found.conflicts[i], `${was} -> ${now} ${b}`).toEqual({ type: 2 })
      }
    })
  },
)
