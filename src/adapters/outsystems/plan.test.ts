import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { Deployment } from '../../../test/support/lifetime/deployments.ts'
import { LifeTime } from '../../../test/support/lifetime/server.ts'
import { codes, Shop } from '../../../test/support/lifetime/shop.ts'
import { config } from './config.ts'
import { outsystems } from './index.ts'
import { bottomUp } from './order.ts'
import type { Pin } from './pin.ts'

const STANDING = ['warning data_stays', 'note lower_version']

let shop: Shop
let pin: Pin
beforeEach(async () => {
  shop = await Shop.open()
})
afterEach(() => shop[Symbol.asyncDispose]())

const application = (name: string) => {
  const found = shop.lifetime.infra.applications.find(a => a.name === name)
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}
const version = (name: string, label: string) => {
  const found = application(name).versions.find(v => v.label === label)
  if (found === undefined) throw new Error(`no ${name} ${label}`)
  return found
}

describe('A6, C15: what a plan says', () => {
  beforeEach(async () => {
    pin = await shop.captured()
    shop.upgrade()
  })

  it('has one step an application, each after those that it uses', async () => {
    const proposal = await shop.proposed(pin, 'applications')
    expect(ordered(proposal).map(s => [s.id, s.title])).toEqual([
      ['apps/deploy/Core', 'deploy Core 1'],
      ['apps/deploy/Orders', 'deploy Orders 1'],
      ['apps/deploy/Shop', 'deploy Shop 1'],
    ])
    expect(codes(proposal)).toEqual(STANDING)
    expect(proposal.change).toEqual({ from: 'Core 2, Orders 2, Shop 2', to: 'Core 1, Orders 1, Shop 1' })
  })

  it('B4: says that data, tables and columns stay, and what disappears', async () => {
    const { impact, findings } = await shop.proposed(pin, 'together', { downtime: '30s' })
    expect(impact).toEqual({
      downtimeMs: 30_000,
      loss: [],
      staysBehind: ['Core 2', 'Orders 2', 'Shop 2'].map(name => `tables, columns and data of ${name}`),
      disappears: ['Core 2', 'Orders 2', 'Shop 2'].map(name => `what ${name} brought`),
    })
    expect(findings[0]?.what).toContain('drops no table or column')
  })

  it('takes back only what changed and is cared for', async () => {
    shop.lifetime.release({ application: 'Core', label: '1' }, 'Production')
    expect(ordered(await shop.proposed(pin, 'together')).map(s => s.title)).toEqual(['deploy Orders 1, Shop 1'])
    const own = await shop.captured({ applications: ['Orders'] })
    expect(Object.values(own.applications).map(a => a.name)).toEqual(['Orders'])
  })

  it('reads the conflicts that LifeTime sees, with a deployment that is never started and gone afterwards', async () => {
    Object.assign(version('Orders', '2'), { needs: { Core: ['2'] } })
    const one = await shop.proposed(pin, 'applications')
    expect(codes(one)).toEqual(['blocker conflict', 'note redeployed_along', ...STANDING])
    expect(one.findings[0]?.what).toContain('Orders 2 needs Core 2, which has the version 1.')
    expect(codes(await shop.proposed(pin, 'together'))).toEqual(STANDING)
    expect(shop.lifetime.deployments).toEqual([])
    expect(shop.lifetime.requests.filter(r => r.endsWith('/start/'))).toEqual([])
  })

  it('names what is redeployed along and what modules are deleted', async () => {
    shop.lifetime.release({ application: 'Reports', label: '7', needs: { Shop: ['1', '2'] } }, 'Production')
    const two = { application: 'Shop', label: '3', modules: ['Shop', 'Shop_CS', 'Shop_New'] }
    shop.lifetime.release(two, 'Quality', 'Production')
    const { findings } = await shop.proposed(pin, 'together')
    expect(findings.map(f => f.code)).toEqual([
      'redeployed_along',
      'modules_deleted',
      'data_stays',
      'lower_version',
      'applications_stay',
    ])
    expect(findings[0]?.what).toBe('Reports use what is deployed and are redeployed along')
    expect(findings[1]?.what).toContain('Shop_New')
    expect(findings[4]?.what).toContain('Reports')
  })

  it('asks LifeTime for nothing ahead where the settings say so', async () => {
    const before = shop.lifetime.requests.length
    expect(codes(await shop.proposed(pin, 'together', { checkAhead: false }))).toEqual([
      'note not_checked_ahead',
      ...STANDING,
    ])
    expect(shop.lifetime.requests.slice(before).filter(r => !r.startsWith('GET'))).toEqual([])
  })

  it('C18: asks for nothing ahead in an emergency, and says so', async () => {
    const before = shop.lifetime.requests.length
    const proposal = await shop.proposed(pin, 'together', {}, 'emergency')
    expect([codes(proposal), proposal.omits]).toEqual([STANDING, ["LifeTime's check for conflicts ahead of the start"]])
    expect(shop.lifetime.requests.slice(before).filter(r => !r.startsWith('GET'))).toEqual([])
  })

  it('deletes what a check left that died, lists what a step left, and touches nothing of others', async () => {
    shop.lifetime.faults.push({ on: /^DELETE/, does: 'cut', times: 1 })
    await shop.proposed(pin, 'together')
    const [left] = shop.lifetime.deployments
    const { target } = left ?? { target: shop.lifetime.environment('Production') }
    const source = shop.lifetime.environment('Quality').key
    for (const notes of ['Backout: back to v1 [r1.apps.deploy]', 'of somebody else']) {
      shop.lifetime.deployments.push(new Deployment({ source, target, notes, operations: [], binary: false }))
    }
    expect(codes(await shop.proposed(pin, 'together'))).toEqual(STANDING)
    for (const d of shop.lifetime.deployments) d.createdOn.setTime(Date.now() - 3_600_000)
    const next = await shop.proposed(pin, 'together')
    expect(codes(next)).toEqual(['note saved_left', ...STANDING])
    expect(shop.lifetime.deployments.map(d => d.notes)).toEqual([
      'Backout: back to v1 [r1.apps.deploy]',
      'of somebody else',
    ])
  })

  it('is blocked by the rung that LifeTime refuses to check, and not made where LifeTime cannot be asked', async () => {
    for (const [on, does] of [
      [/^POST \/deployments\/$/, 400],
      [/^POST \/deployments\/$/, 409],
      [/^POST \/deployments\/$/, 500],
      [/^GET \/deployments\/[^/?]+\/$/, 403],
    ] as const) {
      shop.lifetime.faults.push({ on, does, says: 'a lower version cannot be deployed' })
      const proposal = await shop.proposed(pin, 'together')
      expect(codes(proposal)).toEqual(['blocker check_refused', ...STANDING])
      expect(proposal.findings[0]?.what).toContain('a lower version cannot be deployed')
    }
    shop.lifetime.faults.push({ on: /^POST \/deployments\/$/, does: 'cut' })
    await expect(shop.proposed(pin, 'together')).rejects.toMatchObject({ code: 'lifetime_unreachable' })
    expect(shop.lifetime.deployments).toEqual([])
  })
})

