import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Acting } from '../../../test/support/lifetime/acting.ts'
import { LifeTime } from '../../../test/support/lifetime/server.ts'
import { SOON } from '../../../test/support/lifetime/shop.ts'
import type { Json } from '../../core/json.ts'

const signal = new AbortController().signal
const CREATE = /^POST \/deployments\/$/
const START = /^POST \/deployments\/[^/]+\/start/

let t: Acting
beforeEach(async () => {
  t = await Acting.open()
})
afterEach(() => t[Symbol.asyncDispose]())

describe('a LifeTime that cannot be asked', () => {
  const observed = async (more: object = {}) => {
    await using target = await t.shop.target(more)
    return target.observe(signal)
  }

  it('is asked again where no answer came or it failed, and not where it refused', async () => {
    for (const does of ['cut', 503, 429] as const) t.fault(/applications/, does, { headers: { 'retry-after': '0.01' } })
    expect((await observed()).summary).toBe('Production: Core 1, Orders 1, Shop 1')
    for (const [does, code] of [
      [401, 'lifetime_token'],
      [403, 'lifetime_forbidden'],
      [404, 'lifetime_gone'],
      [400, 'lifetime_refused'],
    ] as const) {
      t.lifetime.requests.length = 0
      t.fault(/applications/, does, { says: `it says ${does}` })
      await expect(observed()).rejects.toMatchObject({
        code,
        why: `it says ${does}`,
        next: expect.any(String) as string,
      })
      expect(t.lifetime.requests.filter(r => r.includes('/applications/'))).toHaveLength(1)
    }
  })

  it('is told as what it is: not there, not answering, failing, answering something else', async () => {
    const limits = { request: '1s', tries: 2 }
    t.fault(/applications/, 'hang', { times: 2 })
    await expect(observed({ limits })).rejects.toMatchObject({
      code: 'lifetime_unreachable',
      why: 'no answer within 1000 ms',
    })
    t.fault(/applications/, 500, { times: 2, says: 'out of memory' })
    await expect(observed({ limits })).rejects.toMatchObject({ code: 'lifetime_failed', why: 'out of memory' })
    t.fault(/applications/, 429, { times: 9 })
    await expect(observed({ limits })).rejects.toMatchObject({ code: 'lifetime_busy' })
    t.lifetime.faults.length = 0
    t.lifetime.started('Quality', 'Production', [{ application: 'Shop', label: '1' }], { ms: Infinity }).info = ''
    const [going] = t.lifetime.deployments
    Object.defineProperty(going, 'status', { get: () => 'finished_somehow' })
    await expect(observed({ limits })).rejects.toMatchObject({ code: 'lifetime_answer' })
  })

  it('shows no token, wherever it echoes it', async () => {
    t.fault(/applications/, 403, { says: `no rights for ${LifeTime.token}` })
    const error: unknown = await observed().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'lifetime_forbidden', why: 'no rights for [secret]' })
  })

  it('names what it does not have', async () => {
    await expect(observed({ environment: 'Prod' })).rejects.toMatchObject({
      code: 'no_such_environment',
      why: 'the service account sees Development, Quality, Production',
    })
    expect((await observed({ applications: ['Shop', 'Shup'] })).summary).toBe('Production: Shop 1')
    await expect(t.shop.captured({ applications: ['Shop', 'Shup'] })).rejects.toMatchObject({
      code: 'no_such_application',
      message: expect.stringContaining('Shup') as string,
    })
  })

  it('is given time between requests where a pace is set', async () => {
    const begun = performance.now()
    await observed({ limits: { pace: '60ms' } })
    expect(performance.now() - begun).toBeGreaterThan(60 * 3)
  })

  it('leaves a verdict unknown', async () => {
    await t.begin('together')
    t.fault(/GET/, 403, { times: 9 })
    expect(await t.verdict()).toMatchObject({ is: 'unknown' })
  })
})

