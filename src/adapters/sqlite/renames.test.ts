import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Proposal } from '../../core/contract.ts'
import { canonical } from '../../core/json.ts'
import { type Between, makeBetween, ORDERS, RENAME } from './test/renamed.ts'

const BUILT_ANEW = (columns: string, select: string) =>
  `CREATE TABLE anew (${columns}); INSERT INTO anew ${select}; DROP TABLE orders; ALTER TABLE anew RENAME TO orders`

describe('C11: a rename is no loss, where the rows show that it is one', () => {
  let world: Between
  afterEach(() => world.dispose())

  const upgraded = async (up: string, base = ORDERS) => {
    world = await makeBetween(base, { '002_bad': { up, down: 'SELECT 1' } })
  }
  const lost = (p: Proposal) => Object.fromEntries(p.impact.loss.map(l => [l.what, l.count]))
  const said = (p: Proposal, code: string) => p.findings.filter(f => f.code === code).map(f => [f.level, f.what])

  it('counts only what was added, and says what it took for a rename', async () => {
    await upgraded(RENAME)
    world.sql(`INSERT INTO orders VALUES (5, 70, 'new', '2026-02-01 09:00:00', 5), (6, 80, 'new', '2026-02-02', NULL)`)
    world.sql(`UPDATE orders SET status = 'paid'; DELETE FROM orders WHERE id = 1`)
    const down = await world.propose()
    expect(lost(down)).toEqual({ 'orders.discount': 1 })
    const text =
      'orders.total_cents holds what orders.total held in 3 of 3 rows of the backup: taken for a rename; checked again after undoing'
    expect(said(down, 'renamed')).toEqual([['note', text]])
    expect([said(down, 'content_gone'), said(down, 'rename_unproven')]).toEqual([[], []])
  })

  it('proposes the same steps however many rows there are', async () => {
    await upgraded(RENAME)
    const before = await world.propose()
    world.sql(`INSERT INTO orders VALUES (5, 70, 'new', '2026-02-01', 5)`)
    const steps = ({ steps }: Proposal) => canonical(steps.map(s => ({ ...s, estimateMs: 0 })))
    expect(steps(await world.propose())).toBe(steps(before))
  })

  it.each([
    ['some values', 'UPDATE orders SET total_cents = 99000 WHERE id = 4', 3],
    ['letter case', `UPDATE orders SET total_cents = CAST(total_cents AS TEXT) || 'x' WHERE id = 4`, 3],
    ['a value to nothing', 'UPDATE orders SET total_cents = NULL WHERE id = 4', 2],
    ['nothing to a value', 'UPDATE orders SET total_cents = 0 WHERE id = 3', 4],
  ])('counts the values where a backfill changed %s', async (_, backfill, values) => {
    await upgraded(`${RENAME}; ${backfill}`)
    const down = await world.propose()
    expect(lost(down)).toEqual({ 'orders.total_cents': values })
    const text =
      'orders.total_cents holds what orders.total held in no more than 3 of 4 rows of the backup, so that it is no rename: counted as lost'
    expect(said(down, 'rename_unproven')).toEqual([['note', text]])
    expect(said(down, 'content_gone')).toHaveLength(1)
  })

  it('takes nothing for a rename that never held the same', async () => {
    await upgraded(`${RENAME}; UPDATE orders SET total_cents = total_cents * 100`)
    const down = await world.propose()
    expect(lost(down)).toEqual({ 'orders.total_cents': 3 })
    expect([said(down, 'renamed'), said(down, 'rename_unproven')]).toEqual([[], []])
  })

  it('takes a new column full of one default for none that is gone, though both hold the same in every row', async () => {
    const base = `CREATE TABLE users (id INTEGER PRIMARY KEY, is_admin INTEGER NOT NULL DEFAULT 0, name TEXT);
      INSERT INTO users (name) VALUES ('ann'), ('bob'), ('cid')`
    await upgraded(
      `ALTER TABLE users DROP COLUMN is_admin; ALTER TABLE users ADD COLUMN newsletter INTEGER NOT NULL DEFAULT 0`,
      base,
    )
    expect(said(await world.propose(), 'renamed')).toEqual([])
    world.sql('UPDATE users SET newsletter = 1 WHERE id = 2')
    expect(said(await world.propose(), 'renamed')).toEqual([])
  })

  it('takes nothing for a rename whose type is another', async () => {
    await upgraded(
      `ALTER TABLE orders ADD COLUMN note TEXT; UPDATE orders SET note = total; ALTER TABLE orders DROP COLUMN total`,
    )
    expect(lost(await world.propose())).toEqual({ 'orders.note': 3 })
  })

  it('counts both where two columns hold the same, and says so', async () => {
    await upgraded(`ALTER TABLE orders ADD COLUMN cents INTEGER; ALTER TABLE orders ADD COLUMN net INTEGER;
      UPDATE orders SET cents = total, net = total; ALTER TABLE orders DROP COLUMN total`)
    const down = await world.propose()
    expect(lost(down)).toEqual({ 'orders.cents': 3, 'orders.net': 3 })
    expect(said(down, 'rename_unproven').map(([, what]) => what)).toEqual([
      'orders.cents holds what orders.total held, and orders.net what orders.total held, so that nobody can tell what was renamed: counted as lost',
      'orders.net holds what orders.total held, and orders.cents what orders.total held, so that nobody can tell what was renamed: counted as lost',
    ])
  })

  it('knows the renamed one of two by its place', async () => {
    await upgraded(`${RENAME}; UPDATE orders SET discount = total_cents`)
    const down = await world.propose()
    expect(lost(down)).toEqual({ 'orders.discount': 3 })
    expect(said(down, 'renamed')).toHaveLength(1)
  })

  it('knows two that were renamed at once and held the same', async () => {
    await upgraded(
      'ALTER TABLE t RENAME COLUMN a TO x; ALTER TABLE t RENAME COLUMN b TO y',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c); INSERT INTO t VALUES (1, 5, 5, 5)',
    )
    const down = await world.propose()
    expect(lost(down)).toEqual({})
    expect(said(down, 'renamed').map(([, what]) => what?.slice(0, 21))).toEqual([
      't.x holds what t.a he',
      't.y holds what t.b he',
    ])
  })

  it('cannot tell where no row has a value to compare, and counts', async () => {
    await upgraded(RENAME, ORDERS.replace(/INSERT[^;]*;/, ''))
    expect(said(await world.propose(), 'rename_unproven')).toEqual([])
    world.sql(`INSERT INTO orders VALUES (5, 70, 'new', '2026-02-01', NULL)`)
    const down = await world.propose()
    expect(lost(down)).toEqual({ 'orders.total_cents': 1 })
    const text =
      'Whether orders.total_cents is orders.total under another name cannot be told, for no row of the backup has a value to compare: counted as lost'
    expect(said(down, 'rename_unproven')).toEqual([['note', text]])
  })

  it.each([
    ['is gone', async () => ({ to: { ...world.pin, backup: 'gone' } })],
    [
      'was altered',
      async () => {
        const { dir } = await world.ctx.backups.get(world.pin.backup ?? '')
        await truncate(join(dir, 'database.sqlite'), 4096)
        return {}
      },
    ],
  ])('asks the fingerprint in the release where its backup %s', async (_, spoil) => {
    await upgraded(RENAME)
    world.sql(`INSERT INTO orders VALUES (5, 70, 'new', '2026-02-01', 5)`)
    const more = await spoil()
    const down = await world.propose('migrate-down', more)
    expect(lost(down)).toEqual({ 'orders.discount': 1 })
    expect(said(down, 'renamed')[0]?.[1]).toContain('in 4 of 4 rows of the fingerprint in the release')
    world.sql('UPDATE orders SET total_cents = 1 WHERE id = 1')
    expect(lost(await world.propose('migrate-down', more))).toMatchObject({ 'orders.total_cents': 4 })
    world.sql('DELETE FROM orders WHERE id = 1')
    const deleted = await world.propose('migrate-down', more)
    expect(lost(deleted)).toMatchObject({ 'orders.total_cents': 3 })
    expect(said(deleted, 'rename_unproven')[0]?.[1]).toContain("the release's backup cannot be read")
  })

  it('knows a table by its rows', async () => {
    await upgraded('ALTER TABLE orders RENAME TO purchases')
    world.sql(`INSERT INTO purchases VALUES (5, 70, 'new', '2026-02-01')`)
    const down = await world.propose()
    expect(lost(down)).toEqual({})
    expect(said(down, 'renamed')[0]?.[1]).toContain('purchases holds what orders held in 4 of 4 rows')
    world.sql('UPDATE purchases SET total = 1 WHERE id = 1')
    expect(lost(await world.propose())).toEqual({ purchases: 5 })
  })

  it('knows a key of text under another name, and does not compare the number of a row with itself', async () => {
    await upgraded(
      'ALTER TABLE codes RENAME COLUMN code TO coupon; ALTER TABLE orders RENAME COLUMN id TO number',
      `${ORDERS} CREATE TABLE codes (code TEXT PRIMARY KEY, used INTEGER); INSERT INTO codes VALUES ('b', 1), ('a', 2)`,
    )
    const down = await world.propose()
    expect(lost(down)).toEqual({ 'orders.number': 4 })
    expect(said(down, 'renamed')[0]?.[1]).toContain('codes.coupon holds what codes.code held in 2 of 2 rows')
    expect(said(down, 'rename_unproven')[0]?.[1]).toContain('cannot be told apart')
  })

  it('knows a column of a table that was built anew', async () => {
    await upgraded(
      BUILT_ANEW(
        'id INTEGER PRIMARY KEY, status TEXT, created_at TEXT, total_cents INTEGER',
        'SELECT id, status, created_at, total FROM orders ORDER BY id DESC',
      ),
    )
    expect(lost(await world.propose())).toEqual({})
  })

  it('counts for a restore what was written since, and not what was only renamed', async () => {
    await upgraded(RENAME)
    world.sql(`INSERT INTO orders VALUES (5, 70, 'new', '2026-02-01', 5)`)
    expect(lost(await world.propose('restore'))).toEqual({ 'orders (added)': 1, 'orders.discount': 1 })
    world.sql('UPDATE orders SET total_cents = 1 WHERE id = 1')
    expect(lost(await world.propose('restore'))).toMatchObject({ 'orders.total_cents': 4 })
  })
})