describe('C1, C12: what cannot be done is a blocker of that rung, and the next one has its own', () => {
  const blockers = async (rung: string, more: object = {}) =>
    (await shop.proposed(pin, rung, more)).findings.filter(f => f.level === 'blocker').map(f => f.code)
  const only = (code: string) => ({ applications: [code], together: [code], solution: [] })
  const all = async (more: object = {}) => ({
    applications: await blockers('applications', more),
    together: await blockers('together', more),
    solution: await blockers('solution', more),
  })

  it('a version that LifeTime no longer has', async () => {
    pin = await shop.captured()
    shop.upgrade('Shop')
    application('Shop').versions.splice(application('Shop').versions.indexOf(version('Shop', '1')), 1)
    expect(await all()).toEqual(only('version_gone'))
  })

  it('an application that had been changed where it runs: what ran has no tag', async () => {
    const running = shop.lifetime.environment('Production').running.get(application('Shop').key)
    Object.assign(running ?? {}, { modified: true })
    pin = await shop.captured()
    shop.upgrade('Shop')
    expect(await all()).toEqual(only('not_tagged'))
  })

  it('an application that may not be deployed there', async () => {
    pin = await shop.captured()
    shop.upgrade('Shop')
    application('Shop').blocked.add(shop.lifetime.environment('Production').key)
    expect(await all()).toEqual(only('application_blocked'))
  })

  it('a deployment zone that is gone', async () => {
    const production = shop.lifetime.environment('Production')
    production.zones.push({ key: 'zone-1', name: 'Internal' })
    const running = production.running.get(application('Shop').key)
    if (running !== undefined) running.zone = 'zone-1'
    pin = await shop.captured()
    shop.upgrade('Shop')
    expect(await blockers('together')).toEqual([])
    production.zones.length = 0
    expect(await all()).toEqual(only('zone_gone'))
  })

  it('an environment that is offline, whatever the rung', async () => {
    pin = await shop.captured()
    shop.upgrade('Shop')
    shop.lifetime.environment('Production').offline = true
    const code = ['environment_offline']
    expect(await all()).toEqual({ applications: code, together: code, solution: code })
  })

  it('no environment to deploy from', async () => {
    pin = await shop.captured()
    shop.upgrade('Shop')
    expect(await all({ source: 'Production' })).toEqual(only('no_source'))
  })

  it('applications of which nobody said who uses whom, or that use one another', async () => {
    pin = await shop.captured()
    shop.upgrade()
    expect(await all({ producers: {} })).toEqual({ ...only('order_unknown'), together: [] })
    expect(await all({ producers: { Shop: ['Orders', 'Core'], Orders: ['Shop'] } })).toEqual({
      ...only('order_cycle'),
      together: [],
    })
    shop.lifetime.release({ application: 'Core', label: '1' }, 'Production')
    shop.lifetime.release({ application: 'Orders', label: '1' }, 'Production')
    expect(await all({ producers: {} })).toEqual({ applications: [], together: [], solution: [] })
  })

  it('a solution package that was never kept, or is not there as it was', async () => {
    pin = await shop.captured({ package: false })
    shop.upgrade('Shop')
    expect(await blockers('solution')).toEqual(['package_gone'])
    const { solution } = await shop.captured()
    pin = { ...pin, solution: solution && { ...solution, bytes: solution.bytes + 1 } }
    expect(await blockers('solution')).toEqual(['package_gone'])
    pin = { ...pin, solution: solution && { ...solution, backup: 'gone' } }
    expect(await blockers('solution')).toEqual(['package_gone'])
  })
})

