import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { codes, IMAGES, type Kube, running, signal, startKube } from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import { HELMS, noHelm, type Shop, shopIn } from './helm.fixture.ts'

const STATEFUL = `apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db }
spec:
  replicas: 2
  serviceName: db
  updateStrategy: {{ .Values.strategy | toJson }}
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: app, image: {{ .Values.image | quote }} }]
`

describe.each(HELMS)('C5: pods that Helm %s leaves as they are', version => {
  const without = noHelm(version) ?? noKubectl()
  describe.skipIf(without !== null)(`with the real helm ${without ?? ''}`, () => {
    let kube: Kube
    let shop: Shop
    beforeAll(async () => void (kube = await startKube()))
    afterAll(() => kube[Symbol.asyncDispose]())
    beforeEach(async () => {
      shop = await shopIn(kube, version)
      await writeFile(join(shop.chart, 'templates', 'db.yaml'), STATEFUL)
    })

    const released = async (strategy: object, limits: object = {}) => {
      const values = ['--set-json', `strategy=${JSON.stringify(strategy)}`]
      await shop.install(IMAGES.good, ...values)
      // Helm 4 waits for no pods of an object that replaces none by itself.
      const ready = ['get', 'statefulset', 'db', '-o', 'jsonpath={.status.readyReplicas}']
      await expect.poll(() => shop.space.kubectl(...ready), { timeout: 60_000 }).toBe('2')
      const target = await shop.open({ limits })
      const to = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
      await shop.upgrade(IMAGES.bad, ...values)
      const proposal = async () => {
        const asked = { needs: [], dependents: [], dependencies: [], upgradedAt: null, mode: 'full' as const, signal }
        return target.propose({ ...asked, from: await target.observe(signal), to, release: 'v1', rung: 'rollback' })
      }
      return { target, proposal }
    }
    const all = (image: string, app: string) =>
      expect.poll(() => running(shop.space, `=${app}`), { timeout: 60_000 }).toEqual([image, image])

    it('are brought back: of a Deployment that is paused, and of a StatefulSet whose pods somebody has to delete', async () => {
      const { target, proposal } = await released({ type: 'OnDelete' })
      await shop.space.kubectl('delete', 'pods', '-l', 'app=db')
      await all(IMAGES.bad, 'db')
      await shop.space.kubectl('rollout', 'pause', 'deployment/shop')
      const proposed = await proposal()
      expect(codes(proposed)).toEqual(['hooks_origin', 'paused', 'pods_deleted'])
      const [step] = proposed.steps
      if (step === undefined) throw new Error('no step')
      await target.apply(step, stepAct(step))
      expect((await target.verify(step, stepAct(step))).is).toBe('done')
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
      expect(await running(shop.space, '=db')).toEqual([IMAGES.good, IMAGES.good])
      expect(await proposal()).toMatchObject({ steps: [], findings: [] })
    })

    it('are named where a partition keeps them, and followed once it is lowered', async () => {
      const parted = { type: 'RollingUpdate', rollingUpdate: { partition: 1 } }
      const { target, proposal } = await released(parted, { rollback: '6s' })
      await all(IMAGES.bad, 'shop')
      const lower = ['--type=merge', '-p', '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}']
      await shop.space.kubectl('patch', 'statefulset', 'db', ...lower)
      await all(IMAGES.bad, 'db')
      await shop.space.kubectl('rollout', 'status', 'statefulset/db')
      await shop.space.kubectl('patch', 'statefulset', 'db', ...lower.map(one => one.replace(':0', ':1')))
      const proposed = await proposal()
      expect(codes(proposed)).toEqual(['hooks_origin', 'partition_holds'])
      const [step] = proposed.steps
      if (step === undefined) throw new Error('no step')
      await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({
        code: 'rollout_stuck',
        message: expect.stringContaining('its partition 1 keeps pods on another revision') as string,
      })
      expect((await target.verify(step, stepAct(step))).is).not.toBe('done')
      await shop.space.kubectl('patch', 'statefulset', 'db', ...lower)
      await all(IMAGES.good, 'db')
      await expect.poll(async () => (await target.verify(step, stepAct(step))).is, { timeout: 60_000 }).toBe('done')
    })
  })
})
