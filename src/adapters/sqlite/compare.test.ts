import { mkdir, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Compared, Target } from '../../core/contract.ts'
import { factsIn } from '../../data/flow/facts.ts'
import { migratedBackup } from '../../data/flow/migrated.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

describe('D5: a database beside what a release was captured with', () => {
  let shop: Shop
  let target: Target<DatabasePin>
  let pin: DatabasePin
  beforeEach(async () => {
    shop = await makeShop()
    target = await shop.open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
  })
  afterEach(() => shop.dispose())

  const compare = async (rows = 0, values = false, to = pin): Promise<Compared> => {
    const found = await target.compare?.({ ...shop.act(), to, rows, values })
    if (found === undefined) throw new Error('a database can')
    return found
  }

  it('is the same where nothing changed, and after what changes nothing', async () => {
    shop.sql('UPDATE orders SET total = total')
    shop.sql('VACUUM')
    expect(await compare(10)).toEqual({ shape: [], parts: [], notes: [] })
  })

  it('counts by table and column first', async () => {
    shop.upgrade()
    expect(await compare()).toEqual({
      shape: [
        'table coupons was added',
        'column orders.discount was added (NUMERIC, nullable, default 0)',
        'migrations were applied since: 002_discount, 003_coupons',
      ],
      parts: [
        { name: 'coupons', then: null, now: 2, columns: [], exact: null, rows: [] },
        { name: 'orders', then: 3, now: 3, columns: ['id', 'note', 'total'], exact: null, rows: [] },
      ],
      notes: [],
    })
  })

  it('sees that rows are told apart by something else', async () => {
    shop.sql(`CREATE TABLE anew (id INTEGER, total NUMERIC NOT NULL, note TEXT COLLATE NOCASE, PRIMARY KEY (id, total)); PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON;
      INSERT INTO anew SELECT * FROM orders; DROP TABLE orders; ALTER TABLE anew RENAME TO orders`)
    const { shape, parts } = await compare(10)
    expect(shape).toEqual(expect.arrayContaining([expect.stringMatching(/orders.*primary key \(id, total\)/)]))
    expect(parts.filter(part => part.name === 'orders')).toEqual([])
  })

  it('shows rows where they are asked for, with their values masked', async () => {
    shop.upgrade()
    const [, orders] = (await compare(10)).parts
    expect(orders).toMatchObject({ exact: { added: 1, deleted: 1, changed: 1 } })
    expect(orders?.rows).toEqual([
      { is: 'changed', key: 'id = 1', cells: [{ column: 'note', then: '***', now: '***' }] },
      {
        is: 'deleted',
        key: 'id = 3',
        cells: [
          { column: 'total', then: '***', now: null },
          { column: 'note', then: null, now: null },
        ],
      },
      {
        is: 'added',
        key: 'id = 4',
        cells: [
          { column: 'total', then: null, now: '***' },
          { column: 'note', then: null, now: '***' },
        ],
      },
    ])
    const [shown] = (await compare(1, true)).parts[1]?.rows ?? []
    expect(shown).toEqual({ is: 'changed', key: 'id = 1', cells: [{ column: 'note', then: `'a'`, now: `'A'` }] })
    expect((await compare(1)).parts[1]?.rows).toHaveLength(1)
  })

  it('shows rows of tables without a key, and masks keys that may be names', async () => {
    shop.sql(`INSERT INTO tags VALUES (1, 'new'); DELETE FROM tags WHERE order_id = 2`)
    const [tags] = (await compare(10, true)).parts
    expect(tags).toMatchObject({ name: 'tags', exact: { added: 1, deleted: 1, changed: 0 } })
    expect(tags?.rows.map(r => [r.is, r.cells.map(c => c.now ?? c.then)])).toEqual([
      ['added', ['1', `'new'`]],
      ['deleted', ['2', `X'00FF'`]],
    ])
    shop.sql(`CREATE TABLE people (mail TEXT PRIMARY KEY, age); INSERT INTO people VALUES ('ann@example.org', 5)`)
    const later = await target.capture(await target.observe(signal), {
      ...shop.act(),
      purpose: 'release',
      release: 'v2',
    })
    shop.sql('UPDATE people SET age = 6')
    expect(JSON.stringify(await compare(10, false, later))).not.toMatch(/ann|example/)
    expect((await compare(10, true, later)).parts[0]?.rows[0]?.key).toBe(`mail = 'ann@example.org'`)
  })

  it('says why rows cannot be shown, and that the release is of another database', async () => {
    shop.sql('DELETE FROM tags')
    const { dir } = await shop.ctx.backups.get(pin.backup ?? '')
    await truncate(join(dir, 'database.sqlite'), 4096)
    const found = await compare(10, false, { ...pin, identity: 'sqlite:/elsewhere' })
    expect(found.notes).toEqual([
      expect.stringContaining('captured from sqlite:/elsewhere'),
      expect.stringContaining('no rows can be shown: the backup'),
    ])
    expect(found.parts.map(p => [p.name, p.then, p.now])).toEqual([['tags', 3, 0]])
  })
})

