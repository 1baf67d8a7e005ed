import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { resolveBinary } from 'dbmate'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dbmate, ordersIn, reading, seed } from '../world/database.ts'
import { NEW, OLD, pathsOf } from '../world/paths.ts'
import { unpackRelease } from '../world/releases.ts'
import { type Store, startStore } from '../world/store.ts'
import { countRows, whatWasTold } from './carried.ts'
import type { Restored } from './finale.ts'
import { restorePromises } from './restored.ts'

const AT = '2026-01-01T00:00:00.000Z'
const written = (total: string) => [
  `INSERT INTO users VALUES (51, 'ada@example.test', 'none', '${AT}')`,
  `UPDATE orders SET status = 'returned' WHERE id = 7`,
  `INSERT INTO orders (id, user_id, sku, qty, status, created_at, ${total}) VALUES (401, 51, 'tea', 1, 'paid', '${AT}', 1334)`,
  `INSERT INTO payments VALUES (401, 401, 1334, '${AT}')`,
]

let root: string
let store: Store
let asides = 0
const at = (name: string) => join(root, name)

/** A copy of one of the moments, with something done to it. */
async function changed(from: string, name: string, ...sql: readonly string[]): Promise<string> {
  await store.put(from, `aside_${(asides += 1)}`)
  await reading(store, async db => {
    for (const statement of sql) await db.run(statement)
  })
  await store.copy(name)
  return name
}

const moments = (restored: string) => ({ released: 'released', before: 'before', restored })

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'shop-carried-'))
  const paths = pathsOf(root)
  await Promise.all(paths.folders.map(folder => mkdir(folder, { recursive: true })))
  await symlink(resolveBinary(), paths.dbmate)
  store = await startStore('sqlite', paths)
  await dbmate(paths, store, await unpackRelease(paths, store, OLD), 'up')
  await seed(store)
  await store.copy('released')
  await dbmate(paths, store, await unpackRelease(paths, store, NEW), 'up')
  await reading(store, async db => {
    for (const statement of written('total_cents')) await db.run(statement)
    await db.run('UPDATE orders SET discount = 500 WHERE id = 401')
    // Copied while somebody has it open, with rows that are in the write-ahead log only.
    await store.copy('before')
  })
  await changed('released', 'restored', ...written('total'))
})
afterAll(async () => {
  await store.stop()
  await rm(root, { recursive: true })
})

describe('the three moments of the database', () => {
  it('are compared row by row, whatever the column is called', async () => {
    const { orders, ...counted } = await countRows(store, moments('restored'))
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
    [
      'an order of before the release that is gone',
      'DELETE FROM payments WHERE order_id = 3; DELETE FROM orders WHERE id = 3',
      2,
      0,
    ],
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
    const name = await changed('restored', `tampered_${asides}`, ...sql.split('; '))
    expect(await countRows(store, moments(name))).toMatchObject({ differing, schemaMissing })
  })

  it('are no moments where the database is still the one of the bad release', async () => {
    await expect(countRows(store, moments('before'))).rejects.toThrow(/no such column: total/)
  })

  it('can be put in the place of the database, which is kept aside', async () => {
    await changed('restored', 'short', 'DELETE FROM payments WHERE order_id > 10', 'DELETE FROM orders WHERE id > 10')
    await store.put('released', 'kept_aside')
    expect(await ordersIn(store)).toHaveLength(400)
    expect(await ordersIn(store, 'kept_aside')).toHaveLength(10)
  })
})

describe('what is promised of the restore', () => {
  async function restored(): Promise<Restored> {
    const table = { conflicts: {} }
    const status = { last: { carried: 4, proof: { ok: true } }, now: { run: 'r1', tables: [table, table] } }
    const line = JSON.stringify({ key: { id: '401' }, values: { discount: '500' } })
    await writeFile(at('columns-0.ndjson.zst'), zstdCompressSync(`${line}\n`))
    return {
      ...(await countRows(store, moments('restored'))),
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
