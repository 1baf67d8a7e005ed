import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { configMap, IMAGES, type Kube, pods, signal, startKube } from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Need, Proposal, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { noHelm, type Shop, shopIn } from './helm.fixture.ts'
import type { HelmPin } from './pin.ts'

const without = noHelm('4') ?? noKubectl()

describe.skipIf(without !== null)(`C5: the pods of a release of Helm ${without ?? ''}`, () => {
  let kube: Kube
  let shop: Shop
  beforeAll(async () => void (kube = await startKube()))
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => void (shop = await shopIn(kube, '4')))

  const captured = async (target: Target<HelmPin>): Promise<HelmPin> =>
    target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
  const proposed = async (target: Target<HelmPin>, to: HelmPin, needs: Need[] = []): Promise<Proposal> => {
    const asked = { needs, dependents: [], dependencies: [], upgradedAt: null, mode: 'full' as const, signal }
    return target.propose({ ...asked, from: await target.observe(signal), to, release: 'v1', rung: 'rollback' })
  }
  const only = ({ steps }: Proposal): Step => {
    const [step] = steps
    if (step === undefined || steps.length !== 1) throw new Error(`${steps.length} steps`)
    return step
  }
  const names = async () => (await pods(shop.space)).map(pod => pod.metadata.name)

  it('are made anew where that is asked, whatever their release is, and as often as it is planned', async () => {
    await shop.install(IMAGES.good)
    const target = await shop.open()
    const pin = await captured(target)
    const needs: Need[] = [{ of: 'shop', what: 'redeployed', by: 'db' }]
    for (const _ of ['once', 'by a successor plan of the same run']) {
      const proposal = await proposed(target, pin, needs)
      expect(proposal).toMatchObject({ serves: needs, change: null })
      const step = only(proposal)
      expect(step.title).toBe('make the pods of shop anew')
      expect((await target.verify(step, stepAct(step))).is).toBe('not-done')
      const before = await names()
      await target.apply(step, stepAct(step))
      expect((await target.verify(step, stepAct(step))).is).toBe('done')
      expect((await names()).filter(name => before.includes(name))).toEqual([])
    }
    await shop.upgrade(IMAGES.bad)
    const both = await proposed(target, pin, needs)
    expect(both.steps.map(step => step.id)).toEqual(['shop/rollback', 'shop/restart'])
    expect((await shop.history()).map(one => one.revision)).toEqual([1, 2])
  })

  it('are told of where they die after each start, though nothing of them is another release', async () => {
    await shop.space.kubectl.apply(configMap('mode', { MODE: 'good' }))
    const command = '[ "$MODE" = good ] || { sleep 5; exit 3; }; exec sleep 100000'
    await shop.install(IMAGES.shell, '--set', `command=${command}`)
    const target = await shop.open({ limits: { settle: '1s' } })
    const pin = await captured(target)
    await shop.upgrade(IMAGES.good)
    const step = only(await proposed(target, pin))
    await target.apply(step, stepAct(step))
    expect(await proposed(target, pin)).toMatchObject({ change: null, unwell: [] })
    await shop.space.kubectl.apply(configMap('mode', { MODE: 'bad' }))
    await shop.space.kubectl('delete', 'pods', '-l', 'app=shop', '--wait=false')
    // They run for a moment after each start, and Kubernetes calls them available.
    const found = async () => {
      const { change, unwell = [], findings } = await proposed(target, pin)
      return change === null && findings.some(f => f.code === 'pods_unwell') ? unwell[0]?.why : change?.from
    }
    await expect.poll(found, { timeout: 60_000, interval: 300 }).toContain('was started anew just now')
  })

  it('are not back where they die after their start, nor when another process asks', async () => {
    await shop.space.kubectl.apply(configMap('mode', { MODE: 'good' }))
    const command = '[ "$MODE" = good ] || { sleep 3; exit 3; }; exec sleep 100000'
    await shop.install(IMAGES.shell, '--set', `command=${command}`)
    const target = await shop.open({ limits: { settle: '6s', stuck: '1s' } })
    const pin = await captured(target)
    await shop.upgrade(IMAGES.good)
    await shop.space.kubectl.apply(configMap('mode', { MODE: 'bad' }))
    const step = only(await proposed(target, pin))
    const handles = new Map<string, Json>()
    await expect(target.apply(step, stepAct(step, 'r1', handles))).rejects.toMatchObject({ code: 'rollout_stuck' })
    expect((await shop.history()).at(-1)).toMatchObject({ revision: 3, status: 'deployed' })
    expect((await target.verify(step, stepAct(step, 'r1', handles))).is).toBe('not-done')
    expect((await target.verify(step, stepAct(step))).is).not.toBe('done')
  })
})