describe('a deployment that is not made', () => {
  beforeEach(() => t.begin('together'))

  it('is refused in the words of LifeTime, and nothing was done', async () => {
    for (const [does, code] of [
      [400, 'lifetime_refused'],
      [403, 'lifetime_forbidden'],
      [404, 'lifetime_gone'],
      [409, 'lifetime_conflict'],
      [500, 'lifetime_failed'],
    ] as const) {
      t.fault(CREATE, does)
      expect(await t.apply()).toBe(code)
      expect(await t.verdict()).toMatchObject({ is: 'not-done' })
    }
    expect(t.lifetime.deployments).toEqual([])
    expect(t.shop.serves).toBe('B')
  })

  it('C16: is found by its notes where the reply was lost, and not made twice', async () => {
    t.fault(CREATE, 'lose-reply')
    expect(await t.apply()).toBe('lifetime_unreachable')
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
    expect(await t.apply()).toBe(null)
    expect(t.lifetime.deployments).toHaveLength(1)
    expect(t.lifetime.deployments[0]?.commands).toEqual(['start'])
    expect(await t.verdict()).toMatchObject({ is: 'done' })
  })

  it('C16: that was made only after the connection broke is used, or deleted, and never started besides another', async () => {
    t.fault(CREATE, 'late')
    expect(await t.apply()).toBe('lifetime_unreachable')
    expect(await t.apply()).toBe(null)
    await expect.poll(() => t.lifetime.deployments.length, SOON).toBeGreaterThan(0)
    expect(t.lifetime.deployments.flatMap(d => d.commands)).toEqual(['start'])
    expect(t.shop.serves).toBe('A')
  })

  it('of a plan that had other applications is not taken for this one', async () => {
    t.fault(CREATE, 'lose-reply')
    expect(await t.apply()).toBe('lifetime_unreachable')
    const args = t.step.args as { applications: Record<string, unknown> }
    const [key = ''] = Object.keys(args.applications)
    t.take({ ...t.step, args: { ...args, applications: { [key]: args.applications[key] } } as Json })
    expect(await t.apply()).toBe(null)
    const left = t.lifetime.deployments.map(d => [d.status, d.operations.length])
    expect(left).toEqual([['finished_successful', 1]])
  })
})

describe('a deployment that is not started', () => {
  beforeEach(() => t.begin('together'))

  it('has conflicts by now: it is deleted, and they are named', async () => {
    const version = t.lifetime.infra.applications.find(a => a.name === 'Orders')?.versions.find(v => v.label === '1')
    Object.assign(version ?? {}, { needs: { Core: ['2'] } })
    expect(await t.failure()).toMatchObject({
      code: 'deployment_conflicts',
      why: 'Orders 1 needs Core 2, which has the version 1.',
    })
    expect(t.lifetime.deployments).toEqual([])
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
  })

  it('is refused in maintenance mode, and next says so', async () => {
    t.lifetime.environment('Production').maintenance = true
    expect(await t.failure()).toMatchObject({
      code: 'not_started',
      why: expect.stringContaining('is in maintenance mode') as string,
    })
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
    t.lifetime.environment('Production').maintenance = false
    expect(await t.apply()).toBe(null)
    expect(t.lifetime.deployments).toHaveLength(1)
  })

  it('meets another one that goes on: seen before, or by LifeTime itself', async () => {
    t.lifetime.manner.parallel = false
    const other = t.lifetime.started('Quality', 'Production', [{ application: 'Shop', label: '2' }], {
      ms: Infinity,
    })
    expect(await t.apply()).toBe('deployment_busy')
    expect(t.lifetime.deployments).toEqual([other])
    // It begins in the very moment between the look and the start.
    t.lifetime.deployments.length = 0
    t.fault(START, 409, { says: 'Another deployment is running' })
    expect(await t.apply()).toBe('lifetime_conflict')
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
  })

  it('C16: whose start was taken and the reply lost is followed, not started again', async () => {
    t.goes({ ms: Infinity })
    t.fault(START, 'lose-reply')
    expect(await t.apply()).toBe('lifetime_unreachable')
    expect(await t.verdict()).toMatchObject({ is: 'running' })
    t.lifetime.deployments[0]?.finish()
    expect(await t.apply()).toBe(null)
    expect(t.lifetime.deployments.flatMap(d => d.commands)).toEqual(['start'])
    expect(await t.verdict()).toMatchObject({ is: 'done' })
  })

  it('C16: is not touched by a process that has lost the run', async () => {
    let guards = 0
    const lost = {
      guard: () => {
        if (++guards > 2) throw new Error('lost the lock')
      },
    }
    expect(await t.apply({}, lost)).toContain('lost the lock')
    expect(t.lifetime.deployments.map(d => d.status)).toEqual(['saved'])
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
  })
})
