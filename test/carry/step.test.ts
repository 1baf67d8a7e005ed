import { afterEach, beforeEach, expect, it } from 'vitest'
import { sqliteConfig } from '../../src/adapters/sqlite/config.ts'
import { sqliteEngine } from '../../src/adapters/sqlite/engine.ts'
import { ask, makeShop, type Shop } from '../../src/adapters/sqlite/test/shop.ts'
import type { Fact, Step, StepAct, Target } from '../../src/core/contract.ts'
import { idemOf } from '../../src/core/executor/attempt.ts'
import { carriesForward } from '../../src/data/carry/open.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { carryStep } from '../../src/data/carry/verb.ts'
import type { DatabasePin } from '../../src/data/flow/settings.ts'
import { memoryBackups } from '../conformance/stores.ts'
import { job } from '../rungs/restored.ts'

let shop: Shop
let target: Target<DatabasePin>
let pin: DatabasePin
const told: Fact[] = []

beforeEach(async () => {
  const backups = memoryBackups()
  shop = await makeShop('wal', { backups })
  target = await shop.open({ rungs: ['restore'] })
  const signal = new AbortController().signal
  const act = { purpose: 'release' as const, release: 'v1', signal, vault: shop.ctx.vault, backups, progress: () => {} }
  pin = await target.capture(await target.observe(signal), act)
  shop.upgrade()
  told.length = 0
})
afterEach(async () => {
  await target[Symbol.asyncDispose]()
  await shop.dispose()
})

const actFor = (step: Step): StepAct =>
  shop.act({ idem: idemOf('run-7', step.id), accepts: () => true, tell: async fact => void told.push(fact) })

async function restored(): Promise<void> {
  const { steps } = await target.propose(ask(await target.observe(new AbortController().signal), pin, 'restore'))
  for (const step of steps.filter(s => !s.id.endsWith('/carry'))) await target.apply(step, actFor(step))
}

async function stepOf(carryForward: string): Promise<Step | null> {
  const { path, busyLimit, ...settings } = sqliteConfig.parse({ path: 'data/shop.db', carryForward })
  const where = { path, baseDir: shop.dir, stateDir: shop.ctx.stateDir, busyMs: busyLimit }
  const site = { engine: sqliteEngine(where), settings, ctx: shop.ctx, measured: new Map() }
  return carryStep(site, await shop.ctx.backups.get(pin.backup ?? ''))
}

it('C14: brings back in a step of its own what the restore took, tells what it could not, and is asked what became of it', async () => {
  await restored()
  expect(shop.sql('SELECT id, note FROM orders')).toEqual([
    { id: 1, note: 'a' },
    { id: 2, note: 'b' },
    { id: 3, note: null },
  ])
  const step = await stepOf('apply')
  if (step === null) throw new Error('there is no step')
  expect(step).toMatchObject({ id: 'db/restore/carry', onUnknown: 'repeat' })
  expect(await target.verify(step, actFor(step))).toMatchObject({ is: 'not-done' })
  await target.apply(step, actFor(step))
  // Nobody told when the migrations had ended: what they, or users, did to rows of the release waits for a word.
  expect(shop.sql('SELECT id, note FROM orders')).toEqual([
    { id: 1, note: 'a' },
    { id: 2, note: 'b' },
    { id: 3, note: null },
    { id: 4, note: 'since' },
  ])
  expect(await target.verify(step, actFor(step))).toMatchObject({ is: 'done' })
  expect(told.slice(-5).map(fact => fact.text.replace(/ in \/.*/, ''))).toEqual([
    '1 row written since the release was carried into db; proven by comparing again',
    '1 of 2 values of orders.note are others than at the release: if the migration gave them another meaning (cents, where there were euros), rows that came since are carried with that meaning',
    '2 rows of db changed between the backup and the end of migrating, by the migration or by users: backout data status db',
    '2 rows of coupons have no place in the schema of the release: archived',
    '1 value of orders.discount has no place in the schema of the release: archived',
  ])
  shop.sql('DELETE FROM orders WHERE id = 4')
  expect(await target.verify(step, actFor(step))).toMatchObject({ is: 'done' })
})

it('C14: says in the run that new rows may hold something else, where nobody told and most old values are others', async () => {
  shop.sql("UPDATE orders SET note = note || '!' WHERE id < 4")
  await restored()
  const step = await stepOf('apply')
  if (step === null) throw new Error('there is no step')
  await target.apply(step, actFor(step))
  expect(told.filter(fact => fact.kind === 'side-effect').map(fact => fact.text)).toEqual([
    expect.stringMatching(
      /^2 of 2 values of orders\.note are others than at the release: .* rows that came since are carried with that/,
    ),
  ])
})

it('C14: says in the run that new rows wait, where nobody told and nearly all old values are others', async () => {
  shop.sql('INSERT INTO orders (id, total) VALUES (3, 99); UPDATE orders SET total = total * 100')
  await restored()
  const step = await stepOf('apply')
  if (step === null) throw new Error('there is no step')
  await target.apply(step, actFor(step))
  expect(shop.sql('SELECT id FROM orders WHERE id > 3')).toEqual([])
  expect(told.map(fact => fact.text)).toEqual(
    expect.arrayContaining([
      expect.stringMatching(
        /^3 of 3 values of orders\.total .* rows that came since wait, .*--settle orders:rewritten=theirs$/,
      ),
      '1 row of db could not be carried, or not whole: backout data status db',
    ]),
  )
  expect(await target.verify(step, actFor(step))).toMatchObject({ is: 'done' })
})

it('only lists, or does not even that, where the settings say so', async () => {
  await restored()
  const step = await stepOf('report')
  if (step === null) throw new Error('there is no step')
  await target.apply(step, actFor(step))
  expect(shop.sql('SELECT count(*) AS n FROM orders WHERE id = 4')).toEqual([{ n: 0 }])
  expect(told.filter(fact => JSON.stringify(fact.data ?? {}).includes('"waits":true')).map(fact => fact.text)).toEqual([
    '1 change since the release is not in db, only listed (report): backout data plan db; to carry them: backout data apply db --mode cell',
    expect.stringMatching(/^2 rows of db changed between the backup and the end of migrating/),
  ])
  expect(told.map(fact => fact.text).join()).not.toContain('carried into')
  expect(await target.verify(step, actFor(step))).toMatchObject({ is: 'done' })
  expect(await stepOf('off')).toBeNull()
})

it('C14: tells what waits where it is found done, by a person or a process that died before it told', async () => {
  await restored()
  const step = await stepOf('apply')
  if (step === null || !carriesForward(target)) throw new Error('there is no step')
  {
    await using source = await target.carrying('run-7', pin.backup ?? '', job)
    await carryForward(source, NOTHING_SAID, job)
  }
  told.length = 0
  expect(await target.verify(step, actFor(step))).toMatchObject({ is: 'done' })
  expect(told.map(fact => fact.text)).toEqual([
    '1 row written since the release was carried into db; proven by comparing again',
    expect.stringMatching(/^1 of 2 values of orders\.note are others/),
    expect.stringMatching(/^2 rows of db changed between the backup and the end of migrating/),
    expect.stringMatching(/^2 rows of coupons have no place/),
    expect.stringMatching(/^1 value of orders\.discount has no place/),
  ])
})
