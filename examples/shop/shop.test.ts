import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startLoad, type Summary } from './load.ts'
import { isAlive, until } from './lib/processes.ts'
import { ask, inFolder } from './lib/testing.ts'
import { checkOutConfig, writeFlags } from './world/config.ts'
import { switchTo } from './world/releases.ts'
import { run } from './world/run.ts'
import { drain } from './world/traffic.ts'
import { buildWorld, dbmate, INSTANCES, NEW, OLD, type World } from './world.ts'

const WAIT_MS = 20_000

async function newUser(url: string, email: string): Promise<string> {
  const who = { email, password: 'correct horse' }
  expect(await ask(`${url}/register`, 'POST', who)).toMatchObject({ status: 201 })
  const { json } = await ask(`${url}/login`, 'POST', who)
  return String(json.token)
}

describe('v1.2.9', () => {
  let root: string
  let world: World
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'shop-'))
    world = await buildWorld(root)
  })
  afterAll(async () => {
    await world.teardown()
    await rm(root, { recursive: true })
  })

  it('registers, logs in, takes an order, is paid, and shows it', async () => {
    const token = await newUser(world.url, 'ada@example.test')
    const placed = await ask(`${world.url}/orders`, 'POST', { sku: 'tea', qty: 3, coupon: 'LAUNCH40' }, token)
    expect(placed).toMatchObject({ status: 201, json: { total: 4001, discount: 0, status: 'new' } })
    const order = `${world.url}/orders/${Number(placed.json.id)}`
    expect(await ask(`${order}/pay`, 'POST', null, token)).toMatchObject({ status: 200, json: { status: 'paid' } })
    expect(await ask(`${order}/pay`, 'POST', null, token)).toMatchObject({ status: 409 })
    expect(await ask(order, 'GET', null, token)).toMatchObject({ status: 200, json: { total: 4001, status: 'paid' } })
    expect((await world.ordersInDb()).at(-1)).toEqual({ id: placed.json.id, total: 4001, status: 'paid' })
  })

  it('gives nothing to those who may not have it', async () => {
    const token = await newUser(world.url, 'eve@example.test')
    expect(await ask(`${world.url}/orders/1`, 'GET', null, token)).toMatchObject({ status: 404 })
    expect(await ask(`${world.url}/orders/1`, 'GET', null, `${token}x`)).toMatchObject({ status: 401 })
    const wrong = { email: 'eve@example.test', password: 'wrong' }
    expect(await ask(`${world.url}/login`, 'POST', wrong)).toMatchObject({ status: 401 })
    expect(await ask(`${world.url}/orders`, 'POST', { sku: 'tea', qty: -1 }, token)).toMatchObject({ status: 400 })
    expect(await ask(`${world.url}/orders`, 'POST', { sku: 'gold', qty: 1 }, token)).toMatchObject({ status: 404 })
  })

  it('says what it loaded, without secrets', async () => {
    const { json } = await ask(`${world.instances[0]?.url}/health`)
    expect(json).toEqual({
      status: 'ok',
      version: OLD,
      instance: 'a',
      config: OLD,
      theme: 'summer',
      logLevel: 'info',
      flags: { 'new-checkout': false },
    })
  })

  it('comes as a folder whose checksums hold, without the down-scripts of a later release', async () => {
    const folder = join(world.paths.releases, OLD)
    const checked = await run(['sha256sum', '-c', 'MANIFEST.sha256'], folder)
    expect(checked).toContain('VERSION: OK')
    expect(checked).toContain('server/server.ts: OK')
    expect(checked).toContain('create_payments.sql: OK')
    expect(checked).not.toContain('discount')
  })

  it('loses no request while its instances are restarted one by one', async () => {
    await using load = startLoad({ url: world.url, thinkMs: 40 })
    for (const name of INSTANCES) await run([world.paths.service, 'restart', name], world.root)
    await until(async () => (await load.snapshot()).acknowledged >= 20, WAIT_MS)
    const { requests } = await load.stop()
    expect(requests).toMatchObject({ failed: 0, maintenance: 0 })
    expect(requests.ok).toBeGreaterThan(60)
  })
})

