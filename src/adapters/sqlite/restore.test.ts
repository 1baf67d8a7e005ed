import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Backup, Fact, Proposal, Step, StepAct, Target } from '../../core/contract.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { ask, makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

describe('C13: a restore loads the backup beside, and swaps only then', () => {
  let shop: Shop
  let target: Target<DatabasePin>
  let pin: DatabasePin
  let proposal: Proposal
  let load: Step
  let swap: Step
  beforeEach(async () => {
    shop = await makeShop()
    target = await shop.open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    shop.upgrade()
    proposal = await target.propose(ask(await target.observe(signal), pin, 'restore'))
    ;[, load, swap] = proposal.steps as [Step, Step, Step]
  })
  afterEach(() => shop.dispose())

  const run = `run${Math.random().toString(36).slice(2, 7)}`
  const act = (step: Step, more: Partial<StepAct> = {}) =>
    shop.act({ idem: `${run}.${step.id.replaceAll('/', '.')}`, ...more })
  const beside = () => `${shop.file}.backout-${run}.db.restore`
  const coupons = () => shop.sql(`SELECT 1 FROM sqlite_schema WHERE name = 'coupons'`).length
  const backup = (): Promise<Backup> => shop.ctx.backups.get(pin.backup ?? '')

  it('backs up first, loads, swaps; reckons with what the proof of this very backup took', async () => {
    expect(proposal.phases).toEqual({
      backup: { step: 'db/backup' },
      data: { seq: [{ step: 'db/restore/load' }, { step: 'db/restore/swap' }, { step: 'db/restore/carry' }] },
    })
    expect([load.destructive, swap.destructive, swap.recheck]).toEqual([undefined, true, true])
    const proof = { at: '2026-01-01T00:00:00.000Z', ms: 98_765, ok: true, differences: [] }
    await shop.ctx.backups.recordProof(pin.backup ?? '', proof)
    const again = await target.propose(ask(await target.observe(signal), pin, 'restore'))
    expect(again.steps[1]?.estimateMs).toBe(98_765)
  })

  it('touches nothing by loading, proves the backup by it, and tells under which name the old one is kept', async () => {
    await shop.ctx.backups.recordProof(pin.backup ?? '', { at: '2026-01-01', ms: 1, ok: true, differences: [] })
    await target.apply(load, act(load))
    expect([coupons(), existsSync(beside())]).toEqual([1, true])
    expect((await backup()).proof).toMatchObject({ ok: true, differences: [] })
    expect((await backup()).proof?.at).not.toBe('2026-01-01')
    expect((await target.verify(swap, act(swap))).is).toBe('not-done')
    const facts: Fact[] = []
    await target.apply(swap, act(swap, { tell: async fact => void facts.push(fact) }))
    expect([coupons(), existsSync(beside())]).toEqual([0, false])
    expect(facts[0]).toEqual({
      kind: 'kept',
      text: `The database as it was right before the restore is kept as ${shop.file}.before-${run}.db.restore`,
      data: { name: `${shop.file}.before-${run}.db.restore`, mark: `${run}.db.restore` },
    })
    expect((await target.verify(load, act(load))).is).toBe('done')
    expect((await target.verify(swap, act(swap))).is).toBe('done')
  })

  it('loads nothing that is not what was backed up, leaves nothing of it, and calls the backup unproven', async () => {
    const made = await backup()
    const facts = made.facts as { fingerprint: { tables: { orders: { rows: number } } } }
    const other = structuredClone(facts)
    other.fingerprint.tables.orders.rows = 4
    const backups = { ...shop.ctx.backups, get: async () => ({ ...made, facts: other }) }
    await expect(target.apply(load, act(load, { backups }))).rejects.toMatchObject({
      code: 'backup_unproven',
      why: expect.stringContaining('orders: 4 rows then, 3 now'),
    })
    expect([coupons(), existsSync(beside())]).toEqual([1, false])
    expect((await backup()).proof?.ok).toBe(false)
  })

  it('does not take for loaded what a killed process left half', async () => {
    await writeFile(`${beside()}.part`, 'half')
    expect(await target.verify(load, act(load))).toMatchObject({ is: 'not-done' })
    await writeFile(beside(), 'half')
    expect((await target.verify(load, act(load))).is).not.toBe('done')
    await target.apply(load, act(load))
    expect((await target.verify(load, act(load))).is).toBe('done')
    expect(existsSync(`${beside()}.part`)).toBe(false)
  })

  it('loads again what is not loaded any more, and swaps that', async () => {
    const facts: Fact[] = []
    await target.apply(swap, act(swap, { tell: async fact => void facts.push(fact) }))
    expect((await target.verify(swap, act(swap))).is).toBe('done')
    expect([coupons(), facts[0]?.text]).toEqual([0, expect.stringContaining('it was loaded again')])
  })

  it('loads nothing again over what may have been restored and written since', async () => {
    await target.apply(load, act(load))
    await target.apply(swap, act(swap))
    for (const file of [beside(), `${shop.file}.before-${run}.db.restore`]) await rm(file, { force: true })
    shop.sql(`INSERT INTO orders (total, note) VALUES (1, 'since')`)
    await expect(target.apply(swap, act(swap))).rejects.toMatchObject({ code: 'restore_not_loaded' })
    expect(shop.sql(`SELECT 1 FROM orders WHERE note = 'since'`).length).toBe(1)
    // Where it is to the last row what was backed up before the rollback, nothing can have been restored.
    const made = await target.capture(await target.observe(signal), {
      ...shop.act(),
      purpose: 'release',
      release: 'v1',
    })
    const before = shop.ctx.backups.get(made.backup ?? '')
    await target.apply(swap, act(swap, { preRollback: () => before }))
    expect(shop.sql(`SELECT 1 FROM orders WHERE note = 'since'`)).toEqual([])
  })

  it('swaps nothing where more would be lost than was accepted', async () => {
    await target.apply(load, act(load))
    shop.sql(`INSERT INTO orders (total, note) VALUES (1, 'late')`)
    const planned = proposal.impact.loss
    const accepts: StepAct['accepts'] = loss =>
      loss.every(l => l.count <= (planned.find(p => p.what === l.what)?.count ?? 0))
    await expect(target.apply(swap, act(swap, { accepts }))).rejects.toMatchObject({
      code: 'loss_not_accepted',
      why: expect.stringContaining('orders (added): 2 rows'),
    })
    expect([coupons(), existsSync(beside())]).toEqual([1, true])
  })
})
