import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { IMAGES, type Kube, notOwn, running, signal, startKube } from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Json } from '../../core/json.ts'
import { noHelm, shopIn } from './helm.fixture.ts'

const without = noHelm('4') ?? noKubectl() ?? notOwn

describe.skipIf(without !== null)(
  `C5: a rollback of Helm that failed, where nodes may be cordoned ${without ?? ''}`,
  () => {
    let kube: Kube
    beforeAll(async () => void (kube = await startKube()))
    afterAll(() => kube[Symbol.asyncDispose]())

    it('is tried again by the same step: what it left is no other deployer', async () => {
      const shop = await shopIn(kube, '4')
      await shop.install(IMAGES.good)
      const target = await shop.open({ limits: { rollback: '2s' } })
      const to = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
      await shop.upgrade(IMAGES.bad)
      const asked = { needs: [], dependents: [], dependencies: [], upgradedAt: null, mode: 'full' as const, signal }
      const from = await target.observe(signal)
      const [step] = (await target.propose({ ...asked, from, to, release: 'v1', rung: 'rollback' })).steps
      if (step === undefined) throw new Error('no step')
      // The second one stands for a process that died before it could note what it made: Helm's own words tell.
      const [first, later] = [new Map<string, Json>(), new Map<string, Json>()]
      await shop.space.kubectl('cordon', 'node-1', 'node-2')
      try {
        for (const [handles, made] of [
          [first, 3],
          [later, 4],
        ] as const) {
          await expect(target.apply(step, stepAct(step, 'r1', handles))).rejects.toMatchObject({ code: 'helm_failed' })
          expect(handles.get(step.id)).toMatchObject({ made })
          expect((await target.verify(step, stepAct(step, 'r1', handles))).is).toBe('not-done')
        }
      } finally {
        await shop.space.kubectl('uncordon', 'node-1', 'node-2')
      }
      const patient = await shop.open()
      // Not by the note of another revision: that one is somebody else's.
      const moved = { code: 'release_moved' }
      await expect(patient.apply(step, stepAct(step, 'r1', first))).rejects.toMatchObject(moved)
      await patient.apply(step, stepAct(step, 'r1', later))
      expect((await patient.verify(step, stepAct(step, 'r1', later))).is).toBe('done')
      expect((await shop.history()).map(one => `${one.revision} ${one.status}`).slice(2)).toEqual([
        '3 failed',
        '4 failed',
        '5 deployed',
      ])
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
    }, 60_000)
  },
)
