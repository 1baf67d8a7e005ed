import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Acting } from '../../../test/support/lifetime/acting.ts'
import { SOON } from '../../../test/support/lifetime/shop.ts'

let t: Acting
beforeEach(async () => {
  t = await Acting.open()
})
afterEach(() => t[Symbol.asyncDispose]())

describe('a deployment that ends otherwise', () => {
  beforeEach(() => t.begin('together'))

  it('with warnings is done, and they are told', async () => {
    t.goes({ ends: 'finished_with_warnings', says: 'A timer was not scheduled' })
    expect(await t.apply()).toBe(null)
    expect(t.facts).toMatchObject([
      { kind: 'note', text: expect.stringContaining('A timer was not scheduled') as string },
    ])
    expect(await t.verdict()).toMatchObject({ is: 'done' })
  })

  it('with errors is not done, and says which applications are and which are not', async () => {
    t.goes({ ends: 'finished_with_errors', partly: 1, says: 'Compilation of Orders failed' })
    expect(await t.failure()).toMatchObject({
      code: 'deployment_failed',
      why: expect.stringContaining('Compilation of Orders failed') as string,
    })
    const { is, why } = await t.verdict()
    expect(is).toBe('not-done')
    expect(why).toContain('Orders 2 runs, not Orders 1')
    expect(why).not.toContain('Core 2')
    expect(await t.apply()).toBe(null)
    expect(t.lifetime.deployments.map(d => d.status)).toEqual(['finished_successful', 'finished_with_errors'])
  })

  it('with errors, or forced, though the versions are there: a person is asked', async () => {
    for (const ends of ['finished_with_errors', 'force_finished'] as const) {
      t.goes({ ends, partly: 3 })
      expect(await t.apply()).toBe('deployment_failed')
      expect(await t.verdict()).toMatchObject({ is: 'unknown', why: expect.stringContaining(ends) as string })
      t.shop.upgrade()
    }
  })

  it('by somebody who aborts it is not done', async () => {
    t.goes({ ms: Infinity, deployingAfter: Infinity })
    const applied = t.apply()
    await expect.poll(() => t.lifetime.deployments[0]?.status, SOON).toBe('running')
    t.lifetime.deployments[0]?.abort()
    expect(await applied).toBe('deployment_failed')
    expect(await t.verdict()).toMatchObject({ is: 'not-done', why: expect.stringContaining('is aborted') as string })
  })

  it('never: it is given up on in time, and followed', async () => {
    t.goes({ ms: Infinity })
    const limit = new AbortController()
    const applied = t.apply({}, { signal: limit.signal })
    await expect.poll(() => t.lifetime.deployments[0]?.status, SOON).toBe('running')
    limit.abort(new Error('out of time'))
    expect(await applied).toBe('Error: out of time')
    expect(await t.verdict()).toMatchObject({ is: 'running' })
  })

  it('while the token has expired: nothing is known of it, and nothing is begun again', async () => {
    t.goes({ ms: Infinity })
    t.fault(/^GET .*\/status\//, 401, { times: 99 })
    expect(await t.apply()).toBe('lifetime_token')
    expect(await t.verdict()).toMatchObject({ is: 'unknown', why: expect.stringContaining('401') as string })
    t.lifetime.faults.length = 0
    expect(await t.verdict()).toMatchObject({ is: 'running' })
    t.lifetime.deployments[0]?.finish()
    expect(await t.verdict()).toMatchObject({ is: 'done' })
    expect(t.lifetime.deployments.flatMap(d => d.commands)).toEqual(['start'])
  })

  it('well, while the environment runs something else: that is no success', async () => {
    t.goes({ ends: 'finished_successful', partly: 2 })
    expect(await t.apply({ limits: { settle: '50ms' } })).toBe('versions_not_there')
    expect(await t.verdict()).toMatchObject({ is: 'not-done', why: expect.stringContaining('Shop 2 runs') as string })
  })

  it('well, with a module that is not the one that was captured', async () => {
    expect(await t.apply()).toBe(null)
    const running = [...t.lifetime.environment('Production').running.values()].find(
      r => r.base.application.name === 'Shop',
    )
    if (running === undefined) throw new Error('no Shop')
    const [first, ...others] = running.modules
    running.modules = [
      { ...(first ?? running.modules[0] ?? raise()), key: 'another-key-with-the-same-content' },
      ...others,
    ]
    expect(await t.verdict()).toMatchObject({ is: 'done' })
    const [again] = running.modules
    running.modules = [{ ...(again ?? raise()), key: 'yet-another-key', hash: 'another hash' }, ...others]
    expect(await t.verdict()).toMatchObject({
      is: 'not-done',
      why: expect.stringContaining('the module Shop has another version') as string,
    })
  })
})

function raise(): never {
  throw new Error('no module')
}

describe('a deployment that waits for a person', () => {
  beforeEach(() => t.begin('together'))

  it.each([
    ['business_process_impact', 'business processes'],
    ['deployment_prepared', 'first stage'],
    ['needs_configuration_or_confirmation', 'settings of applications'],
    ['deployment_suspended', 'a step of it failed'],
    ['something_new', 'something_new'],
  ])('is never continued for that person: %s', async (asks, says) => {
    t.goes({ asks, says: 'The process Invoice has 3 active instances' })
    expect(await t.apply()).toBe('needs_person')
    const { is, why } = await t.verdict()
    expect(is).toBe('unknown')
    expect(why).toContain(says)
    expect(why).toContain('The process Invoice has 3 active instances')
    expect(t.lifetime.deployments.flatMap(d => d.commands)).toEqual(['start'])
    t.lifetime.deployments[0]?.resume()
    expect(await t.apply()).toBe(null)
    expect(t.lifetime.deployments).toHaveLength(1)
    expect(await t.verdict()).toMatchObject({ is: 'done' })
  })

  it('goes on with its second stage where the settings say so, and with nothing else', async () => {
    t.goes({ asks: 'deployment_prepared' })
    expect(await t.apply({ secondStage: 'continue' })).toBe(null)
    expect(t.lifetime.deployments.flatMap(d => d.commands)).toEqual(['start', 'continue'])
    t.shop.upgrade()
    t.goes({ asks: 'deployment_suspended' })
    expect(await t.apply({ secondStage: 'continue' })).toBe('needs_person')
  })
})