describe('C14: what the migrations left is kept before users write', () => {
  let shop: Shop
  beforeEach(async () => {
    shop = await makeShop()
    shop.upgrade()
  })
  afterEach(() => shop.dispose())

  const kept = async (upgrade: string, settings = {}, usersAway = false) => {
    const target = await shop.open(settings)
    return (await target.migrated?.({ ...shop.act(), release: 'v2', upgrade, usersAway })) ?? null
  }

  it('as a backup that is found by its upgrade, made once, and no way back', async () => {
    const upgrade = `u-${shop.dir.slice(-6)}`
    const made = await kept(upgrade)
    expect(made).toMatchObject({ reason: 'migrated', release: 'v2' })
    shop.sql('DELETE FROM coupons')
    expect((await kept(upgrade))?.id).toBe(made?.id)
    const found = await migratedBackup('sqlite', shop.ctx.backups, 'db', upgrade)
    expect(found === null ? null : factsIn(found, 'sqlite')?.fingerprint.tables['coupons']?.rows).toBe(2)
    const ways = await (await shop.open()).remembered?.(signal)
    expect(ways?.map(w => w.pin.backup)).not.toContain(made?.id)
    expect(await migratedBackup('sqlite', shop.ctx.backups, 'db', 'another')).toBeNull()
  })

  it('again where more was migrated since', async () => {
    const upgrade = `v-${shop.dir.slice(-6)}`
    await kept(upgrade)
    shop.sql(`INSERT INTO knex_migrations (name, batch) VALUES ('004_more', 3)`)
    await kept(upgrade)
    const found = await migratedBackup('sqlite', shop.ctx.backups, 'db', upgrade)
    expect(found === null ? null : factsIn(found, 'sqlite')?.level.applied.at(-1)).toBe('004_more')
  })

  it('with the tables that the migrations left alone, by their files, or the word that users were away', async () => {
    const fresh = await makeShop()
    try {
      await mkdir(join(fresh.dir, 'up'))
      const up = { '002_discount': 'ALTER TABLE orders ADD discount', '003_coupons': 'UPDATE orders SET note = NULL' }
      for (const [name, sql] of Object.entries(up)) await writeFile(join(fresh.dir, 'up', `${name}.sql`), sql)
      const target = await fresh.open({ migrations: { upScripts: 'up/{name}.sql' } })
      const captured = await target.capture(await target.observe(signal), {
        ...fresh.act(),
        purpose: 'release',
        release: 'v1',
      })
      fresh.upgrade()
      const told = async (upgrade: string, usersAway: boolean, more: { wrote?: string[] } = {}) => {
        const made = await target.migrated?.({ ...fresh.act(), release: 'v2', upgrade, usersAway, ...more })
        return made == null ? null : factsIn(made, 'sqlite')
      }
      const read = await told('x', false)
      expect(read?.touched?.since).toBe(captured.backup)
      expect(read?.touched?.tables).toContain('orders')
      expect(read?.touched?.tables).not.toContain('tags')
      const away = await told('y', true)
      expect([away?.ownWorkSince, away?.touched]).toEqual([captured.backup, undefined])
      await rm(join(fresh.dir, 'up', '003_coupons.sql'))
      expect((await told('z', false))?.touched).toBeUndefined()
      const said = await told('s', false, { wrote: ['orders.note', 'Orders.TOTAL', 'tags'] })
      expect(said?.touched).toEqual({
        since: captured.backup,
        tables: ['orders', 'tags'],
        columns: { orders: ['note', 'total'] },
      })
      expect((await told('s', false, { wrote: ['orders.note', 'Orders.TOTAL', 'tags'] }))?.at).toBe(said?.at)
      await expect(told('s', false, { wrote: ['none'] })).rejects.toMatchObject({ code: 'migrated_already' })
      expect((await told('n', false, { wrote: ['none'] }))?.touched).toMatchObject({ tables: [], columns: {} })
      await expect(told('t', false, { wrote: ['order'] })).rejects.toMatchObject({ code: 'wrote_unknown' })
    } finally {
      await fresh.dispose()
    }
  })

  it('not while a migration is under way, nor where nothing is carried forward', async () => {
    expect(await kept('w', { carryForward: 'off' })).toBeNull()
    shop.sql('UPDATE knex_migrations_lock SET is_locked = 1')
    await expect(kept('w')).rejects.toMatchObject({ code: 'migration_half_done' })
  })
})
