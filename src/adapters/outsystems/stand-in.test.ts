import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keyOf } from '../../../test/support/lifetime/model.ts'
import { LifeTime } from '../../../test/support/lifetime/server.ts'
import { Shop, SOON } from '../../../test/support/lifetime/shop.ts'

/** The server of these tests is held to the published contract: what it lets through, an adapter could get wrong. */

let shop: Shop
beforeEach(async () => {
  shop = await Shop.open()
})
afterEach(() => shop[Symbol.asyncDispose]())

const KEYS = {
  production: keyOf('environment Production'),
  quality: keyOf('environment Quality'),
  good: keyOf('Shop 1'),
  bad: keyOf('Shop 2'),
}

async function ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const json = body === undefined ? {} : { 'content-type': 'application/json' }
  const answer = await fetch(`${shop.lifetime.url}/lifetimeapi/rest/v2${path}`, {
    method,
    headers: { authorization: `Bearer ${LifeTime.token}`, ...json, ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return {
    status: answer.status,
    text,
    json: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {},
  }
}

const plan = (more: object = {}) => ({
  Notes: '',
  SourceEnvironmentKey: KEYS.quality,
  TargetEnvironmentKey: KEYS.production,
  ApplicationOperations: [{ ApplicationVersionKey: KEYS.good, DeploymentZoneKey: '' }],
  ...more,
})
const saved = async () => (await ask('POST', '/deployments/', plan())).text
const status = async (key: string) => (await ask('GET', `/deployments/${key}/status/`)).json['DeploymentStatus']

it('answers every error with Errors and StatusCode', async () => {
  const path = `/environments/${KEYS.production}/applications/`
  for (const [expected, method, where, headers] of [
    [401, 'GET', path, { authorization: 'Bearer other' }],
    [400, 'GET', `${path}?IncludeModules=true`, {}],
    [404, 'GET', '/environments/none/applications/', {}],
    [404, 'GET', '/deployments/none/status/', {}],
    [400, 'GET', `/applications/${keyOf('application Shop')}/versions/${KEYS.good}/`, {}],
    [404, 'GET', '/nothing/of/the/kind', {}],
  ] as const) {
    const { status: got, json } = await ask(method, where, undefined, headers)
    expect([where, got, json['StatusCode']]).toEqual([where, expected, expected])
    expect(json['Errors']).toEqual([expect.any(String)])
  }
})

it('answers 204 for a list that is empty', async () => {
  expect(await ask('GET', '/deployments/')).toMatchObject({ status: 204, text: '' })
  await saved()
  expect((await ask('GET', '/deployments/')).status).toBe(200)
  expect((await ask('GET', `/deployments/?TargetEnvironmentKey=${KEYS.quality}`)).status).toBe(204)
})

it('makes deployments from another environment, of versions and zones that there are', async () => {
  for (const [expected, body] of [
    [400, plan({ SourceEnvironmentKey: KEYS.production })],
    [404, plan({ TargetEnvironmentKey: 'none' })],
    [400, plan({ ApplicationOperations: [{ ApplicationVersionKey: 'none', DeploymentZoneKey: '' }] })],
    [400, plan({ ApplicationOperations: [{ ApplicationVersionKey: KEYS.good, DeploymentZoneKey: 'none' }] })],
    [400, plan({ ApplicationOperations: [{ ApplicationVersionKey: KEYS.good }] })],
    [400, { SourceEnvironmentKey: KEYS.quality }],
  ] as const) {
    expect((await ask('POST', '/deployments/', body)).status).toBe(expected)
  }
  expect(shop.lifetime.deployments).toEqual([])
  expect(await ask('POST', '/deployments/', plan())).toMatchObject({
    status: 200,
    text: shop.lifetime.deployments[0]?.key,
  })
})

describe('a deployment', () => {
  it('is started once, then neither deleted nor looked into, and changes the environment only in the end', async () => {
    shop.upgrade('Shop')
    shop.lifetime.courses.push({ ms: Infinity })
    const key = await saved()
    expect((await ask('GET', `/deployments/${key}/`)).json).toMatchObject({
      ApplicationConflicts: [],
      ModulesToDelete: [],
    })
    expect((await ask('POST', `/deployments/${key}/start/`)).status).toBe(202)
    expect([await status(key), shop.lifetime.running('Production', 'Shop')]).toEqual(['running', '2'])
    for (const [method, path] of [
      ['POST', `/deployments/${key}/start/`],
      ['POST', `/deployments/${key}/continue/`],
      ['DELETE', `/deployments/${key}/`],
    ] as const) {
      expect((await ask(method, path)).status).toBe(400)
    }
    expect((await ask('POST', `/deployments/${key}/cancel/`)).status).toBe(404)
    shop.lifetime.deployments[0]?.finish()
    expect(await status(key)).toBe('finished_successful')
    expect(shop.lifetime.running('Production', 'Shop')).toBe('1')
    expect((await ask('GET', `/deployments/${key}/`)).status).toBe(500)
    expect((await ask('POST', `/deployments/${key}/abort/`)).status).toBe(400)
  })

  it('is not started with conflicts, in maintenance mode, or besides another where that is not offered', async () => {
    const key = await saved()
    const start = () => ask('POST', `/deployments/${key}/start/`).then(a => a.status)
    const mode = (on: boolean) =>
      ask('PUT', `/environments/${KEYS.production}/maintenancemode`, { IsMaintenanceModeEnabled: on, Reason: '' })
    expect((await mode(true)).status).toBe(200)
    expect(await start()).toBe(400)
    await mode(false)
    const version = shop.lifetime.infra.applications.find(a => a.name === 'Shop')?.versions.find(v => v.label === '1')
    Object.assign(version ?? {}, { needs: { Core: ['9'] } })
    expect((await ask('GET', `/deployments/${key}/`)).json['ApplicationConflicts']).toHaveLength(1)
    expect(await start()).toBe(400)
    Object.assign(version ?? {}, { needs: {} })
    shop.lifetime.manner.parallel = false
    shop.lifetime.started('Quality', 'Production', [{ application: 'Core', label: '1' }], { ms: Infinity })
    expect(await start()).toBe(409)
    expect(await status(key)).toBe('saved')
  })

  it('is aborted until it is being deployed, and continued only where it waits', async () => {
    shop.lifetime.courses.push({ ms: Infinity, deployingAfter: 0 }, { asks: 'deployment_suspended' })
    const [late, waits] = [await saved(), await saved()]
    for (const key of [late, waits]) await ask('POST', `/deployments/${key}/start/`)
    expect((await ask('POST', `/deployments/${late}/abort/`)).status).toBe(400)
    expect((await ask('GET', `/deployments/${waits}/status/`)).json).toMatchObject({
      DeploymentStatus: 'needs_user_intervention',
      Info: 'deployment_suspended',
    })
    expect((await ask('POST', `/deployments/${waits}/continue/`)).status).toBe(202)
    await expect.poll(() => status(waits), SOON).toBe('finished_successful')
  })
})

it('gives a solution package only once it is completed, and takes only what is one', async () => {
  const base = `/environments/${KEYS.production}`
  expect((await ask('POST', `${base}/solution`, { ApplicationKeys: [] })).status).toBe(400)
  const body = { SolutionName: 'x', ApplicationKeys: [keyOf('application Shop')], IncludeReferences: true }
  const { text: key } = await ask('POST', `${base}/solution`, body)
  expect((await ask('GET', `${base}/solution/${key}`)).status).toBe(400)
  await expect
    .poll(async () => (await ask('GET', `${base}/solutionstatus/${key}`)).json['Status'], SOON)
    .toBe('Completed')
  expect((await ask('GET', `${base}/solution/${key}`)).json['url']).toMatch(/downloads/)
  const binary = { 'content-type': 'application/octet-stream' }
  expect((await ask('POST', `${base}/deployment/`, { no: 'package' }, binary)).status).toBe(400)
  expect((await ask('POST', `${base}/deployment/`, { no: 'package' })).status).toBe(400)
})
