import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import type { Engine, Images, Merger } from '../../data/engine.ts'
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

async function count(merger: Merger, sql: string): Promise<number> {
  return Number(Object.values((await merger.query(sql))[0] ?? {})[0])
}

describe.skipIf(missing !== null)(
  `C14: carrying forward into PostgreSQL${missing === null ? '' : ` (${missing})`}`,
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

    it('stages what differs and not much more, by whole-number keys, other keys and whole rows', async () => {
      await withMerger(async merger => {
        await merger.stage(ORDERS)
        const [theirs, base] = [merger.table('theirs', 'purchases'), merger.table('base', 'orders')]
        const changed = `SELECT t.id FROM ${theirs} t FULL JOIN ${base} b USING (id) WHERE ${engine.dialect.differs('t.label', 'b.what')}`
        expect(await count(merger, `SELECT count(*) FROM (${changed}) x`)).toBe(12)
        expect(await count(merger, `SELECT count(*) FROM ${base}`)).toBeLessThan(10)
        const row = await merger.query(
          `SELECT b.f, b.raw, b.amount FROM ${base} b JOIN orders o USING (id) WHERE id = 7 AND o.f = b.f`,
        )
        expect(row).toEqual([{ f: 1, raw: '\\x00ff', amount: '2.3333333333333333' }])
        const pair = plain('pair', ['a', 'b'], ['a', 'b', 'v'])
        await merger.stage(pair)
        expect(await merger.query(`SELECT v FROM ${merger.table('theirs', 'pair')} WHERE a = 'k77'`)).toEqual([
          { v: 'other' },
        ])
        expect(await count(merger, `SELECT count(*) FROM ${merger.table('base', 'pair')}`)).toBeLessThan(20)
        await merger.stage(plain('bag', [], ['v', 'w']))
        const bag = `SELECT v, count(*)::int AS n FROM ${merger.table('theirs', 'bag')} GROUP BY v ORDER BY v`
        expect(await merger.query(bag)).toEqual([
          { v: 1, n: 3 },
          { v: 900, n: 1 },
        ])
        expect(await merger.query(`SELECT count(*)::int AS n FROM ${merger.table('base', 'bag')}`)).toEqual([{ n: 2 }])
      })
    })

    it('sees every difference of values that a comparison overlooks, and takes no value for changed that is not', async () => {
      const pairs: [type: string, one: string, other: string][] = [
        ['numeric', '1.0', '1.00'],
        ['numeric', 'NaN', 'Infinity'],
        ['numeric', 'Infinity', '-Infinity'],
        ['numeric', '0', 'NaN'],
        ['numeric', '123456789012345678901234567890', '123456789012345678901234567891'],
        ['timestamptz', 'infinity', '-infinity'],
        ['timestamptz', '4713-01-01 00:00:00+00 BC', '4713-01-01 00:00:00.000001+00 BC'],
        ['timestamptz', '294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999998+00'],
        ['timestamptz', '2000-01-01 00:00:00+00', '2000-01-01 00:00:00.000001+00'],
        ['timestamptz', '2000-01-31 00:00:00+00', '2000-02-01 00:00:00+00'],
        ['timestamp', 'infinity', '2000-01-01'],
        ['timestamp', '1999-12-31 23:59:59.999999', '2000-01-01'],
        ['float8', '0', '-0'],
        ['boolean', 'true', 'false'],
        ['text', 'a', 'A'],
      ]
      const columns = pairs.map(([type], i) => `c${i} ${type}`).join(', ')
      const quick = plain('quick', ['id'], ['id', ...pairs.map((_, i) => `c${i}`)])
      const fill = (side: number) => {
        const rows = pairs.flatMap((_, i) =>
          // The row that differs in one column, a row that has nothing but NULLs, and one that both sides have.
          [i * 1000, i * 1000 + 100, i * 1000 + 200].map((id, kind) => {
            const cells = pairs.map((pair, j) =>
              kind === 1 || (kind === 0 && i !== j) ? 'NULL' : `'${pair[kind === 0 && side === 1 ? 2 : 1]}'`,
            )
            return `(${[id, ...cells].join(', ')})`
          }),
        )
        return [`CREATE TABLE quick (id int PRIMARY KEY, ${columns})`, `INSERT INTO quick VALUES ${rows.join(', ')}`]
      }
      await server.sql(fill(0), `base${n}`)
      await server.sql(fill(1), `theirs${n}`)
      await server.sql(fill(0), `ours${n}`)
      await withMerger(async merger => {
        await merger.stage(quick)
        for (const image of ['base', 'theirs'] as const) {
          const found = await merger.query(`SELECT id FROM ${merger.table(image, 'quick')} ORDER BY id`)
          expect(found.map(row => row['id'])).toEqual(pairs.map((_, i) => i * 1000))
        }
      })
    })

    it('takes enum words that ours knows, and refuses the others as rows that do not fit', async () => {
      await withMerger(async merger => {
        await merger.stage(ORDERS)
        const theirs = merger.table('theirs', 'purchases')
        const set = (id: number) =>
          merger.transaction(async () => {
            await merger.run(
              `UPDATE orders AS o SET feeling = t.feeling FROM ${theirs} t WHERE t.id = o.id AND o.id = ${id}`,
            )
          })
        const error = await set(7).catch((e: unknown) => e)
        expect(merger.refusal(error)).toBe('type')
        await set(2001)
        expect(
          await merger.run(
            `INSERT INTO orders (id, what, feeling) ${engine.dialect.overriding} SELECT id, label, feeling FROM ${theirs} WHERE id = 2003`,
          ),
        ).toBe(1)
      })
    })

    it('proves that what was not touched is as it was', async () => {
      await withMerger(async merger => {
        const types = ['integer', 'text', 'mood', 'numeric', 'bytea', 'double precision']
        await merger.stage(ORDERS)
        const touched = 'SELECT 7 UNION ALL SELECT 1500'
        expect(await merger.untouched(ORDERS, types, touched)).toBe(0)
        await merger.run(`UPDATE orders SET what = 'x' WHERE id = 7`)
        await merger.run('DELETE FROM orders WHERE id = 1500')
        expect(await merger.untouched(ORDERS, types, touched)).toBe(0)
        await merger.run(`UPDATE orders SET amount = 2.0 WHERE id = 6`)
        expect(await merger.untouched(ORDERS, types, touched)).toBe(1)
        const bag = plain('bag', [], ['v', 'w'])
        await merger.stage(bag)
        const key = engine.dialect.key([engine.dialect.text('v', 'integer'), engine.dialect.text('w', 'text')])
        const own = await merger.work('touched', `SELECT ${key} AS id FROM ${merger.table('theirs', 'bag')}`, [['id']])
        expect(await merger.untouched(bag, ['integer', 'text'], `SELECT id FROM ${own}`)).toBe(0)
        await merger.run(`INSERT INTO bag VALUES (1, 'w1')`)
        expect(await merger.untouched(bag, ['integer', 'text'], `SELECT id FROM ${own}`)).toBe(0)
        await merger.run(`DELETE FROM bag WHERE v = 3`)
        expect(await merger.untouched(bag, ['integer', 'text'], `SELECT id FROM ${own}`)).toBe(1)
      })
    })

    it('tells keys and references, and why the server refused a row', async () => {
      await withMerger(async merger => {
        const { orders, line, pair } = await merger.bonds()
        expect(orders?.uniques).toEqual([
          { name: 'orders_pkey', columns: ['id'] },
          { name: 'orders_raw', columns: null },
          { name: 'orders_what', columns: null },
        ])
        expect(pair?.uniques).toEqual([
          { name: 'pair_pkey', columns: ['a', 'b'] },
          { name: 'pair_v', columns: null },
        ])
        expect(line?.references).toEqual([
          { name: 'line_orders_fkey', columns: ['orders'], table: 'orders', to: ['id'], onDelete: 'cascade' },
        ])
        const refused: unknown[] = []
        await merger.transaction(async () => {
          await merger.run('SET LOCAL session_replication_role = origin')
          for (const sql of [
            `INSERT INTO orders (id) VALUES (1)`,
            `INSERT INTO line VALUES (1, 99999)`,
            `INSERT INTO line VALUES (NULL, 1)`,
            `INSERT INTO orders (f) VALUES (('x' || id)::float8)`.replace('id', `'1'`),
            'SELECT nonsense',
          ]) {
            const error = await merger.savepoint(async () => void (await merger.run(sql)))
            refused.push(merger.refusal(error))
          }
        })
        expect(refused).toEqual(['unique', 'foreign-key', 'not-null', 'type', null])
      })
    })

    it('keeps triggers and references quiet in its transactions, where the role may', async () => {
      await withMerger(async merger => {
        expect(engine.dialect.quiet.triggersFire).toBe(false)
        await merger.transaction(async () => void (await merger.run('INSERT INTO line VALUES (1, 99999)')))
        expect(await merger.run('DELETE FROM line')).toBe(1)
        const seen: unknown[] = []
        await merger.each('SELECT id FROM orders WHERE id <= $1 ORDER BY id', [3], row => void seen.push(row['id']))
        expect(seen).toEqual([1, 2, 3])
        await expect(
          merger.transaction(async () => {
            await merger.run('DELETE FROM orders')
            throw new Error('no')
          }),
        ).rejects.toThrow('no')
        expect(await count(merger, 'SELECT count(*) FROM orders')).toBe(2000)
      })
    })

    it('lets numbers go on behind ours, theirs and every row, also where the sequence has another name', async () => {
      await withMerger(async merger => {
        await merger.stage(ORDERS)
        await merger.sequences()
      })
      const [row] = await server.sql(`SELECT nextval('orders_id_seq')::int AS n`, `ours${n}`)
      expect(row).toEqual({ n: 2101 })
    })

    it('lets one process at a time', async () => {
      await withMerger(async () => {
        await expect(engine.merging(images, job)).rejects.toMatchObject({ code: 'database_busy' })
      })
      await withMerger(async () => {})
    })
  },
)
