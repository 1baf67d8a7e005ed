import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  codes,
  type Kube,
  proposed,
  put,
  released,
  type Space,
  startKube,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C5: ports of Services ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  let target: Target<KubernetesPin>
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
    target = await space.open(SHOP)
    return () => target[Symbol.asyncDispose]()
  })

  const shop = (ports: readonly object[], spec: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'shop' },
    spec: { selector: { app: 'shop' }, ports, ...spec },
  })
  const ports = async () =>
    JSON.parse(await space.kubectl('get', 'service', 'shop', '-o', 'jsonpath={.spec.ports}')) as object[]
  /** As another client would, that does not merge lists. */
  const replace = (to: readonly object[]) =>
    space.kubectl('patch', 'service', 'shop', '--type=merge', '-p', JSON.stringify({ spec: { ports: to } }))

  it('go back with the pods that listen there, and it is said that users cannot reach them until then', async () => {
    await put(space, shop([{ port: 80, targetPort: 8080 }]))
    const pin = await released(space, target)
    expect((await proposed(target, pin)).impact.downtimeMs).toBe(0)
    await replace([{ port: 80, targetPort: 9090 }])
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['service_ports'])
    expect(proposal.findings[0]?.what).toContain('service/shop has the ports 80 to 9090, and had 80 to 8080 at v1')
    expect(proposal.impact.downtimeMs).toBeGreaterThan(0)
    expect(await applied(target, proposal)).toEqual(['shop/roll/deployment.shop: done', 'shop/service/shop: done'])
    expect(await ports()).toMatchObject([{ port: 80, targetPort: 8080, protocol: 'TCP' }])
    const again = await proposed(target, pin)
    expect([codes(again), again.steps]).toEqual([[], []])
  })

  it('that somebody changed since the plan are left alone', async () => {
    await put(space, shop([{ port: 80, targetPort: 8080 }]))
    const pin = await released(space, target)
    await replace([{ port: 80, targetPort: 9090 }])
    const step = (await proposed(target, pin)).steps.find(({ id }) => id === 'shop/service/shop')
    if (step === undefined) throw new Error('the ports do not go back')
    await replace([{ port: 80, targetPort: 7070 }])
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'object_moved' })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done', why: 'its ports are others' })
    expect(await ports()).toMatchObject([{ targetPort: 7070 }])
  })

  it('on nodes go back where the release named them, and are kept where it did not', async () => {
    const type = { type: 'NodePort' }
    const http = { name: 'http', port: 80, targetPort: 8080 }
    const admin = { name: 'admin', port: 81, targetPort: 'admin', nodePort: 30_981 }
    await put(space, shop([{ ...http, nodePort: 30_980 }, admin], type))
    const pin = await released(space, target)
    await replace([
      { ...admin, nodePort: 30_991 },
      { ...http, targetPort: 9090, nodePort: 30_990 },
    ])
    const wanted = [
      { ...http, nodePort: 30_980 },
      { ...admin, nodePort: 30_981 },
    ]
    await applied(target, await proposed(target, pin))
    expect(await ports()).toMatchObject(wanted)
    // Captured while it had none: those of now are kept, in whatever order.
    const before = {
      ...pin,
      ports: { shop: (pin.ports?.['shop'] ?? []).map(port => ({ ...port, nodePort: undefined })) },
    }
    expect((await proposed(target, before)).steps).toEqual([])
    await replace([{ ...http, targetPort: 9090, nodePort: 30_995 }, admin])
    await applied(target, await proposed(target, before), 'r2')
    expect(await ports()).toMatchObject([{ ...http, nodePort: 30_995 }, admin])
  })

  it('are said to stay where a pin of before did not keep them', async () => {
    await put(space, shop([{ port: 80, targetPort: 8080 }]))
    const pin = await released(space, target)
    const proposal = await proposed(target, { ...pin, ports: null })
    expect(codes(proposal)).toEqual(['service_ports'])
    expect(proposal.findings[0]).toMatchObject({ level: 'note', what: expect.stringContaining('80 to 8080') as string })
    expect(proposal.steps.map(({ id }) => id)).toEqual(['shop/roll/deployment.shop'])
  })
})
