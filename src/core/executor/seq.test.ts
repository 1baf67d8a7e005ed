import { describe, expect, it } from 'vitest'
import { rollback } from '../../../test/support/rollback.ts'
import { scripted, sideBySide } from '../../../test/support/scripted.ts'
import type { Node } from '../contract.ts'

const HOSTS = ['web-1', 'web-2', 'web-3', 'web-4', 'web-5', 'web-6']

/** Batches of three, one after the other, each of which tolerates what all of them together do. */
function batches(maxFailures: number, limit = 3): Node {
  const batch = (...hosts: string[]) => sideBySide('app', hosts, { limit, maxFailures })
  return { seq: [batch('web-1', 'web-2', 'web-3'), batch('web-4', 'web-5', 'web-6')], maxFailures }
}

async function over(node: Node, bad: readonly string[]) {
  const app = scripted('app', {
    steps: Object.fromEntries(HOSTS.map(host => [host, { retries: 0 }])),
    phases: { code: node },
    apply: ({ id }) => {
      if (bad.some(host => id === `app/${host}`)) throw new Error(`${id.slice(4)} is full`)
    },
  })
  const run = await rollback({ systems: {}, targets: { app: app.target } })
  await run.begin()
  const { state } = await run.settled()
  return { run, state, applied: app.applied.map(id => id.slice(4)) }
}

describe('C7: failures in batches one after the other', () => {
  it('go on while all of them together are within what is tolerated, and are listed', async () => {
    const { run, state, applied } = await over(batches(2), ['web-2', 'web-5'])
    expect({ state, applied: applied.toSorted() }).toEqual({
      state: 'succeeded',
      applied: ['web-1', 'web-3', 'web-4', 'web-6'],
    })
    expect((await run.output()).fenced).toEqual(['app/web-2', 'app/web-5'])
  })

  it('stop the batch in which they become too many, and name those of the batches before', async () => {
    const { run, state, applied } = await over(batches(1, 1), ['web-2', 'web-4'])
    expect({ state, applied }).toEqual({ state: 'waiting', applied: ['web-1', 'web-3'] })
    const { step, why } = await run.asked()
    const said = `${step}: ${why}`
    for (const host of ['web-2', 'web-4']) expect(said).toContain(`app/${host}: ${host} is full`)
  })

  it('are counted over pars inside of pars too', async () => {
    const lane = (...hosts: string[]) => sideBySide('app', hosts, { maxFailures: 1 })
    const par = [lane('web-1', 'web-2'), lane('web-3', 'web-4')].map((node, i) => ({
      id: `lane-${i}`,
      after: [],
      node,
    }))
    const both = { par, limit: 2, maxFailures: 0 }
    expect((await over({ seq: [both, lane('web-5', 'web-6')] }, ['web-1', 'web-3'])).state).toBe('succeeded')
    const counted = await over({ seq: [both, lane('web-5', 'web-6')], maxFailures: 1 }, ['web-1', 'web-3'])
    expect(counted.state).toBe('waiting')
    expect(counted.applied).not.toContain('web-5')
  })

  it('before a gate that fails are said together with it', async () => {
    const gate: Node = { gate: 'healthy', forMs: 0, onFail: { apply: [], then: 'ask' } }
    const app = scripted('app', {
      steps: { 'web-1': {}, 'web-2': {} },
      phases: { code: { seq: [sideBySide('app', ['web-1', 'web-2'], { maxFailures: 1 }), gate], maxFailures: 1 } },
      apply: ({ id }) => {
        if (id === 'app/web-1') throw new Error('web-1 is full')
      },
    })
    const bad = () => ({ ok: false, value: 0, ms: 1, text: 'too many errors' })
    const run = await rollback({ systems: {}, targets: { app: app.target }, gates: { healthy: bad } })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    const { why } = await run.asked()
    expect(why).toContain('too many errors')
    expect(why).toContain('web-1 is full')
  })
})
