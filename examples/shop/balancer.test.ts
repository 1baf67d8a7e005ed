import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { signal, until } from './lib/processes.ts'
import { pidOfService, startService } from './lib/services.ts'
import { run } from './world/run.ts'
import { buildWorld, type World } from './world.ts'

let root: string
let world: World

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'shop-'))
  world = await buildWorld(root)
})
beforeEach(() => world.setWeights({ live: 100, maintenance: 0 }))
afterAll(async () => {
  await world.teardown()
  await rm(root, { recursive: true })
})

async function put(weights: unknown, ifMatch?: string): Promise<number> {
  const headers = ifMatch === undefined ? {} : { 'if-match': ifMatch }
  const body = JSON.stringify(weights)
  const response = await fetch(`${world.adminUrl}/admin/weights`, { method: 'PUT', headers, body })
  await response.body?.cancel()
  return response.status
}

async function etag(): Promise<string> {
  const response = await fetch(`${world.adminUrl}/admin/state`)
  await response.body?.cancel()
  return response.headers.get('etag') ?? ''
}

/** How many of so many requests each side answered. */
async function shares(count: number): Promise<{ live: number; maintenance: number }> {
  const seen = { live: 0, maintenance: 0 }
  for (let i = 0; i < count; i += 1) {
    const response = await fetch(`${world.url}/version`)
    await response.body?.cancel()
    seen[response.headers.get('x-maintenance') === 'yes' ? 'maintenance' : 'live'] += 1
  }
  return seen
}

it('shares requests out smoothly: of every four exactly one', async () => {
  await world.setWeights({ live: 25, maintenance: 75 })
  for (let i = 0; i < 5; i += 1) expect(await shares(4)).toEqual({ live: 1, maintenance: 3 })
  await world.setWeights({ live: 0, maintenance: 100 })
  expect(await shares(10)).toEqual({ live: 0, maintenance: 10 })
  await world.setWeights({ live: 100, maintenance: 0 })
  expect(await shares(10)).toEqual({ live: 10, maintenance: 0 })
})

it('says during maintenance what it is and when to come back, to people and to programs', async () => {
  await world.setWeights({ live: 0, maintenance: 100 })
  const page = await fetch(world.url, { headers: { accept: 'text/html' } })
  expect(page.status).toBe(503)
  expect(page.headers.get('retry-after')).toBe('1')
  expect(page.headers.get('x-maintenance')).toBe('yes')
  expect(await page.text()).toContain('<h1>Back soon</h1>')
  const program = await fetch(`${world.url}/orders`, { method: 'POST', body: '{}' })
  expect(await program.json()).toMatchObject({ maintenance: true })
})

it('changes weights only for those who saw the state that they change', async () => {
  const seen = await etag()
  expect(await put({ live: 50, maintenance: 50 })).toBe(428)
  expect(await put({ live: 50, maintenance: 50 }, seen)).toBe(200)
  expect(await put({ live: 60, maintenance: 40 }, seen)).toBe(412)
  expect((await world.balancer()).weights).toEqual({ live: 50, maintenance: 50 })
})

it.each([
  [{ live: 100 }],
  [{ live: 0, maintenance: 0 }],
  [{ live: -1, maintenance: 1 }],
  [{ live: 'all', maintenance: 0 }],
  [{ live: 1, maintenance: 1, canary: 1 }],
  [null],
])('refuses %j as weights', async weights => {
  const before = await world.balancer()
  expect(await put(weights, await etag())).toBe(400)
  expect((await world.balancer()).weights).toEqual(before.weights)
})

it('keeps its weights and their version over a restart', async () => {
  await world.setWeights({ live: 25, maintenance: 75 })
  const before = await etag()
  await run([world.paths.service, 'restart', 'balancer'], root)
  expect(await etag()).toBe(before)
  expect((await world.balancer()).weights).toEqual({ live: 25, maintenance: 75 })
})

it('goes to the other instances when one refuses connections, and takes it back once it answers', async () => {
  signal(pidOfService(root, 'b') ?? 0, 'SIGKILL')
  await until(() => pidOfService(root, 'b') === null, 3000)
  expect(await shares(12)).toEqual({ live: 12, maintenance: 0 })
  await startService(root, 'b')
  const up = async () => (await world.balancer()).upstreams.every(upstream => upstream.up)
  expect(await until(up, 5000)).toBe(true)
})

it('answers 502 when no instance is there', async () => {
  for (const name of ['a', 'b', 'c']) await run([world.paths.service, 'stop', name], root)
  const response = await fetch(`${world.url}/version`)
  expect(response.status).toBe(502)
  expect(await response.json()).toEqual({ error: 'no instance accepts connections' })
  await Promise.all(['a', 'b', 'c'].map(name => startService(root, name)))
})
