import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryBackups, memoryVault } from '../../../test/conformance/stores.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Need, Proposal, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { config, type Pin } from './config.ts'
import { trafficHttp } from './index.ts'
import { TestSwitch } from './switch.fixture.ts'

const ctx = { environment: 'test', component: 'traffic', baseDir: '/', stateDir: '/tmp' }
const stores = { backups: memoryBackups(), vault: memoryVault() }
const drained: Need = { of: 'traffic', what: 'drained', by: 'app' }

describe('D7: what a switch shows is not all that it is about to do', () => {
  let server: TestSwitch
  let target: Target<Pin>
  let pin: Pin

  beforeEach(async () => {
    server = await new TestSwitch().start()
    const settings = config.parse({
      read: { url: `${server.url}/admin/state`, weights: '/weights' },
      write: { url: `${server.url}/admin/weights` },
      maintenance: 'maintenance',
    })
    target = await trafficHttp.open(settings, { ...ctx, ...stores })
    const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
    pin = await target.capture(await target.observe(act.signal), act)
  })
  afterEach(() => server.stop())

  async function ask(needs: readonly Need[]): Promise<Proposal> {
    const { signal } = new AbortController()
    const rest = { rung: 'weights', dependents: [], dependencies: [], upgradedAt: null, mode: 'full' as const, signal }
    return target.propose({ from: await target.observe(signal), to: pin, release: 'v1', needs, ...rest })
  }

  function stepOf(proposal: Proposal, id: string): Step {
    const step = proposal.steps.find(s => s.id === `traffic/${id}`)
    if (step === undefined) throw new Error(`no step ${id}`)
    return step
  }

  it('is not believed that users are away while a return that it accepted may still show', async () => {
    const proposal = await ask([drained])
    const [drain, back] = [stepOf(proposal, 'drain'), stepOf(proposal, 'return/100')]
    const away = stepOf(proposal, 'away')
    await target.apply(drain, stepAct(drain))
    server.lateMs = 1_500
    // Killed right after the switch took it, before it shows.
    const killed = new AbortController()
    const dies = target.apply(back, { ...stepAct(back), signal: killed.signal, note: async () => killed.abort() })
    await expect(dies).rejects.toThrow()
    expect(server.weights).toMatchObject({ maintenance: 100 })
    const handles = new Map<string, Json>()
    const act = () => stepAct(away, 'r1', handles)
    expect(await target.verify(away, act())).toMatchObject({ is: 'not-done' })
    await target.apply(away, act())
    expect(await target.verify(away, act())).toMatchObject({ is: 'done' })
    // In another pass it is another word.
    expect(await target.verify(away, { ...act(), earlier: true })).toMatchObject({ is: 'not-done' })
    await expect.poll(() => server.writes.length, { timeout: 10_000 }).toBe(3)
    expect(server.weights).toMatchObject({ live: 0, maintenance: 100 })
  })

  it('takes the traffic of a side that the release did not have away, and names it', async () => {
    server.weights = { live: 0, canary: 0, maintenance: 0, green: 100 }
    const proposal = await ask([])
    expect(proposal.findings.find(f => f.code === 'side_added')?.what).toContain('green')
    for (const step of ordered(proposal)) await target.apply(step, stepAct(step))
    expect(server.weights).toEqual({ live: 100, canary: 0, maintenance: 0, green: 0 })
    expect((await ask([])).steps).toEqual([])
  })
})