describe('C11: since when what would be lost was written', () => {
  let world: Between
  afterEach(() => world.dispose())

  it.each([
    ['created_at', `'2099-03-01 10:00:00'`, '2099-03-01T10:00:00.000Z'],
    ['written_at', `'2099-03-01T10:00:00.250+02:00'`, '2099-03-01T08:00:00.250Z'],
    ['createdAt', '4076042400', '2099-03-01T10:00:00.000Z'],
    ['date_created', '4076042400500', '2099-03-01T10:00:00.500Z'],
    ['inserted_on', `'2099-03-01'`, '2099-03-01T00:00:00.000Z'],
    ['updated_at', `'2099-03-01 10:00:00'`, '2099-03-01T10:00:00.000Z'],
    ['expires_at', `'2099-03-01 10:00:00'`, null],
    ['created_at', `'yesterday'`, null],
    ['created', '17', null],
    ['created_at', `'2020-01-01'`, null],
  ])('reads %s = %s', async (column, value, since) => {
    world = await makeBetween(`CREATE TABLE t (id INTEGER PRIMARY KEY, "${column}")`, {
      '002_bad': { up: 'ALTER TABLE t ADD COLUMN extra', down: 'SELECT 1' },
    })
    world.sql(`INSERT INTO t VALUES (1, '2020-01-01', NULL), (2, ${value}, 5), (3, '2100-01-01', 6)`)
    if (since === null) world.sql('DELETE FROM t WHERE id <> 2')
    const { impact } = await world.propose()
    // Where no row says more, or only one that is older: since the release was captured, for it had no such column.
    expect(impact.loss.map(l => [l.what, l.since])).toEqual([['t.extra', since ?? world.pin.at]])
  })
})
