import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Proposal, Target } from '../../core/contract.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { APP, ask, makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

describe('what an SQLite database says before it is taken back', () => {
  let shop: Shop
  let target: Target<DatabasePin>
  let pin: DatabasePin

  beforeEach(async () => {
    shop = await makeShop()
    target = await shop.open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    shop.upgrade()
  })
  afterEach(() => shop.dispose())

  async function proposal(rung: string, settings = {}, more = {}): Promise<Proposal> {
    const opened = await shop.open(settings)
    return opened.propose(ask(await opened.observe(signal), pin, rung, more))
  }
  const codes = (p: Proposal, level: string) => p.findings.filter(f => f.level === level).map(f => f.code)
  const counted = (p: Proposal) => Object.fromEntries(p.impact.loss.map(l => [l.what, l.count]))

  it('C11: leaves a schema that only grew, and says what stays behind', async () => {
    const leave = await proposal('leave')
    expect(codes(leave, 'blocker')).toEqual([])
    expect(leave.steps).toEqual([])
    expect(leave.impact.staysBehind).toEqual([
      'table coupons was added',
      'column orders.discount was added (NUMERIC, nullable, default 0)',
      'migration 003_coupons stays applied',
      'migration 002_discount stays applied',
    ])
    expect(codes(leave, 'warning')).toEqual(['tool_behind'])
  })

  it('C11: does not leave a schema that the old release could not live with, unless told so', async () => {
    shop.sql('CREATE UNIQUE INDEX one_note ON orders (note)')
    expect(codes(await proposal('leave'), 'blocker')).toEqual(['schema_not_compatible'])
    expect(codes(await proposal('leave', { compatible: 'always' }), 'blocker')).toEqual([])
    expect(codes(await proposal('leave', { compatible: 'never' }), 'blocker')).toEqual(['schema_not_compatible'])
    shop.sql('DROP INDEX one_note')
    const never = await proposal('leave', { compatible: 'never' })
    expect(never.findings.find(f => f.level === 'blocker')?.what).toMatch(/^`compatible: never` says/)
  })

  it('C11: leaves the old release with values that a migration wrote anew only where somebody said that it can', async () => {
    shop.sql('UPDATE orders SET total = total * 100')
    const act = { ...shop.act(), release: 'v2', upgrade: 'u', usersAway: false }
    await target.migrated?.({ ...act, wrote: ['orders.total'] })
    const leave = await proposal('leave')
    expect(codes(leave, 'blocker')).toEqual(['data_rewritten'])
    expect(leave.impact.staysBehind).toContain('orders.total as written since (at most 3 rows)')
    expect(codes(await proposal('leave', { compatible: 'always' }), 'warning')).toEqual([
      'data_rewritten',
      'tool_behind',
    ])
  })

  it('C11: names the migrations between, counts what undoing them loses, and asks the writers to stop', async () => {
    const down = await proposal('migrate-down', { migrations: { runIn: 'shop' } })
    expect(down.findings.find(f => f.code === 'migrations_between')?.what).toContain('003_coupons, 002_discount')
    expect(counted(down)).toEqual({ coupons: 2, 'orders.discount': 1 })
    expect(down.needs).toEqual([
      { of: 'shop', what: 'stopped' },
      { of: 'shop', what: 'exec-from' },
    ])
    expect(down.steps.map(s => s.id)).toEqual([
      'db/backup',
      'db/migrate-down/003_coupons',
      'db/migrate-down/002_discount',
    ])
    expect(down.steps.slice(1).every(s => s.destructive && s.recheck)).toBe(true)
  })

  it('C11: counts what a migration is declared to lose', async () => {
    const loses = [
      { migration: '002_discount', what: 'cheap orders', sql: 'SELECT count(*) FROM orders WHERE total < 20' },
      { migration: '009_other', what: 'not this', sql: 'SELECT 1' },
    ]
    expect(counted(await proposal('migrate-down', { loses }))).toMatchObject({
      'cheap orders': 2,
      'orders.discount': 1,
    })
    expect(counted(await proposal('migrate-down', { loses }))).not.toHaveProperty('not this')
  })

  it('C11: counts to the row what a restore loses, letter case and deleted rows too', async () => {
    const restore = await proposal('restore')
    expect(counted(restore)).toEqual({
      coupons: 2,
      'orders.discount': 1,
      'orders (added)': 1,
      'orders (changed)': 1,
    })
    expect(restore.findings.find(f => f.code === 'deleted_rows_return')?.what).toContain('1 rows deleted from orders')
  })

  it('counts equal rows of a table without a key one by one', async () => {
    shop.sql(`INSERT INTO tags VALUES (1, 'new'); DELETE FROM tags WHERE order_id = 2`)
    const restore = await proposal('restore')
    expect(counted(restore)).toMatchObject({ 'tags (added)': 1 })
    expect(restore.findings.map(f => f.what).join()).toContain('1 rows deleted from tags')
  })

  it('restores data that was changed though the schema is the same', async () => {
    await shop.dispose()
    shop = await makeShop()
    target = await shop.open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    shop.sql('UPDATE orders SET total = 0')
    expect((await proposal('migrate-down')).steps).toEqual([])
    expect((await proposal('restore')).steps.map(s => s.id)).toEqual([
      'db/backup',
      'db/restore/load',
      'db/restore/swap',
      'db/restore/carry',
    ])
  })

  it.each([
    ['no down command', { migrations: { down: undefined } }, {}, 'no_down_command'],
    ['no writer that can be stopped', {}, { dependents: [{ id: 'shop', serves: ['drained'] }] }, 'writers_unknown'],
    [
      'a down-script that is not there',
      { migrations: { downScripts: 'down/{name}.sql' } },
      {},
      'migration_without_down',
    ],
  ])('blocks migrating down where there is %s', async (_, settings, more, code) => {
    const down = await proposal('migrate-down', settings, more)
    expect(codes(down, 'blocker')).toEqual([code])
    expect(down.findings.every(f => f.level === 'note' || f.remedy !== '')).toBe(true)
  })

  it('asks nobody to stop where nothing writes', async () => {
    const down = await proposal('migrate-down', { writers: 'none' }, { dependents: [] })
    expect([codes(down, 'blocker'), down.needs]).toEqual([[], []])
  })

  it('blocks where a migration is half done, and reports it as in flight', async () => {
    shop.sql('UPDATE knex_migrations_lock SET is_locked = 1')
    expect(codes(await proposal('migrate-down'), 'blocker')).toEqual(['migration_half_done'])
    expect((await target.observe(signal)).inFlight.map(f => f.what)).toEqual([
      'knex holds its migration lock (knex_migrations_lock)',
    ])
  })

  it('blocks where a migration of the release is gone, or the schema was changed by hand', async () => {
    shop.sql(`DELETE FROM knex_migrations WHERE name <> '001_start'`)
    expect(codes(await proposal('migrate-down'), 'blocker')).toEqual(['schema_changed_by_hand'])
    shop.sql('DELETE FROM knex_migrations')
    expect(codes(await proposal('migrate-down'), 'blocker')).toContain('migrations_missing')
  })

  it('warns that what the release dropped does not come back by undoing it', async () => {
    shop.sql('ALTER TABLE orders DROP COLUMN note')
    expect(codes(await proposal('migrate-down'), 'warning')).toContain('content_gone')
  })

  it('A2: restores only from a backup that is there, whole and proven', async () => {
    const { backups } = shop.ctx
    const backup = await backups.get(pin.backup ?? '')
    await backups.recordProof(backup.id, { at: '', ms: 1, ok: false, differences: ['orders: 3 rows then, 2 now'] })
    expect(codes(await proposal('restore'), 'blocker')).toEqual(['backup_unproven'])
    await writeFile(join(backup.dir, 'database.sqlite'), 'half')
    expect(codes(await proposal('restore'), 'blocker')).toEqual(['backup_altered', 'backup_unproven'])
    expect(codes(await proposal('migrate-down'), 'blocker')).toEqual([])
    expect(codes(await proposal('migrate-down'), 'warning')).toContain('backup_altered')
    pin = { ...pin, backup: 'none' }
    expect(codes(await proposal('restore'), 'blocker')).toEqual(['backup_missing'])
  })

  it('knows the level of a tool of your own by its query', async () => {
    shop.sql('ALTER TABLE knex_migrations RENAME TO changes')
    const applied = 'SELECT name FROM changes ORDER BY id'
    const own = await shop.open({ migrations: { applied, tables: ['changes', 'knex_migrations_lock'] } })
    expect((await own.observe(signal)).summary).toBe('migration 003_coupons, 3 tables')
  })

  it('says what an emergency leaves out', async () => {
    expect((await proposal('restore', {}, { mode: 'emergency' })).omits).toEqual([
      'proving the backup made right before',
    ])
  })

  it('offers only the rungs that were asked for', async () => {
    const opened = await shop.open({ rungs: ['restore', 'migrate-down'] })
    expect(opened.rungs.map(r => r.id)).toEqual(['migrate-down', 'restore'])
    expect(APP[0]?.serves).toContain('stopped')
  })
})
