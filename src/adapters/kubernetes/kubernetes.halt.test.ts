import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
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
  service,
  signal,
  skipOnOneNode,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Fact } from '../../core/contract.ts'

const QUICK = { limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C2: a run that ends after its halt ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  it.for([
    ['Deployment', 'strategy'],
    ['StatefulSet', 'updateStrategy'],
    ['DaemonSet', 'updateStrategy'],
  ] as const)('leaves a %s held, says so, and how its controller is let go on', async ([kind, field], ctx) => {
    if (kind === 'DaemonSet') await skipOnOneNode(space, ctx)
    const object = `${kind.toLowerCase()}/shop`
    const target = await space.open({ objects: [object], ...QUICK })
    await put(space, service('shop', { app: 'shop' }), workload(kind, 'shop', { image: IMAGES.good }))
    await rolledOut(space, object)
    const spec = async () =>
      (JSON.parse(await space.kubectl('get', object, '-o', 'json')) as { spec: Record<string, unknown> }).spec
    const before = (await spec())[field]
    const pin = await captured(target)
    const set = (image: string) => space.kubectl('set', 'image', object, `app=${image}`)
    await set(IMAGES.missing)
    const asked = async () => (await pods(space)).map(pod => pod.spec.containers[0]?.image)
    await expect.poll(asked, { timeout: 60_000 }).toContain(IMAGES.missing)
    const halt = ordered(await proposed(target, pin)).find(step => step.id.includes('/halt/'))
    if (halt === undefined) throw new Error('nothing is halted')
    expect(halt.lasts).toBe(true)
    expect((await target.verify(halt, stepAct(halt))).is).toBe('not-done')
    const facts: Fact[] = []
    await target.apply(halt, { ...stepAct(halt), tell: async fact => void facts.push(fact) })
    expect((await target.verify(halt, stepAct(halt))).is).toBe('done')

    // The run is aborted here. What the team deploys next would not get to the pods, and nothing else would tell.
    const now = await target.observe(signal)
    expect([now.summary, now.inFlight]).toEqual([expect.stringContaining('its rollout is held by Backout'), []])
    await expect(captured(target)).rejects.toMatchObject({
      code: 'object_unavailable',
      message: expect.stringContaining('a run of Backout stopped it'),
      next: expect.stringContaining('let it go on: `kubectl'),
    })
    const [held] = (await target.ready?.(signal))?.findings ?? []
    expect(held).toMatchObject({ code: 'rollout_held', level: 'warning' })
    const lift = facts.map(fact => (fact.data as { lift: string }).lift).join()
    expect(held?.remedy).toContain(lift)
    // What is captured meanwhile does not hold it later.
    const departure = { ...stepAct(), purpose: 'departure' as const, release: 'v2' }
    const left = await target.capture(await target.observe(signal), departure)
    const sealed = JSON.parse(Buffer.from(await stepAct().vault.open(left.manifests)).toString('utf8')) as object
    expect(JSON.stringify(sealed)).not.toMatch(/"paused":true|OnDelete|"partition":[1-9]/)

    const [, ...words] = lift.match(/'[^']*'|\S+/g) ?? []
    await space.kubectl(...words.map(word => word.replaceAll("'", '')))
    expect((await spec())[field]).toEqual(before)
    expect((await target.verify(halt, stepAct(halt))).is).toBe('not-done')
    expect((await target.ready?.(signal))?.findings).toEqual([])
    await set(IMAGES.bad)
    if (kind === 'StatefulSet') await space.kubectl('delete', 'pods', '-l', 'app=shop')
    await rolledOut(space, object)
    expect(new Set(await running(space))).toEqual(new Set([IMAGES.bad]))
  })

  it('holds a StatefulSet that is scaled meanwhile too, and is no part of what is captured', async () => {
    const target = await space.open({ objects: ['statefulset/shop'], ...QUICK })
    await put(space, workload('StatefulSet', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'statefulset/shop')
    const pin = await captured(target)
    await space.kubectl('set', 'image', 'statefulset/shop', `app=${IMAGES.missing}`)
    await expect.poll(async () => (await running(space)).length, { timeout: 60_000 }).toBe(1)
    const halt = ordered(await proposed(target, pin)).find(step => step.id.includes('/halt/'))
    if (halt === undefined) throw new Error('nothing is halted')
    await target.apply(halt, stepAct(halt))
    await space.kubectl('scale', 'statefulset', 'shop', '--replicas=4')
    expect(await target.verify(halt, stepAct(halt))).toMatchObject({ is: 'done' })
    expect((await target.ready?.(signal))?.findings.map(one => one.code)).toEqual(['rollout_held'])
    const departure = { ...stepAct(), purpose: 'departure' as const, release: 'v2' }
    const left = await target.capture(await target.observe(signal), departure)
    const sealed = Buffer.from(await stepAct().vault.open(left.manifests)).toString('utf8')
    expect(sealed).toContain('"partition":0')
  })

  it('is gone on with by the next one, after which nothing is held', async () => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    await put(space, workload('Deployment', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.missing}`)
    await expect.poll(async () => (await pods(space)).length, { timeout: 60_000 }).toBe(3)
    const [halt] = ordered(await proposed(target, pin))
    if (halt === undefined) throw new Error('nothing is halted')
    await target.apply(halt, stepAct(halt))
    const next = await proposed(target, pin)
    expect(codes(next)).toEqual(['paused'])
    expect(await applied(target, next, 'r2')).toEqual(['shop/roll/deployment.shop: done'])
    expect((await target.verify(halt, stepAct(halt))).is).toBe('not-done')
    expect((await target.ready?.(signal))?.findings).toEqual([])
    expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
  })
})
