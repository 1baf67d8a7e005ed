import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  applied,
  autoscaler,
  captured,
  codes,
  IMAGES,
  type Kube,
  proposed,
  put,
  rolledOut,
  running,
  type Space,
  signal,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'

const SHOP = { objects: ['statefulset/shop'], limits: { settle: '100ms' } }
const ONE = { another: true }
const IN_TURN = { spec: { updateStrategy: { type: 'OnDelete' } } }

/** What older servers call otherwise, whatever real cluster there is: 1.20 says the same where the other suites run against it. */
describe.skipIf(noKubectl() !== null)(`C5: older versions of Kubernetes, of the stand-in ${noKubectl() ?? ''}`, () => {
  describe.each([20, 21, 22])('1.%i', minor => {
    let kube: Kube
    let space: Space
    beforeAll(async () => {
      kube = await startKube({ minor }, ONE)
    })
    afterAll(() => kube[Symbol.asyncDispose]())
    beforeEach(async () => {
      space = await kube.namespace()
    })

    it('sees the autoscaler that decides about replicas, and puts its bounds back', async () => {
      const scaler = (max: number) => autoscaler(kube, 'StatefulSet', 'shop', { min: 1, max })
      await put(space, workload('StatefulSet', 'shop', { image: IMAGES.good }), scaler(3))
      await rolledOut(space, 'statefulset/shop')
      await using target = await space.open(SHOP)
      const pin = await captured(target)
      expect(pin.objects['statefulset/shop']?.replicas).toBeNull()
      expect(pin.autoscalers).toEqual({ shop: { min: 1, max: 3, target: 'statefulset/shop' } })
      await put(space, scaler(9))
      expect(await applied(target, await proposed(target, pin))).toEqual(['shop/autoscaler/shop: done'])
      expect(await space.kubectl('get', 'hpa', 'shop', '-o', 'jsonpath={.spec.maxReplicas}')).toBe('3')
    })

    it('asks PodDisruptionBudgets, and evicts as that server knows it', async () => {
      const budget = (minAvailable: number) => ({
        apiVersion: minor < 21 ? 'policy/v1beta1' : 'policy/v1',
        kind: 'PodDisruptionBudget',
        metadata: { name: 'all' },
        spec: { minAvailable, selector: { matchLabels: { app: 'shop' } } },
      })
      await put(space, workload('StatefulSet', 'shop', { image: IMAGES.good, ...IN_TURN }))
      await expect.poll(() => running(space), { timeout: 30_000 }).toHaveLength(2)
      await using target = await space.open(SHOP)
      const pin = await captured(target)
      await put(space, workload('StatefulSet', 'shop', { image: IMAGES.bad, ...IN_TURN }))
      await space.kubectl('delete', 'pods', '-l', 'app=shop')
      await expect.poll(() => running(space), { timeout: 30_000 }).toEqual([IMAGES.bad, IMAGES.bad])
      await put(space, budget(2))
      await expect
        .poll(async () => codes(await proposed(target, pin)), { timeout: 30_000 })
        .toEqual(['disruption_budget', 'pods_deleted'])
      await put(space, budget(1))
      await applied(target, await proposed(target, pin))
      expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
    })
  })

  it('refuses one that is too old, before anything is begun, and says so to `doctor`', async () => {
    await using kube = await startKube({ minor: 19 }, ONE)
    const space = await kube.namespace()
    await put(space, workload('StatefulSet', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'statefulset/shop')
    await using target = await space.open(SHOP)
    const pin = await captured(target)
    await space.kubectl('set', 'image', 'statefulset/shop', `app=${IMAGES.bad}`)
    await rolledOut(space, 'statefulset/shop')
    const { findings, steps } = await proposed(target, pin)
    expect(steps).toEqual([])
    expect(findings).toMatchObject([
      {
        level: 'blocker',
        code: 'server_too_old',
        what: expect.stringContaining('v1.19.0, and 1.20 is the oldest') as string,
      },
    ])
    expect((await target.ready?.(signal))?.findings.map(f => f.code)).toEqual(['server_too_old'])
  })

  it('reads nothing as none where a server has a version that it does not know', async () => {
    await using kube = await startKube({}, ONE)
    const { resources } = kube.standIn?.api ?? expect.fail()
    resources.add({ ...resources.key('autoscaling/horizontalpodautoscalers'), version: 'v3' })
    const space = await kube.namespace()
    await using target = await space.open(SHOP)
    await expect(target.observe(signal)).rejects.toMatchObject({
      code: 'api_version_unknown',
      message: expect.stringContaining('serves autoscaling as v3') as string,
    })
  })
})