describe('v1.3.0 and the way back', () => {
  interface Story {
    readonly summary: Summary
    readonly bad: { versions: object; discounts: number[]; migrations: string[]; health: object; totals: object }
    readonly oldOnNewSchema: string
    readonly good: { versions: object; discounts: number[]; migrations: string[]; orders: Map<number, number> }
    readonly pids: readonly number[]
  }
  let story: Story

  beforeAll(async () => {
    story = await inFolder(async root => {
      await using world = await buildWorld(root)
      await using load = startLoad({ url: world.url, thinkMs: 80 })
      await until(async () => (await load.snapshot()).acknowledged >= 20, WAIT_MS)
      await load.mark('deploy')
      await world.deploy(NEW)
      await load.mark('bad')
      await until(async () => (await world.discountsInDb()).length >= 40, WAIT_MS)
      const enough = (await load.snapshot()).acknowledged + 20
      await until(async () => (await load.snapshot()).acknowledged >= enough, WAIT_MS)
      const bad = {
        versions: await world.servedVersions(),
        discounts: (await world.discountsInDb()).map(({ id }) => id),
        migrations: await world.migrations(),
        health: (await ask(`${world.instances[0]?.url}/health`)).json,
        totals: (await ask(`${world.instances[0]?.url}/totals`)).json,
      }
      await load.mark('back')
      const oldOnNewSchema = await goBackByHand(world)
      await load.mark('after')
      await until(async () => ((await load.snapshot()).periods.at(-1)?.ok ?? 0) >= 60, WAIT_MS)
      const summary = await load.stop()
      const good = {
        versions: await world.servedVersions(),
        discounts: (await world.discountsInDb()).map(({ id }) => id),
        migrations: await world.migrations(),
        orders: new Map((await world.ordersInDb()).map(({ id, total }) => [id, total])),
      }
      return { summary, bad, good, oldOnNewSchema, pids: [...world.pids(), load.pid] }
    })
  }, 90_000)

  /** What Backout is for, done by a person. Answers what v1.2.9 says when it is started on v1.3.0's schema. */
  async function goBackByHand(world: World): Promise<string> {
    const { paths, store, root } = world
    const service = (verb: string, name: string) => run([paths.service, verb, name], root)
    await drain(world.adminUrl)
    for (const name of INSTANCES) await service('stop', name)
    await switchTo(paths, OLD)
    const refused = await service('start', 'a').catch((error: Error) => error.message)
    const folder = join(paths.releases, NEW)
    await dbmate(paths, store, folder, 'rollback')
    await dbmate(paths, store, folder, 'rollback')
    await checkOutConfig(paths, OLD)
    writeFlags(paths, false)
    for (const name of INSTANCES) await service('start', name)
    await world.setWeights({ live: 100, maintenance: 0 })
    return refused
  }

  const period = (name: string) => {
    const found = story.summary.periods.find(each => each.name === name)
    if (found === undefined) throw new Error(`there was no period ${name}`)
    return found
  }

  it('was well before', () => {
    expect(period('before')).toMatchObject({ failed: 0, maintenance: 0, failedBy: {} })
    expect(Object.keys(period('before').versions)).toEqual([OLD])
  })

  it('is deployed as a team would: everything of it is there, and users see the maintenance page meanwhile', () => {
    expect(story.bad.versions).toEqual({ a: NEW, b: NEW, c: NEW })
    expect(story.bad.migrations).toHaveLength(5)
    expect(story.bad.health).toMatchObject({ version: NEW, config: NEW, theme: 'launch', logLevel: 'debug' })
    expect(story.bad.health).toMatchObject({ flags: { 'new-checkout': true } })
    expect(period('deploy').failed).toBe(0)
    expect(period('deploy').maintenance).toBeGreaterThan(0)
  })

  it('is slow: no order is taken in less than 80 ms, where v1.2.9 takes half of them within that', () => {
    expect(period('bad').latency.order?.min).toBeGreaterThanOrEqual(80)
    expect(period('before').latency.order?.p50).toBeLessThan(80)
    expect(period('bad').latency.order?.p95).toBeGreaterThan(period('before').latency.order?.p95 ?? Infinity)
  })

  it('is wrong: some totals do not add up, and some orders fail', () => {
    const { reasons, failedBy, failed } = period('bad')
    expect(reasons['order: wrong total']).toBeGreaterThan(0)
    expect(reasons['order: 500']).toBeGreaterThan(0)
    expect(failedBy).toEqual({ [NEW]: failed })
    expect(story.bad.totals).toMatchObject({ unexplained: expect.any(Number) })
    expect((story.bad.totals as { unexplained: number }).unexplained).toBeGreaterThan(0)
  })

  it('gives a discount to the first forty that ask, and to nobody after', () => {
    expect(story.bad.discounts).toHaveLength(40)
    expect(story.summary.discounts).toBe(40)
    const acknowledged = story.summary.orders.filter(({ discount }) => discount > 0).map(({ id }) => id)
    expect(acknowledged.sort((a, b) => a - b)).toEqual(story.bad.discounts)
  })

  it('leaves a schema that v1.2.9 cannot live with', () => {
    expect(story.oldOnNewSchema).toMatch(/no such column|has no column named/)
  })

  it('loses exactly the discounts when its migrations are undone from its own folder', () => {
    expect(story.good.migrations).toEqual(story.bad.migrations.slice(0, 3))
    expect(story.good.discounts).toEqual([])
    for (const { id, total } of story.summary.orders) expect(story.good.orders.get(id)).toBe(total)
    expect(story.summary.orders.length).toBeGreaterThan(80)
  })

  it('is gone afterwards, and nobody was failed by the way back', () => {
    expect(story.good.versions).toEqual({ a: OLD, b: OLD, c: OLD })
    expect(Object.keys(period('after').versions)).toEqual([OLD])
    expect(period('after').failed).toBe(0)
    // What was under way on v1.3.0 when it began may still have failed on v1.3.0.
    expect(Object.keys(period('back').failedBy).filter(version => version !== NEW)).toEqual([])
    expect(period('back').maintenance).toBeGreaterThan(0)
  })

  it('leaves nothing running', () => {
    expect(story.pids).toHaveLength(5)
    expect(story.pids.filter(isAlive)).toEqual([])
  })
})

it('runs twice at once, and taking one world down leaves the other alone', () =>
  inFolder(first =>
    inFolder(async second => {
      await using one = await buildWorld(first)
      await using other = await buildWorld(second)
      await newUser(one.url, 'same@example.test')
      await newUser(other.url, 'same@example.test')
      await one.teardown()
      expect(one.pids()).toEqual([])
      expect(other.pids()).toHaveLength(4)
      expect(await other.servedVersions()).toEqual({ a: OLD, b: OLD, c: OLD })
    }),
  ))
