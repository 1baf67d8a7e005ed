import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Acting } from '../../../test/support/lifetime/acting.ts'
import type { Json } from '../../core/json.ts'

const START = /^POST \/deployments\/[^/]+\/start/

let t: Acting
beforeEach(async () => {
  t = await Acting.open()
})
afterEach(() => t[Symbol.asyncDispose]())

describe('a solution package that is published', () => {
  beforeEach(() => t.begin('solution'))

  it('is refused where LifeTime does not allow it, cannot read it, or it is not what was captured', async () => {
    t.lifetime.environment('Production').binaries = false
    expect(await t.apply()).toBe('lifetime_forbidden')
    t.lifetime.environment('Production').binaries = true
    const { solution } = t.step.args as { solution: { sha256: string } }
    const good = t.step
    const altered = { ...(t.step.args as object), solution: { ...solution, sha256: 'other' } }
    t.take({ ...t.step, args: altered as unknown as Json })
    expect(await t.apply()).toBe('package_altered')
    t.take(good)
    expect(t.lifetime.deployments).toEqual([])
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
    expect(await t.apply()).toBe(null)
    expect(t.shop.serves).toBe('A')
  })

  it('is done where the modules are the captured ones, whatever LifeTime calls the application afterwards', async () => {
    expect(await t.apply()).toBe(null)
    for (const running of t.lifetime.environment('Production').running.values()) running.modified = true
    expect(t.shop.versions).toEqual(['1+', '1+', '1+'])
    expect(await t.verdict()).toMatchObject({ is: 'done' })
    expect((await t.shop.proposed(t.pin, 'together')).steps).toEqual([])
  })

  it('C16: is uploaded again where the reply was lost, and the deployment left saved is told of', async () => {
    t.fault(/^POST \/environments\/[^/]+\/deployment\//, 'lose-reply')
    expect(await t.apply()).toBe('lifetime_unreachable')
    expect(t.facts).toMatchObject([
      { kind: 'side-effect', text: expect.stringContaining('saved deployment') as string },
    ])
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
    expect(await t.apply()).toBe(null)
    expect(t.lifetime.deployments.map(d => d.status)).toEqual(['finished_successful', 'saved'])
  })

  it('C16: whose start was taken and the reply lost is followed by what was kept of it', async () => {
    t.goes({ ms: Infinity })
    t.fault(START, 'lose-reply')
    expect(await t.apply()).toBe('lifetime_unreachable')
    expect(await t.verdict()).toMatchObject({ is: 'running' })
    t.lifetime.deployments[0]?.finish()
    expect(await t.apply()).toBe(null)
    expect(t.lifetime.deployments.flatMap(d => d.commands)).toEqual(['start'])
  })
})

describe('maintenance mode', () => {
  const more = { maintenance: { reason: 'a rollback' } }
  const on = () => t.lifetime.environment('Production').maintenance

  it('is held before and after the deployments, left for their start, and let go in the end', async () => {
    await t.begin('together', more)
    const seen: boolean[] = []
    for (const step of await t.shop.steps(t.pin, 'together', more)) {
      t.take(step)
      expect(await t.apply(more)).toBe(null)
      expect(await t.verdict(more)).toMatchObject({ is: 'done' })
      seen.push(on())
    }
    expect(seen).toEqual([true, false, true, false])
  })

  it('that LifeTime refuses is not done', async () => {
    await t.begin('together', more)
    t.fault(/maintenancemode/, 403)
    expect(await t.apply(more)).toBe('lifetime_forbidden')
    expect(await t.verdict(more)).toMatchObject({ is: 'not-done' })
    expect(on()).toBe(false)
  })
})
