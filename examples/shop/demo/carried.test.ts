import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { zstdCompressSync } from 'node:zlib'
import { resolveBinary } from 'dbmate'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { copyDatabase, dbmate, ordersIn, putDatabase, seed } from '../world/database.ts'
import { NEW, OLD, type Paths, pathsOf } from '../world/paths.ts'
import { unpackRelease } from '../world/releases.ts'
import { countRows, whatWasTold } from './carried.ts'
import type { Restored } from './finale.ts'
import { restorePromises } from './restored.ts'

const AT = '2026-01-01T00:00:00.000Z'
const WRITTEN = `
  INSERT INTO users VALUES (51, 'ada@example.test', 'none', '${AT}');
  UPDATE orders SET status = 'returned' WHERE id = 7;
  INSERT INTO orders (id, user_id, sku, qty, status, created_at, TOTAL) VALUES (401, 51, 'tea', 1, 'paid', '${AT}', 1334);
  INSERT INTO payments VALUES (401, 401, 1334, '${AT}');`

let root: string
let paths: Paths
const at = (name: string) => join(root, name)

/** A copy of one of the files, with something done to it. */
async function changed(from: string, name: string, sql: string): Promise<string> {
  await copyDatabase({ ...paths, database: at(from) }, at(name))
  const db = new DatabaseSync(at(name), { enableForeignKeyConstraints: false })
  db.exec(sql)
  db.close()
  return at(name)
}

const moments = (restored: string) => ({ released: at('released.db'), before: at('before.db'), restored })

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'shop-carried-'))
  paths = pathsOf(root)
  await Promise.all(paths.folders.map(folder => mkdir(folder, { recursive: true })))
  await symlink(resolveBinary(), paths.dbmate)
  await dbmate(paths, await unpackRelease(paths, OLD), 'up')
  seed(paths)
  await copyDatabase(paths, at('released.db'))
  await dbmate(paths, await unpackRelease(paths, NEW), 'up')
  const db = new DatabaseSync(paths.database)
  db.exec(WRITTEN.replace('TOTAL', 'total_cents'))
  db.exec('UPDATE orders SET discount = 500 WHERE id = 401')
  // Copied while somebody has it open, with rows that are in the write-ahead log only.
  await copyDatabase(paths, at('before.db'))
  db.close()
  await changed('released.db', 'restored.db', WRITTEN.replace('TOTAL', 'total'))
})
afterAll(() => rm(root, { recursive: true }))

describe('the three moments of the database', () => {
  it('are compared row by row, whatever the column is called', () => {
    const { orders, ...counted } = countRows(moments(at('restored.db')))
    expect(counted).toEqual({
      written: { products: 0, users: 1, orders: 2, payments: 1 },
      differing: 0,
      schemaMissing: 0,
      discounts: [{ id: 401, discount: 500 }],
    })
    expect(orders.get(401)).toEqual({ total: 1334 })
    expect(orders.size).toBe(401)
  })

  it.each([
    ['a payment that is gone', 'DELETE FROM payments WHERE id = 401', 1, 0],
    ['an order of before the release that is gone', 'DELETE FROM orders WHERE id = 3', 1, 0],
    ['a user whom nobody registered', `INSERT INTO users VALUES (99, 'x', 'none', '${AT}')`, 1, 0],
    ['a status that is the old one again', `UPDATE orders SET status = 'paid' WHERE id = 7`, 2, 0],
    [
      'a table that was not restored',
      'CREATE TABLE p AS SELECT * FROM payments; DROP TABLE payments; ALTER TABLE p RENAME TO payments',
      0,
      2,
    ],
    [
      'a migration that is not noted',
      'DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)',
      0,
      1,
    ],
  ])('show %s', async (_what, sql, differing, schemaMissing) => {
    const path = await changed('restored.db', 'tampered.db', sql)
    expect(countRows(moments(path))).toMatchObject({ differing, schemaMissing })
  })

  it('are no moments where the database is still the one of the bad release', () => {
    expect(() => countRows(moments(at('before.db')))).toThrow(/no such column: total/)
  })

  it('can be put in the place of the database, which is kept aside', async () => {
    const own = { ...paths, database: at('own.db') }
    await changed('restored.db', 'own.db', 'DELETE FROM orders WHERE id > 10')
    await putDatabase(own, at('released.db'), at('aside.db'))
    expect(ordersIn(own)).toHaveLength(400)
    expect(ordersIn({ ...paths, database: at('aside.db') })).toHaveLength(10)
  })
})

describe('what is promised of the restore', () => {
  async function restored(): Promise<Restored> {
    const table = { conflicts: {} }
    const status = { last: { carried: 4, proof: { ok: true } }, now: { run: 'r1', tables: [table, table] } }
    const line = JSON.stringify({ key: { id: '401' }, values: { discount: '500' } })
    await writeFile(at('columns-0.ndjson.zst'), zstdCompressSync(`${line}\n`))
    return {
      ...countRows(moments(at('restored.db'))),
      ...(await whatWasTold(status, root)),
      acknowledged: [{ id: 401, total: 1334, discount: 500, paid: true, version: NEW, at: AT }],
    }
  }
  const broken = async (how: Partial<Restored>) =>
    restorePromises({ ...(await restored()), ...how }).flatMap(p => (p.kept ? [] : [p.text]))

  const ORDERS = 'after the restore, too, every order that was acknowledged is there'
  const ROWS = 'every row written since the backup was carried forward as it was, with no conflict left'
  const SCHEMA = 'the restored schema is the one of the release'
  const ARCHIVE = 'what does not fit is archived: exactly 1 values of orders.discount'

  it('is kept where everything is there', async () => {
    expect(await broken({})).toEqual([])
  })

  it.each<[string, Partial<Restored>, string]>([
    ['an acknowledged order is missing', { orders: new Map() }, ORDERS],
    ['an acknowledged order has another total', { orders: new Map([[401, { total: 1 }]]) }, ORDERS],
    ['nobody was told of an order', { acknowledged: [] }, ORDERS],
    ['fewer rows were carried than were written', { carried: 3 }, ROWS],
    ['a row differs', { differing: 1 }, ROWS],
    ['a row waits for a word', { conflicts: 1 }, ROWS],
    ['Backout itself proved nothing', { proven: false }, ROWS],
    ['something of the schema is missing', { schemaMissing: 1 }, SCHEMA],
    ['a value is not archived', { archived: [] }, ARCHIVE],
    ['another value is archived', { archived: [{ id: 401, discount: 1 }] }, ARCHIVE],
  ])('is broken where %s', async (_what, how, promise) => {
    expect(await broken(how)).toEqual([promise])
  })
})
