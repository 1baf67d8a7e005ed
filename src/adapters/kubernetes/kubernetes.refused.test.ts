import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  applied,
  captured,
  codes,
  IMAGES,
  type Kube,
  proposed,
  put,
  rolledOut,
  running,
  type Space,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'

/** A rule that came with, or since, the bad release, and that pods of the release do not keep. */
describe.skipIf(noKubectl() !== null)(`C5: pods that nobody may make any more ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => void (kube = await startKube()))
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => void (space = await kube.namespace()))

  const resources = { requests: { cpu: '1m' } }
  const quota = (hard: object) => ({
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'bounds' },
    spec: { hard },
  })
  const counted = () =>
    expect
      .poll(() => space.kubectl('get', 'resourcequota', 'bounds', '-o', 'jsonpath={.status.used}'), { timeout: 30_000 })
      .not.toBe('')

  it.each(['Deployment', 'StatefulSet', 'DaemonSet'])('of a %s are named before anything is begun', async kind => {
    const id = `${kind.toLowerCase()}/shop`
    const claims = { volumeClaimTemplates: [claim('state')] }
    const container = kind === 'StatefulSet' ? { volumeMounts: [{ name: 'state', mountPath: '/state' }] } : {}
    // Claims that are never bound would keep the pods of a StatefulSet from starting: it has none of them.
    const spec = kind === 'StatefulSet' ? { ...claims, replicas: 0 } : {}
    const target = await space.open({ objects: [id], limits: { settle: '100ms' } })
    await put(space, workload(kind, 'shop', { image: IMAGES.good, container, spec }))
    await rolledOut(space, id)
    const pin = await captured(target)
    await put(space, workload(kind, 'shop', { image: IMAGES.bad, container: { ...container, resources }, spec }))
    await rolledOut(space, id)
    expect(codes(await proposed(target, pin))).toEqual([])
    await space.kubectl.apply(quota({ 'requests.cpu': '100' }))
    await counted()
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['PODS_REFUSED'])
    expect(proposal.findings[0]?.what).toMatch(
      RegExp(`^No pod of ${id} as it was at v1 can be made by now: .*failed quota: bounds: must specify requests.cpu`),
    )
    expect(proposal.steps).toEqual([])
    // With images alone they keep what the bad release says of them.
    expect(codes(await proposed(target, pin, 'image'))).toEqual(['template_differs'])
  })

  const both = (cpu: string) => ({ resources: { requests: { cpu }, limits: { cpu } } })
  const wide = { resources: { requests: { cpu: '10m' }, limits: { cpu: '300m' } } }
  it.each([
    [
      'Deployment',
      both('200m'),
      { type: 'Container', max: { cpu: '100m' } },
      'maximum cpu usage per Container is 100m',
    ],
    ['DaemonSet', both('10m'), { type: 'Container', min: { cpu: '50m' } }, 'minimum cpu usage per Container is 50m'],
    ['StatefulSet', both('200m'), { type: 'Pod', max: { cpu: '100m' } }, 'maximum cpu usage per Pod is 100m'],
    [
      'Deployment',
      wide,
      { type: 'Container', maxLimitRequestRatio: { cpu: '2' } },
      'cpu max limit to request ratio per Container is 2',
    ],
  ])('of a %s that a LimitRange lets not be made any more are named ahead', async (kind, container, limit, words) => {
    const id = `${kind.toLowerCase()}/shop`
    const target = await space.open({ objects: [id], limits: { settle: '100ms' } })
    await put(space, workload(kind, 'shop', { image: IMAGES.good, replicas: 1, container }))
    await rolledOut(space, id)
    const pin = await captured(target)
    await put(space, workload(kind, 'shop', { image: IMAGES.bad, replicas: 1, container: both('60m') }))
    await rolledOut(space, id)
    const range = { apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'bounds' }, spec: { limits: [limit] } }
    await space.kubectl.apply(range)
    // Its admission sees it a moment later.
    await expect.poll(async () => codes(await proposed(target, pin)), { timeout: 30_000 }).toEqual(['PODS_REFUSED'])
    const proposal = await proposed(target, pin)
    expect(proposal.findings[0]?.what).toMatch(
      RegExp(`^No pod of ${id} as it was at v1 can be made by now: .*${words}`),
    )
    expect(proposal.steps).toEqual([])
  })

  it.each([
    ['a policy', 'admission webhook "signed.example.test" denied the request: not signed', 400, ['pods_refused']],
    [
      'a webhook that is away',
      'Internal error occurred: failed calling webhook "signed.example.test"',
      500,
      ['pods_refused'],
    ],
    [
      'a standard of the whole cluster',
      'pods "shop-" is forbidden: violates PodSecurity "restricted:latest"',
      403,
      ['pods_refused'],
    ],
    [
      'a service account that is gone',
      'pods "shop-" is forbidden: error looking up service account shop/app',
      403,
      ['PODS_REFUSED'],
    ],
    ['a webhook that knows no dry run', 'admission webhook "old.example.test" does not support dry run', 400, []],
    ['a server that has just started', 'pods "shop-" is forbidden: not yet ready to handle request', 403, []],
    [
      'the right to make pods, which the user has not',
      'User "me" cannot create resource "pods" in API group ""',
      403,
      [],
    ],
  ])('are told of by what the server says of %s', async (_, message, code, told) => {
    const wire = await kube.wire()
    try {
      const settings = { objects: ['daemonset/shop'], limits: { settle: '100ms' } }
      const target = await space.open(settings, { kubeconfig: wire.kubeconfig })
      await put(space, workload('DaemonSet', 'shop', { image: IMAGES.good }))
      await rolledOut(space, 'daemonset/shop')
      const pin = await captured(target)
      await put(space, workload('DaemonSet', 'shop', { image: IMAGES.bad }))
      await rolledOut(space, 'daemonset/shop')
      const makes = (a: { verb: string; resource: string; subresource?: string; namespace?: string }) =>
        a.verb === 'create' && a.resource === 'pods' && !a.subresource && a.namespace === space.name
      wire.trouble.fail(makes, code, 1, message)
      expect(codes(await proposed(target, pin))).toEqual(told)
    } finally {
      await wire.close()
    }
  })

  it('are let be where a quota merely is full: those that are left make room', async () => {
    const target = await space.open({ objects: ['statefulset/shop'], limits: { settle: '100ms' } })
    await put(space, workload('StatefulSet', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'statefulset/shop')
    const pin = await captured(target)
    await put(space, workload('StatefulSet', 'shop', { image: IMAGES.bad }))
    await rolledOut(space, 'statefulset/shop')
    await space.kubectl.apply(quota({ pods: '2' }))
    await counted()
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual([])
    await applied(target, proposal)
    expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
  })
})

function claim(name: string): object {
  const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } }
  return { metadata: { name }, spec }
}
