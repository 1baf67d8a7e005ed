import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { ask } from '../../../test/support/ask.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { triedOverRestart } from '../../../test/support/tried.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { dumpOf, played, type Story } from './test/merge.ts'
import { makeShop } from './test/shop.ts'
import { job, never } from './test/support.ts'

const missing = noPostgres()

const STORY: Story = {
  base: [
    'CREATE TABLE orders (id serial PRIMARY KEY, total int)',
    'INSERT INTO orders (total) SELECT i FROM generate_series(1, 300) i',
  ],
  release: [{ sql: 'ALTER TABLE orders ADD discount int' }],
  writes: [
    'INSERT INTO orders (total) SELECT -i FROM generate_series(1, 300) i',
    'UPDATE orders SET total = 7 WHERE id % 3 = 0 AND id <= 300',
    'DELETE FROM orders WHERE id % 50 = 1 AND id <= 300',
  ],
  after: [],
  told: true,
}

describe.skipIf(missing !== null)(`PostgreSQL that goes away${missing === null ? '' : ` (${missing})`}`, () => {
  let server: PostgresServer
  let dir: string
  beforeEach(async () => {
    server = await postgresServer()
    dir = await mkdtemp(join(tmpdir(), 'backout-gone-'))
  })
  afterEach(async () => {
    await server?.dispose()
    await rm(dir, { recursive: true, force: true })
  })

  it('C11: in the middle of undoing a migration: nobody can say, then it is not done, then it is done again', async () => {
    const shop = await makeShop(server)
    const begun = join(dir, 'begun')
    const psql = join(String(server.settings('')['tools']), 'psql')
    const line = `touch '${begun}'; '${psql}' -qX1 -v ON_ERROR_STOP=1 -c 'DROP TABLE coupons' -c 'SELECT pg_sleep(60)' "$DATABASE_URL"`
    await using slow = await shop.open({ migrations: { down: ['sh', '-c', line] } })
    const pin = await slow.capture(await slow.observe(never), { ...shop.act(), purpose: 'release', release: 'v1' })
    await shop.upgrade()
    const proposal = await slow.propose(ask(await slow.observe(never), pin, 'migrate-down'))
    const step = proposal.steps.find(s => s.id === 'db/migrate-down/3')
    if (step === undefined) throw new Error('no step undoes it')
    const undoing = slow.apply(step, stepAct(step, 'gone'))
    const failed = expect(undoing).rejects.toMatchObject({
      code: expect.stringMatching(/^(down_failed|database_unreachable)$/),
    })
    await expect.poll(() => existsSync(begun), { timeout: 60_000 }).toBe(true)
    await server.crash()
    await failed
    expect(await slow.verify(step, stepAct(step, 'gone'))).toMatchObject({ is: 'unknown', unheard: true })
    await server.start()
    expect(await slow.verify(step, stepAct(step, 'gone'))).toMatchObject({ is: 'not-done' })
    expect(await shop.sql('SELECT count(*)::int AS n FROM coupons')).toEqual([{ n: 2 }])
    await using target = await shop.open()
    await target.apply(step, stepAct(step, 'gone'))
    expect(await target.verify(step, stepAct(step, 'gone'))).toMatchObject({ is: 'done' })
    await shop.dispose()
  })

  it('and is back a second later: it is waited for, and the step is tried again', async () => {
    const shop = await makeShop(server)
    await using target = await shop.open()
    const pin = await target.capture(await target.observe(never), { ...shop.act(), purpose: 'release', release: 'v1' })
    await shop.upgrade()
    const { steps } = await target.propose(ask(await target.observe(never), pin, 'restore'))
    const load = steps.find(s => s.id === 'db/restore/load')
    if (load === undefined) throw new Error('no step loads it')
    const restart = { goes: () => server.crash(), comes: () => server.start() }
    const { first, second } = await triedOverRestart(target, load, shop.ctx, restart)
    expect(first).toMatchObject({ is: 'not-done', why: expect.stringContaining('asked afterwards: ') })
    expect(second).toMatchObject({ is: 'done', found: false })
    await shop.dispose()
  })

  it('C14: in the middle of carrying forward: told, and taken up to the same end', async () => {
    const [one, whole] = [await played(server, STORY), await played(server, STORY)]
    const ends: Promise<void>[] = []
    const progress = ({ text, done }: { text: string; done?: number }) => {
      if (text === 'carrying rows' && (done ?? 0) > 100 && ends.length === 0) ends.push(server.crash())
    }
    // So many batches that it is gone before the last of them, however slowly it goes.
    await expect(applyCarry(one.source, NOTHING_SAID, { ...job, progress }, { batch: 4 })).rejects.toMatchObject({
      code: 'database_unreachable',
    })
    await Promise.all(ends)
    await server.start()
    const between = (await dumpOf(server, one.ours))['orders']?.length ?? 0
    expect(between).toBeGreaterThan(300)
    expect(between).toBeLessThan(594)
    const again = await applyCarry(one.source, NOTHING_SAID, job, { batch: 20 })
    expect(again.proof).toMatchObject({ ok: true, problems: [] })
    await applyCarry(whole.source, NOTHING_SAID, job)
    const done = await dumpOf(server, one.ours)
    expect(done).toEqual(await dumpOf(server, whole.ours))
    expect(done['orders']?.length).toBe(594)
  })
})
