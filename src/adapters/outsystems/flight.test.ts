import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered } from '../../../test/conformance/walk.ts'
import { Acting } from '../../../test/support/lifetime/acting.ts'
import type { Course, Deployment } from '../../../test/support/lifetime/deployments.ts'
import { codes, SOON } from '../../../test/support/lifetime/shop.ts'
import type { Pin } from './pin.ts'

const signal = new AbortController().signal

let t: Acting
let pin: Pin
beforeEach(async () => {
  t = await Acting.open()
  pin = await t.shop.captured()
})
afterEach(() => t[Symbol.asyncDispose]())

/** CI deploys the bad Shop into production. */
function deploying(course: Course): Deployment {
  return t.lifetime.started('Quality', 'Production', [{ application: 'Shop', label: '2' }], course, 'release 2')
}

const aborts = () => t.lifetime.requests.filter(r => r.endsWith('/abort/')).length

async function proposed(more: object = {}) {
  const proposal = await t.shop.proposed(pin, 'applications', more)
  const [first] = ordered(proposal)
  if (first !== undefined) t.take(first)
  return { ...proposal, ids: ordered(proposal).map(s => s.id) }
}

describe('C2: a deployment that goes on before the rollback', () => {
  it('is seen, with who does what since when', async () => {
    const going = deploying({ ms: Infinity })
    await using target = await t.shop.target()
    const { inFlight } = await target.observe(signal)
    expect(inFlight).toEqual([
      { what: `the deployment ${going.key} of lt_api_account "release 2"`, since: going.startedOn?.toISOString() },
    ])
    t.lifetime.deployments.length = 0
    expect((await target.observe(signal)).inFlight).toEqual([])
  })

  it('is stopped as the first step, and what it would have deployed is looked at again', async () => {
    const going = deploying({ ms: Infinity, deployingAfter: Infinity })
    const { ids, settles, findings } = await proposed()
    expect(ids).toEqual([`apps/settle/${going.key}`, 'apps/deploy/Shop'])
    expect(settles).toEqual([`the deployment ${going.key} of lt_api_account "release 2"`])
    expect(findings.map(f => f.code)).toContain('not_checked_ahead')
    expect(await t.verdict()).toMatchObject({ is: 'not-done' })
    expect(await t.apply()).toBe(null)
    expect(await t.verdict()).toMatchObject({ is: 'done', why: `the deployment ${going.key} is aborted` })
    expect(going.commands).toEqual(['abort'])
    expect(t.lifetime.running('Production', 'Shop')).toBe('1')
    expect((await proposed()).ids).toEqual([])
  })

  it('that cannot be stopped any more is waited for, which is told', async () => {
    const going = deploying({ ms: Infinity, deployingAfter: 0 })
    await proposed()
    const applied = t.apply()
    await expect.poll(aborts, SOON).toBe(1)
    going.finish()
    expect(await applied).toBe(null)
    expect(going.commands).toEqual([])
    expect(t.facts[0]?.text).toContain('does not stop the deployment')
    expect(await t.verdict()).toMatchObject({ is: 'done' })
    expect(t.lifetime.running('Production', 'Shop')).toBe('2')
    expect((await proposed()).ids).toEqual(['apps/deploy/Shop'])
  })

  it('is waited for where the settings say so', async () => {
    const going = deploying({ ms: Infinity, deployingAfter: Infinity })
    const { ids } = await proposed({ inFlight: 'wait' })
    expect(ids[0]).toBe(`apps/settle/${going.key}`)
    t.lifetime.requests.length = 0
    const applied = t.apply({ inFlight: 'wait' })
    await expect.poll(() => t.lifetime.requests.filter(r => r.endsWith('/status/')).length, SOON).toBeGreaterThan(2)
    going.finish()
    expect(await applied).toBe(null)
    expect(going.commands).toEqual([])
    expect(going.status).toBe('finished_successful')
  })

  it('blocks where the settings say so: nothing settles it', async () => {
    deploying({ ms: Infinity })
    const { ids, settles } = await proposed({ inFlight: 'refuse' })
    expect(ids).toEqual(['apps/deploy/Shop'])
    expect(settles).toEqual([])
  })

  it('that waits for a person is not waited for without end, but can be stopped', async () => {
    const going = deploying({ asks: 'deployment_suspended' })
    const waits = await t.shop.proposed(pin, 'applications', { inFlight: 'wait' })
    expect(codes(waits)).toContain('blocker waits_for_person')
    await proposed()
    expect(await t.apply()).toBe(null)
    expect(going.status).toBe('aborted')
  })

  it('that begins to wait for a person while it is waited for is that person’s', async () => {
    const going = deploying({ ms: Infinity, deployingAfter: 0 })
    await proposed()
    const applied = t.apply()
    await expect.poll(aborts, SOON).toBe(1)
    Object.defineProperty(going, 'status', { get: () => 'needs_user_intervention' })
    going.info = 'deployment_suspended'
    expect(await applied).toBe('needs_person')
    expect(await t.verdict()).toMatchObject({
      is: 'unknown',
      why: expect.stringContaining('continued or aborted') as string,
    })
  })

  it('whose stopping hangs is followed, not told again, and given up on in time', async () => {
    const going = deploying({ ms: Infinity, deployingAfter: Infinity, abortHangs: true })
    await proposed()
    for (let process = 1; process <= 2; process++) {
      t.lifetime.requests.length = 0
      const limit = new AbortController()
      const applied = t.apply({}, { signal: limit.signal })
      await expect.poll(() => t.lifetime.requests.filter(r => r.endsWith('/status/')).length, SOON).toBeGreaterThan(2)
      limit.abort(new Error('out of time'))
      expect(await applied).toBe('Error: out of time')
      expect(await t.verdict()).toMatchObject({ is: 'running', why: `the deployment ${going.key} is aborting` })
    }
    expect(going.commands).toEqual(['abort'])
  })

  it('of a solution package may hold anything: everything is looked at again', async () => {
    const going = deploying({ ms: Infinity })
    Object.defineProperty(going, 'binary', { value: true })
    const { ids } = await proposed()
    expect(ids).toEqual([`apps/settle/${going.key}`, 'apps/deploy/Core', 'apps/deploy/Orders', 'apps/deploy/Shop'])
  })
})
