import { describe, expect, it } from 'vitest'
import { rollback } from '../../../test/support/rollback.ts'
import { scripted, sideBySide, usersAway } from '../../../test/support/scripted.ts'
import type { Node } from '../contract.ts'
import { BackoutError } from '../errors.ts'

const HOSTS = ['web-1', 'web-2', 'web-3', 'web-4']
const GATE: Node = { gate: 'healthy', forMs: 0, onFail: { apply: [], then: 'ask' } }

/** Hosts of which some refuse, each with a fence. */
async function over(node: Node, bad: string[], more: { broken?: boolean; missing?: boolean; traffic?: boolean } = {}) {
  const fenced: string[] = []
  const fence = async ({ id }: { id: string }) => {
    if (more.broken === true) throw new Error('the load balancer does not answer')
    if (more.missing === true) throw new BackoutError({ code: 'fence_missing', what: 'no command for it' })
    fenced.push(id)
  }
  const app = scripted('app', {
    steps: Object.fromEntries(HOSTS.map(host => [host, { onUnknown: 'fence' as const }])),
    phases: { code: node },
    apply: ({ id }) => {
      if (bad.includes(id.slice(4))) throw new Error('sudo wants a password')
    },
    fence,
  })
  const asked = { times: 0 }
  const healthy = () => ({ ok: true, value: ++asked.times, ms: 1, text: 'ok' })
  const traffic = more.traffic === true ? { traffic: scripted('traffic', usersAway()).target } : {}
  const run = await rollback({ systems: {}, targets: { app: app.target, ...traffic }, gates: { healthy } })
  await run.begin()
  return { run, fenced, asked, state: (await run.settled()).state }
}

describe('E5: a target that failed and is gone on without', () => {
  const both = sideBySide('app', ['web-1', 'web-2'], { maxFailures: 1 })

  it('is kept away from users, for it serves what is left', async () => {
    const { run, fenced, state } = await over(both, ['web-2'])
    expect({ state, fenced }).toEqual({ state: 'succeeded', fenced: ['app/web-2'] })
    expect(await run.of('fenced')).toMatchObject([{ step: 'app/web-2', fenced: true }])
    expect(await run.of('tolerated')).toMatchObject([
      { what: 'app/web-2', why: expect.stringMatching(/sudo wants a password.*; kept away from users/) },
    ])
  })

  it('is not gone on without where it could not be kept away', async () => {
    const more = { broken: true }
    const { run, fenced, state } = await over(both, ['web-2'], more)
    expect(state).toBe('waiting')
    expect(await run.of('fenced')).toMatchObject([{ fenced: false, fence: 'the load balancer does not answer' }])
    expect((await run.asked()).why).toContain('could not be kept away from users: the load balancer does not answer')
    more.broken = false
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
    expect(fenced).toEqual(['app/web-2'])
  })

  it('is named where nothing is there that could keep it away', async () => {
    const { run, state } = await over(both, ['web-2'], { missing: true })
    expect(state).toBe('succeeded')
    expect(await run.output()).toMatchObject({ fenced: ['app/web-2'], loose: ['app/web-2'] })
  })

  it('is kept away once more where users are let back, for the balancer may be the same', async () => {
    const { run, state, fenced } = await over(both, ['web-2'], { traffic: true })
    expect(state).toBe('succeeded')
    expect(fenced).toEqual(['app/web-2', 'app/web-2'])
    const order = (await run.events()).flatMap(({ type, data }) => {
      const { step } = data as { step?: string }
      return type === 'fenced' || step === 'traffic/return' ? [`${type} ${step}`] : []
    })
    expect(order).toEqual([
      'fenced app/web-2',
      'step-begun traffic/return',
      'step-done traffic/return',
      'fenced app/web-2',
    ])
  })

  it('is fenced once, also where the run is interrupted after', async () => {
    const { run, fenced, state } = await over({ seq: [both, { step: 'app/web-3' }], maxFailures: 1 }, [
      'web-2',
      'web-3',
    ])
    expect(state).toBe('waiting')
    await run.die()
    await run.settled()
    expect(fenced).toEqual(['app/web-2'])
  })

  it('is left in its place where it is not gone on without: it may be all there is', async () => {
    const { fenced, state } = await over(sideBySide('app', HOSTS), HOSTS)
    expect({ state, fenced }).toEqual({ state: 'waiting', fenced: [] })
  })
})

describe('E5: a gate after a batch of which nobody is on the release', () => {
  const batch = (...hosts: string[]) => sideBySide('app', hosts, { maxFailures: 2 })

  it('is inconclusive after a canary that failed, and nobody else gets the release', async () => {
    const node = { seq: [batch('web-1'), GATE, batch('web-2', 'web-3', 'web-4')], maxFailures: 2 }
    const { run, asked, state } = await over(node, ['web-1'])
    expect({ state, asked: asked.times }).toEqual({ state: 'waiting', asked: 0 })
    expect(await run.asked()).toMatchObject({
      about: 'gate',
      why: expect.stringMatching(
        /inconclusive.*nobody of the batch before it is on the release.*sudo wants a password/,
      ),
    })
    expect((await run.of('step-begun')).map(e => e['step'])).toEqual(['app/web-1'])
    await run.answer('skip')
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.of('step-done')).toHaveLength(3)
  })

  it('is inconclusive after any batch of several that all failed', async () => {
    const { state } = await over({ seq: [batch('web-1'), batch('web-2', 'web-3'), GATE], maxFailures: 2 }, [
      'web-2',
      'web-3',
    ])
    expect(state).toBe('waiting')
  })

  it('is asked where one alone failed after others that are on the release, and where some of a batch are', async () => {
    const one = await over({ seq: [batch('web-1'), GATE, batch('web-2'), GATE, batch('web-3')], maxFailures: 2 }, [
      'web-2',
    ])
    expect({ state: one.state, asked: one.asked.times }).toEqual({ state: 'succeeded', asked: 2 })
    const some = await over({ seq: [batch('web-1', 'web-2'), GATE, batch('web-3')], maxFailures: 2 }, ['web-2'])
    expect({ state: some.state, asked: some.asked.times }).toEqual({ state: 'succeeded', asked: 1 })
  })
})
