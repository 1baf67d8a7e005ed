import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  autoscaler,
  captured,
  codes,
  IMAGES,
  type Kube,
  pods,
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
import type { Progress, Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C5: autoscalers that come and go ${noKubectl() ?? ''}`, () => {
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

  const scaler = (min: number, max: number) => autoscaler(kube, 'Deployment', 'shop', { min, max })
  const shop = (image: string, replicas: number) => workload('Deployment', 'shop', { image, replicas })
  const count = (to: number) => expect.poll(() => pods(space), { timeout: 60_000 }).toHaveLength(to)
  const bounds = () => space.kubectl('get', 'hpa', 'shop', '-o', 'jsonpath={.spec.minReplicas} to {.spec.maxReplicas}')
  const good = (howMany: number) => Array.from({ length: howMany }, () => IMAGES.good)

  it('one that came with the bad release is bound to the pods of the release, before these come, and told of', async () => {
    await put(space, shop(IMAGES.good, 4))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await put(space, shop(IMAGES.bad, 1), scaler(1, 1))
    await rolledOut(space, 'deployment/shop')
    await count(1)
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['autoscaler_new'])
    expect(proposal.findings[0]).toMatchObject({
      what: 'The autoscaler shop was not there at v1, and keeps deployment/shop at 1 pod, which had 4 pods: it is bound to 4 pods',
      remedy: expect.stringContaining(`kubectl -n ${space.name} delete horizontalpodautoscaler shop`) as string,
    })
    const departure = await target.capture(await target.observe(signal), {
      ...stepAct(),
      purpose: 'departure',
      release: 'v2',
    })
    expect(await applied(target, proposal)).toEqual(['shop/autoscaler/shop: done', 'shop/roll/deployment.shop: done'])
    expect(await bounds()).toBe('4 to 4')
    expect(await running(space)).toEqual(good(4))
    const again = await proposed(target, pin)
    expect([codes(again), again.steps]).toEqual([['autoscaler_new'], []])
    // Back to where it started it has the bounds that it came with.
    await applied(target, await proposed(target, departure), 'r2')
    expect(await bounds()).toBe('1 to 1')
    await count(1)
  })

  it('one that something made and would put back is not bound: the release comes back with as many pods as it wants', async () => {
    const maker = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'scaled' } }
    await space.kubectl.apply(maker)
    const uid = await space.kubectl('get', 'configmap', 'scaled', '-o', 'jsonpath={.metadata.uid}')
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'scaled', uid, controller: true }]
    const kept = (min: number, max: number) => ({ ...scaler(min, max), metadata: { name: 'shop', ownerReferences } })
    await put(space, shop(IMAGES.good, 2))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await put(space, shop(IMAGES.bad, 2), kept(4, 6))
    await count(4)
    await rolledOut(space, 'deployment/shop')
    const proposal = await proposed(target, pin)
    expect(proposal.findings).toMatchObject([
      {
        code: 'autoscaler_new',
        what: expect.stringContaining(
          'it is left as it is, for ConfigMap scaled made it, and would put its bounds back',
        ),
        remedy: expect.stringContaining(`kubectl -n ${space.name} delete configmap scaled`) as string,
      },
    ])
    expect(await applied(target, proposal)).toEqual(['shop/roll/deployment.shop: done'])
    expect(await bounds()).toBe('4 to 6')
    expect(await running(space)).toEqual(good(4))
    expect((await proposed(target, pin)).steps).toEqual([])
    // One that the release had, with other bounds since.
    const later = await captured(target)
    await put(space, kept(3, 6))
    const again = await proposed(target, later)
    expect([codes(again), again.steps]).toEqual([['autoscaler_kept'], []])
    expect(again.findings[0]?.remedy).toContain('edit configmap scaled')
  })

  it('names an autoscaler where one goes on deciding while pods are replaced, and nobody who wrote before', async () => {
    await put(space, shop(IMAGES.good, 2))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await put(space, shop(IMAGES.bad, 2))
    await rolledOut(space, 'deployment/shop')
    await using slow = await space.open({ ...SHOP, limits: { settle: '120s' } })
    const [step] = (await proposed(slow, pin)).steps
    if (step === undefined) throw new Error('no step')
    const said: string[] = []
    const progress = ({ text }: Progress) => void said.push(text ?? '')
    const going = slow.apply(step, { ...stepAct(step), progress }).catch((error: unknown) => error)
    await expect.poll(() => said.join(), { timeout: 60_000 }).toContain('whether they stay up')
    await put(space, scaler(3, 6))
    // An API server before 1.23 does not note who scaled.
    const by = kube.autoscaling === 'autoscaling/v2' ? 'an autoscaler' : '\\S+'
    const what = new RegExp(
      `^While its pods were replaced, ${by} changed deployment/shop: it has 3 replicas, and is to`,
    )
    expect(await going).toMatchObject({ code: 'object_moved', message: expect.stringMatching(what) as string })
  })

  it('one that leaves the release its pods, or where as many as now are wanted, is left as it is', async () => {
    await put(space, shop(IMAGES.good, 2))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await put(space, shop(IMAGES.bad, 2), scaler(2, 6))
    await rolledOut(space, 'deployment/shop')
    const proposal = await proposed(target, pin)
    expect(proposal.findings[0]?.what).toContain('at 2 to 6 pods, which had 2 pods: it is left as it is')
    expect(proposal.steps.map(step => step.id)).toEqual(['shop/roll/deployment.shop'])
    await put(space, scaler(3, 6))
    await count(3)
    const keeping = await space.open({ ...SHOP, replicas: 'current' })
    const kept = await proposed(keeping, pin)
    expect(codes(kept)).toEqual(['autoscaler_new'])
    expect(kept.steps.map(step => step.id)).toEqual(['shop/roll/deployment.shop'])
    // As pinned, it goes back to two.
    expect(codes(await proposed(target, pin))).toEqual(['autoscaler_new', 'replicas_lowered'])
  })

  it('what had one that is gone comes back with as many pods as it had, and not with one', async () => {
    await put(space, shop(IMAGES.good, 3), scaler(2, 5))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    expect(pin.autoscalers).toEqual({ shop: { min: 2, max: 5, target: 'deployment/shop' } })
    await space.kubectl('delete', 'hpa', 'shop')
    await put(space, shop(IMAGES.bad, 0))
    await count(0)
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['autoscaler_gone'])
    expect(proposal.findings[0]?.what).toBe(
      'The autoscaler shop, which kept deployment/shop at 2 to 5 pods, is not there any more; deployment/shop comes back with 3 pods',
    )
    // A pin of before: that nobody knows how many there were is said.
    const old = {
      ...pin,
      objects: { 'deployment/shop': { ...pin.objects['deployment/shop'], ran: null } } as KubernetesPin['objects'],
      autoscalers: { shop: { min: 2, max: 5, target: null } },
    }
    expect((await proposed(target, old)).findings[0]?.what).toBe(
      'The autoscaler shop is not there any more; deployment/shop comes back with 1 pod, for how many it had was not captured with v1',
    )
    expect(await applied(target, proposal)).toEqual(['shop/roll/deployment.shop: done'])
    expect(await running(space)).toEqual(good(3))
    const [stays] = (await proposed(target, pin)).findings
    expect(stays?.what).toContain('; deployment/shop stays at 3 pods')
    // Fewer than it ever had are as little the release.
    await space.kubectl('scale', 'deployment/shop', '--replicas=1')
    await count(1)
    await applied(target, await proposed(target, pin), 'r2')
    expect(await running(space)).toEqual(good(2))
  })
})
