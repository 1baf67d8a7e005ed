import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { contextIn } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import type { Observation, Proposal } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { apply, verify } from './apply.ts'
import { config } from './config.ts'
import { type Fleet, openFleet } from './fleet.ts'
import { capture, observe } from './observe.ts'
import { propose } from './propose.ts'

const signal = new AbortController().signal
const NAMES = ['front', 'back']

/** As if one host had not answered when the plan was made; its steps then meet it as it is. */
function without(seen: Observation, host: string): Observation {
  const { hosts } = seen.state as { hosts: Record<string, Json> }
  const { slots, ...rest } = seen.detail as { slots: Record<string, Record<string, string>> }
  const { [host]: _, ...others } = slots
  return { ...seen, state: { hosts: { ...hosts, [host]: { unreachable: true } } }, detail: { ...rest, slots: others } }
}

describe('C7: a blue-green host that was out of reach when the plan was made', () => {
  let shop: Releases

  /** Two hosts on this machine; the one at the back may hold the releases the other way round. */
  async function fleetOf(more: object, crossed: boolean): Promise<Fleet> {
    for (const host of NAMES) {
      const swapped = crossed && host === 'back'
      await shop.unpack(host, swapped ? 'green' : 'blue', 'v1.2.9')
      await shop.unpack(host, swapped ? 'blue' : 'green', 'v1.3.0')
      await shop.link(host, 'live', swapped ? 'green' : 'blue')
    }
    const limits = { settle: '0s', start: '5s', stop: '5s' }
    const settings = { hosts: NAMES, root: shop.root, strategy: 'blue-green', maxFailures: 1, limits, ...more }
    const members = NAMES.map(name => ({ name, address: null }))
    return openFleet(config.parse(settings), members, contextIn(shop.dir))
  }

  const upgraded = async (crossed: boolean): Promise<void> => {
    for (const host of NAMES) await shop.link(host, 'live', crossed && host === 'back' ? 'blue' : 'green')
  }

  async function planned(fleet: Fleet, crossed: boolean): Promise<Proposal> {
    const pin = await capture(fleet, await observe(fleet, signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await upgraded(crossed)
    const from = without(await observe(fleet, signal), 'back')
    const none = { needs: [], dependents: [], dependencies: [], upgradedAt: null }
    return propose(fleet, { from, to: pin, release: 'v1', rung: 'swap', mode: 'full', signal, ...none })
  }

  const stepsAt = (proposal: Proposal, host: string) =>
    ordered(proposal).filter(step => (step.args as { host: string }).host === host)

  beforeEach(async () => void (shop = await releases(NAMES, '{slot}')))
  afterEach(() => shop.dispose())

  it.each([false, true])('finds the slot that holds the release by itself (the other way round: %s)', async crossed => {
    const fleet = await fleetOf({}, crossed)
    const proposal = await planned(fleet, crossed)
    expect(proposal.findings.map(f => `${f.level} ${f.code}`)).toContain('warning host_unreachable')
    const [step] = stepsAt(proposal, 'back')
    if (step === undefined) throw new Error('no step')
    expect([step.title, step.args]).toMatchObject(['switch back to v1.2.9', { to: null, release: 'v1.2.9' }])
    expect(await verify(fleet, step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await apply(fleet, step, stepAct(step))
    expect(await shop.linked('back', 'live')).toBe(crossed ? 'green' : 'blue')
    expect(await verify(fleet, step, stepAct(step))).toMatchObject({ is: 'done' })
  })

  it('says so where no slot holds it any more', async () => {
    const fleet = await fleetOf({}, false)
    const [step] = stepsAt(await planned(fleet, false), 'back')
    if (step === undefined) throw new Error('no step')
    await shop.unpack('back', 'blue', 'v1.2.8')
    const gone = { code: 'release_gone', message: expect.stringContaining('neither slot holds it') as string }
    await expect(apply(fleet, step, stepAct(step))).rejects.toMatchObject(gone)
    expect(await shop.linked('back', 'live')).toBe('green')
  })

  it('starts the service of the slot that the others have, and none of a slot that holds another release', async () => {
    const services = () => ({ service: shop.service, version: shop.version })
    const fleet = await fleetOf(services(), true)
    for (const host of NAMES)
      shop.call(host, 'start', host === 'back' ? 'green' : 'blue', host === 'back' ? 'green' : 'blue')
    const [start] = stepsAt(await planned(fleet, true), 'back')
    if (start === undefined) throw new Error('no step')
    expect(start.id).toBe('shop/start/back.blue')
    const gone = { code: 'release_gone', message: expect.stringContaining('holds v1.3.0') as string }
    await expect(apply(fleet, start, stepAct(start))).rejects.toMatchObject(gone)
    expect(shop.running('back', 'blue')).toBeNull()
  })

  it('is blocked where no host answers, whatever may fail', async () => {
    const fleet = await fleetOf({ maxFailures: 2 }, false)
    const pin = await capture(fleet, await observe(fleet, signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    const from = without(without(await observe(fleet, signal), 'back'), 'front')
    const none = { needs: [], dependents: [], dependencies: [], upgradedAt: null }
    const asked = { from, to: pin, release: 'v1', rung: 'swap', mode: 'full' as const, signal, ...none }
    const { findings, steps } = await propose(fleet, asked)
    expect(steps).toEqual([])
    expect(findings.filter(f => f.level === 'blocker')).toMatchObject([
      { code: 'host_unreachable', remedy: expect.stringContaining('none can be brought to the release') as string },
    ])
  })
})
