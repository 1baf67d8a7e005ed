import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { commandLine } from '../support/command-line.ts'

const CONFIG = `environment: shop
components:
  db: { adapter: sqlite, settings: { path: shop.db, writers: none, compatible: never, rungs: [restore] } }
`
const BOOKS = `CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('001')`
const ORDERS = 'CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER); INSERT INTO orders VALUES (1, 10), (2, 20)'
const CENTS = 'UPDATE orders SET total = total * 100'
const MIGRATION = `${CENTS}; INSERT INTO schema_migrations VALUES ('002')`

interface Shop {
  /** Runs statements, and tells what the orders are then. */
  readonly sql: (text: string) => string[]
  readonly backout: (...argv: string[]) => Promise<{ code: number | null; said: string }>
  /** A whole upgrade: `migration` by its deployment, then `writes` of users. */
  readonly upgrade: (to: string, migration: string, writes?: string) => Promise<void>
}

async function inShop(base: string, work: (shop: Shop) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-moved-on-'))
  try {
    const line = commandLine(dir)
    await writeFile(join(dir, 'backout.yaml'), CONFIG)
    const sql = (text: string) => {
      const db = new DatabaseSync(join(dir, 'shop.db'))
      db.exec(text)
      const rows = db.prepare('SELECT * FROM orders ORDER BY id').all()
      db.close()
      return rows.map(row => Object.values(row).join(' '))
    }
    const backout: Shop['backout'] = async (...argv) => {
      const { code, stdout, stderr } = await line.backout(argv)
      return { code, said: `${stdout}${stderr}`.replaceAll(/\s+/g, ' ') }
    }
    const upgrade: Shop['upgrade'] = async (to, migration, writes = '') => {
      await backout('upgrade', 'begin', to)
      sql(migration)
      await backout('upgrade', 'migrated', to)
      sql(writes)
      await backout('upgrade', 'end', to)
    }
    sql(base)
    await backout('capture', 'v1', '--known-good')
    await work({ sql, backout, upgrade })
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

const BACK = ['run', '--to', 'v1', '--yes', '--loss-window']
const WORDS = ['data', 'apply', '--settle', 'rewritten=theirs', '--settle', 'ambiguous=ours', '--yes']
const WAITS = /(\d) rows? of db waits? for a word since (\S+): backout data status db --run \2/

it(
  'C14: nothing is carried into a database that was rolled forward since, but by a person’s word',
  () =>
    inShop(`${BOOKS}; ${ORDERS}`, async ({ sql, backout, upgrade }) => {
      await upgrade('v2', MIGRATION, 'INSERT INTO orders VALUES (3, 3000)')
      expect(await backout(...BACK, '1h')).toMatchObject({ code: 0 })
      expect(sql(MIGRATION)).toEqual(['1 1000', '2 2000'])
      const refused = await backout(...WORDS)
      expect(refused).toMatchObject({ code: 3, said: expect.stringContaining('error [database_moved_on]') })
      expect(refused.said).toContain('migrations ran in the restored database')
      expect(sql('SELECT 1')).toEqual(['1 1000', '2 2000'])
      const [, many, run = ''] = WAITS.exec((await backout('status')).said) ?? []
      expect([many, run]).toEqual(['3', expect.stringMatching(/./)])
      // A second rollback does not make what the first one left forgotten.
      expect(await backout(...BACK, '2h')).toMatchObject({ code: 0 })
      expect((await backout('status')).said).toContain(`since ${run}`)
      expect((await backout('data', 'status')).said).toContain(`since ${run}`)
      expect(sql(MIGRATION)).toEqual(['1 1000', '2 2000'])
      const first = [...WORDS, '--run', run, '--as-it-is', 'cents in both']
      expect(await backout(...first)).toMatchObject({ code: 0 })
      expect(sql('SELECT 1')).toEqual(['1 1000', '2 2000', '3 3000'])
      expect((await backout('status')).said).not.toContain(run)
    }),
  60_000,
)

it(
  'C14: nor where values alone are others, and the upgrade alone tells',
  () =>
    inShop(ORDERS, async ({ sql, backout, upgrade }) => {
      await upgrade('v2', CENTS, 'INSERT INTO orders VALUES (3, 3000)')
      expect(await backout(...BACK, '1h')).toMatchObject({ code: 0 })
      await upgrade('v3', CENTS)
      const refused = await backout(...WORDS)
      expect(refused).toMatchObject({ code: 3, said: expect.stringContaining('error [database_moved_on]') })
      expect(refused.said).toContain('the upgrade to v3 began at')
      expect(sql('SELECT 1')).toEqual(['1 1000', '2 2000'])
      expect(await backout(...WORDS, '--as-it-is', 'cents in both')).toMatchObject({ code: 0 })
      expect(sql('SELECT 1')).toEqual(['1 1000', '2 2000', '3 3000'])
    }),
  60_000,
)

it(
  'C14: of an archive that was put back in part it is told how much is left',
  () =>
    inShop(`${BOOKS}; ${ORDERS}`, async ({ sql, backout, upgrade }) => {
      const coupons = `ALTER TABLE orders ADD COLUMN coupon TEXT; INSERT INTO schema_migrations VALUES ('002')`
      await upgrade('v2', coupons, `UPDATE orders SET coupon = 'TEN'`)
      expect(await backout(...BACK, '1h')).toMatchObject({ code: 0 })
      sql('DELETE FROM orders WHERE id = 2')
      await upgrade('v3', coupons)
      expect(await backout('data', 'replay')).toMatchObject({ code: 5, said: expect.stringContaining('1 back') })
      expect(sql('SELECT 1')).toEqual(['1 10 TEN'])
      expect(await backout(...BACK, '2h')).toMatchObject({ code: 0 })
      expect((await backout('data', 'status')).said).toContain('1 archived value is not all put back since')
    }),
  60_000,
)

it(
  'C14: what a later run has of the same row is not overtaken by what an earlier one has',
  () =>
    inShop(`${BOOKS}; ${ORDERS}`, async ({ sql, backout, upgrade }) => {
      const states = `ALTER TABLE orders ADD COLUMN state TEXT; INSERT INTO schema_migrations VALUES ('002')`
      await upgrade('v2', states, `UPDATE orders SET state = 'paid'`)
      expect(await backout(...BACK, '1h')).toMatchObject({ code: 0 })
      const [, run = ''] = /(\S+): v2 -> v1/.exec((await backout('status')).said) ?? []
      await upgrade('v3', states, `UPDATE orders SET state = 'sent' WHERE id = 1`)
      expect(await backout(...BACK, '2h')).toMatchObject({ code: 0 })
      await upgrade('v4', states)
      const earlier = await backout('data', 'replay', '--run', run)
      expect(earlier).toMatchObject({ code: 5, said: expect.stringContaining('1 left: a later run has 1') })
      expect(sql('SELECT 1')).toEqual(['1 10 ', '2 20 paid'])
      expect(await backout('data', 'replay')).toMatchObject({ code: 0 })
      expect(sql('SELECT 1')).toEqual(['1 10 sent', '2 20 paid'])
    }),
  60_000,
)

const COUPON = 'ALTER TABLE orders ADD COLUMN coupon TEXT'
const NOTE = 'ALTER TABLE orders ADD COLUMN note TEXT'
const runIn = (said: string) => /(\S+): v\d -> v1/.exec(said)?.[1] ?? ''

it(
  'C14: of the same row comes from an earlier run what the later one has nothing of, whichever is put back first',
  () =>
    inShop(`${BOOKS}; ${ORDERS}`, async ({ sql, backout, upgrade }) => {
      const both = `${COUPON}; ${NOTE}; INSERT INTO schema_migrations VALUES ('002')`
      await upgrade('v2', both, `UPDATE orders SET coupon = 'TEN', note = 'of then'`)
      expect(await backout(...BACK, '1h')).toMatchObject({ code: 0 })
      const run = runIn((await backout('status')).said)
      const note = `${NOTE}; INSERT INTO schema_migrations VALUES ('003')`
      await upgrade('v3', note, `UPDATE orders SET note = 'call first' WHERE id = 1`)
      expect(await backout(...BACK, '2h')).toMatchObject({ code: 0 })
      await upgrade('v4', both)
      expect(await backout('data', 'replay', '--run', run)).toMatchObject({ code: 0 })
      expect(sql('SELECT 1')).toEqual(['1 10 TEN ', '2 20 TEN of then'])
      expect(await backout('data', 'replay')).toMatchObject({ code: 0 })
      expect(sql('SELECT 1')).toEqual(['1 10 TEN call first', '2 20 TEN of then'])
    }),
  60_000,
)

it(
  'C14: what another row of a later run keeps from its place stays counted',
  () =>
    inShop(`${BOOKS}; ${ORDERS}`, async ({ sql, backout, upgrade }) => {
      const gifts = `CREATE TABLE gifts (id INTEGER PRIMARY KEY, what TEXT); INSERT INTO schema_migrations VALUES ('002')`
      await upgrade('v2', gifts, `INSERT INTO gifts VALUES (1, 'watch of ann')`)
      expect(await backout(...BACK, '1h')).toMatchObject({ code: 0 })
      const run = runIn((await backout('status')).said)
      await upgrade('v3', gifts, `INSERT INTO gifts VALUES (1, 'pen of zoe')`)
      expect(await backout(...BACK, '2h')).toMatchObject({ code: 0 })
      await upgrade('v4', gifts)
      const left = expect.stringContaining('1 left: something else is in the place of 1') as string
      expect(await backout('data', 'replay', '--run', run)).toMatchObject({ code: 5, said: left })
      expect(await backout('data', 'replay')).toMatchObject({ code: 0 })
      expect(await backout('data', 'replay', '--run', run)).toMatchObject({ code: 5, said: left })
      expect((await backout('status')).said).toContain(`1 archived value is not all put back since ${run}`)
      sql('DELETE FROM gifts')
      expect(await backout('data', 'replay', '--run', run)).toMatchObject({ code: 0 })
      expect((await backout('status')).said).not.toContain('not all put back')
    }),
  60_000,
)