it('warns of mobile packages, which stay newer in stores and on phones', async () => {
  shop.lifetime.release({ application: 'App', label: '1', kind: 'Mobile' }, 'Quality', 'Production')
  pin = await shop.captured()
  shop.lifetime.release({ application: 'App', label: '2' }, 'Production')
  expect(codes(await shop.proposed(pin, 'applications'))).toEqual([
    'warning data_stays',
    'warning mobile_package',
    'note lower_version',
  ])
})

it('an application that is gone is brought back', async () => {
  pin = await shop.captured()
  shop.lifetime.environment('Production').running.delete(application('Shop').key)
  const [step] = await shop.steps(pin, 'applications')
  if (step === undefined) throw new Error('no step')
  await using target = await shop.target()
  await target.apply(step, stepAct(step))
  expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
})

it('an order from the bottom up does not need the ones between', () => {
  expect(bottomUp(['Shop', 'Core'], { Shop: ['Orders'], Orders: ['Core'] })).toEqual({
    order: ['Core', 'Shop'],
    unplaced: [],
    cycle: [],
  })
  expect(bottomUp(['B', 'A'], { B: [], A: [] }).order).toEqual(['A', 'B'])
})

describe('settings', () => {
  it('refuse an address over which the token would go in the clear', () => {
    const settings = (url: string) => ({ url, token: LifeTime.token, environment: 'Production' })
    const ok = ['https://lt.example', 'http://127.0.0.1:9', 'http://localhost:9'].map(url =>
      config.safeParse(settings(url)),
    )
    const bad = ['http://lt.example', 'lt.example', 'https://ann:pw@lt.example'].map(url =>
      config.safeParse(settings(url)),
    )
    expect([...ok, ...bad].map(r => r.success)).toEqual([true, true, true, false, false, false])
  })

  it('has a page whose example is valid', async () => {
    const page = await readFile(join(import.meta.dirname, '../../../docs/adapters/outsystems.md'), 'utf8')
    const example = parse(/```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '') as {
      components: { apps: { adapter: string; settings: unknown } }
    }
    expect(example.components.apps.adapter).toBe(outsystems.kind)
    expect(config.safeParse(example.components.apps.settings).error).toBeUndefined()
  })
})
