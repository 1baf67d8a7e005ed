import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  applied,
  captured,
  codes,
  IMAGES,
  type Kube,
  proposed,
  put,
  released,
  rolledOut,
  type Space,
  service,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C5: a Service that sends users elsewhere too ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  /** Another object whose pods have the label that the Service asks for. */
  async function beside(kind: string, name: string): Promise<void> {
    const labels = { app: 'shop', track: name }
    const { spec, ...made } = workload(kind, name, { image: IMAGES.bad, replicas: 1 }) as {
      spec: { template: { metadata: object } }
    }
    const template = { ...spec.template, metadata: { labels } }
    await put(space, { ...made, spec: { ...spec, selector: { matchLabels: labels }, template } })
    await rolledOut(space, `${kind.toLowerCase()}/${name}`)
  }

  it('is named where the release did not have it so, before and after the way back', async () => {
    const target = await space.open(SHOP)
    await put(space, service('shop', { app: 'shop' }))
    await beside('StatefulSet', 'shop-old')
    const pin = await released(space, target)
    expect(pin.beside).toEqual({ shop: ['statefulset/shop-old'] })
    const before = await proposed(target, pin)
    expect(codes(before)).toEqual([])
    await beside('Deployment', 'shop-canary')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['service_shared'])
    expect(proposal.findings[0]).toMatchObject({
      what: 'service/shop sends users to pods of deployment/shop-canary too, which it did not at v1: these are left as they are',
      remedy: expect.stringContaining(`kubectl -n ${space.name} scale deployment/shop-canary --replicas=0`) as string,
    })
    await applied(target, proposal)
    const again = await proposed(target, pin)
    expect([codes(again), again.steps]).toEqual([['service_shared'], []])
    expect(codes(await proposed(target, { ...pin, beside: null }))).toEqual(['service_shared'])
    await space.kubectl('delete', 'deployment', 'shop-canary')
    await expect.poll(async () => codes(await proposed(target, pin)), { timeout: 60_000 }).toEqual([])
    expect((await captured(target)).beside).toEqual({ shop: ['statefulset/shop-old'] })
  })
})
