import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { Engine, Images, Merger } from '../../data/engine.ts'
import { played } from './test/merge.ts'
import { BASE, ORDERS, plain, THEIRS, WRITES } from './test/orders.ts'
import { engineOf, imageAt, job } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

let engine: Engine
let images: Images
let n = 0

async function withMerger<T>(work: (merger: Merger) => Promise<T>): Promise<T> {
  await using merger = await engine.merging(images, job)
  return await work(merger)
}

describe.skipIf(missing !== null)(
  `C14: the proof of carrying forward into PostgreSQL${missing === null ? '' : ` (${missing})`}`,
  () => {
    beforeEach(async () => {
      n++
      const [ours, base, theirs] = ['ours', 'base', 'theirs'].map(name => `${name}${n}`) as [string, string, string]
      await server.sql(`CREATE DATABASE ${base}`)
      await server.sql(BASE, base)
      await server.sql([`CREATE DATABASE ${ours} TEMPLATE ${base}`, `CREATE DATABASE ${theirs} TEMPLATE ${base}`])
      await server.sql([...THEIRS.split(';'), ...WRITES.split(';')], theirs)
      engine = engineOf(server, ours)
      images = { base: imageAt(server, base), theirs: imageAt(server, theirs), migrated: null }
    })

    it('adds up what was put in, what was not touched, and what is compared one by one', async () => {
      await server.sql(`UPDATE purchases SET feeling = 'ok'`, `theirs${n}`)
      await withMerger(async merger => {
        await merger.stage(ORDERS)
        const theirs = merger.table('theirs', 'purchases')
        const taken = `SELECT id FROM ${theirs} WHERE id > 2000`
        const rest = 'SELECT 7 UNION ALL SELECT 1500'
        const none = 'SELECT 1 WHERE false'
        const asks = (rows = taken, others = rest) => merger.addsUp?.(ORDERS, rows, others)
        expect(await asks()).toBeNull()
        expect(await asks(none, none)).toBe(0)
        await merger.run(`INSERT INTO orders (id, what, feeling, amount, raw, f)
          SELECT id, label, feeling::text::mood, amount, raw, f FROM ${theirs} WHERE id > 2000`)
        expect(await asks()).toBe(10)
        expect(await asks(`${taken} AND id <> 2004`)).toBeNull()
        expect(await asks(`${taken} AND id <> 2004`, `${rest} UNION ALL SELECT 2004`)).toBe(9)
        await merger.run(`UPDATE orders SET what = 'x', f = 3 WHERE id = 7`)
        await merger.run('DELETE FROM orders WHERE id = 1500')
        expect(await asks()).toBe(10)
        for (const [wrong, right] of [
          [`UPDATE orders SET f = 2 WHERE id = 2003`, `UPDATE orders SET f = NULL WHERE id = 2003`],
          [`UPDATE orders SET id = 0 WHERE id = 2003`, `UPDATE orders SET id = 2003 WHERE id = 0`],
          [`UPDATE orders SET raw = NULL WHERE id = 8`, `UPDATE orders SET raw = '\\x00ff' WHERE id = 8`],
        ] as const) {
          await merger.run(wrong)
          expect(await asks()).toBeNull()
          await merger.run(right)
          expect(await asks()).toBe(10)
        }
        await merger.run('DELETE FROM orders WHERE id = 9')
        expect(await asks()).toBeNull()
      })
    })

    it('stages rows with keys at both ends that only one side has, however far out', async () => {
      const far = ['-9223372036854775808', '-9000000000000000000', '9000000000000000000', '9223372036854775807']
      const rows = (ids: readonly string[]) =>
        `INSERT INTO far SELECT x::int8, 'v' FROM unnest('{${ids.join(',')}}'::text[]) x`
      const make = 'CREATE TABLE far (id int8 PRIMARY KEY, v text)'
      const inside = Array.from({ length: 100 }, (_, i) => String(i - 50))
      const cases: [string[], string[]][] = [
        [inside, [...inside, ...far]],
        [[...inside, ...far], inside],
        [[], far],
        [far, []],
        [far, far],
      ]
      for (const [base, theirs] of cases) {
        await server.sql(['DROP TABLE IF EXISTS far', make, rows(base)], `base${n}`)
        await server.sql(['DROP TABLE IF EXISTS far', make, rows(theirs)], `theirs${n}`)
        await server.sql(['DROP TABLE IF EXISTS far', make, rows(base)], `ours${n}`)
        await withMerger(async merger => {
          await merger.stage(plain('far', ['id'], ['id', 'v']))
          const only = async (image: 'base' | 'theirs', other: 'base' | 'theirs') => {
            const sql = `SELECT id::text AS id FROM ${merger.table(image, 'far')} EXCEPT SELECT id::text FROM ${merger.table(other, 'far')}`
            return (await merger.query(sql)).map(row => String(row['id'])).sort()
          }
          expect(await only('theirs', 'base')).toEqual(theirs.filter(id => !base.includes(id)).sort())
          expect(await only('base', 'theirs')).toEqual(base.filter(id => !theirs.includes(id)).sort())
          expect(
            await merger.untouched(plain('far', ['id'], ['id', 'v']), ['bigint', 'text'], 'SELECT 1 WHERE false'),
          ).toBe(0)
        })
      }
    })

    it('does not take rows for carried that something in ours made others of', async () => {
      const base = [
        'CREATE TABLE t (id int PRIMARY KEY, v text)',
        `INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i`,
      ]
      const writes = [
        `INSERT INTO t SELECT i, 'new' FROM generate_series(101, 150) i`,
        `UPDATE t SET v = 'x' WHERE id = 3`,
      ]
      const merge = await played(server, { base, release: [], writes, after: [], told: true })
      const merging = async (given: typeof job) => {
        const merger = await merge.source.merging(given)
        const run = merger.run.bind(merger)
        // As the server would by itself, by what cannot be switched off.
        const worse = async (sql: string) => {
          const rows = await run(sql)
          if (/^INSERT INTO \S*"t" /.test(sql)) await run(`UPDATE t SET v = 'worse' WHERE id = 120`)
          return rows
        }
        return Object.assign(merger, { run: worse })
      }
      try {
        const source = { ...merge.source, dialect: merge.source.dialect, merging }
        const { proof } = await applyCarry(source, NOTHING_SAID, job)
        expect(proof).toMatchObject({
          ok: false,
          carried: 50,
          problems: ['t: 1 rows were carried and are not what they are to be'],
        })
      } finally {
        await merge.dispose()
      }
    })
  },
)
