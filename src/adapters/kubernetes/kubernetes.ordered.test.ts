import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
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
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const QUICK = { limits: { settle: '100ms', stuck: '5s', rollout: '180s' } }

describe.skipIf(noKubectl() !== null)(`C5: pods that no controller replaces ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  const opened = (kind: string): Promise<Target<KubernetesPin>> =>
    space.open({ objects: [`${kind.toLowerCase()}/shop`], ...QUICK })
  const made = (kind: string, image: string, type = 'RollingUpdate', replicas = 2) =>
    workload(kind, 'shop', { image, replicas, spec: { updateStrategy: { type } } })

  it('of a StatefulSet whose rollout is through, and all of which fail', async () => {
    const target = await opened('StatefulSet')
    await put(space, service('shop', { app: 'shop' }), made('StatefulSet', IMAGES.good, 'RollingUpdate', 1))
    await rolledOut(space, 'statefulset/shop')
    const pin = await captured(target)
    await space.kubectl('set', 'image', 'statefulset/shop', `app=${IMAGES.missing}`)
    const asked = async () => (await pods(space)).map(pod => pod.spec.containers[0]?.image)
    await expect.poll(asked, { timeout: 60_000 }).toEqual([IMAGES.missing])
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['pods_deleted'])
    expect(proposal.findings[0]?.what).toContain('(now shop-0)')
    expect((await applied(target, proposal)).at(-1)).toBe('shop/roll/statefulset.shop: done')
    expect(await running(space)).toEqual([IMAGES.good])
  })

  it.each(['adopt', 'image', 'manifest'])(
    'of a StatefulSet whose release has a partition, by the rung %s',
    async rung => {
      const parted = (image: string, partition: number) =>
        workload('StatefulSet', 'shop', {
          image,
          replicas: 2,
          spec: { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition } } },
        })
      const all = (image: string) => expect.poll(() => running(space), { timeout: 110_000 }).toEqual([image, image])
      const partition = () =>
        space.kubectl('get', 'statefulset', 'shop', '-o', 'jsonpath={.spec.updateStrategy.rollingUpdate.partition}')
      const target = await opened('StatefulSet')
      await put(space, service('shop', { app: 'shop' }), parted(IMAGES.good, 2))
      await all(IMAGES.good)
      const pin = await captured(target)
      await put(space, parted(IMAGES.bad, 0))
      await all(IMAGES.bad)
      await rolledOut(space, 'statefulset/shop')
      if (rung === 'adopt') {
        // As somebody left it who put the release back as it was: nothing is replaced then.
        await put(space, parted(IMAGES.good, 2))
        expect((await proposed(target, pin, rung)).steps).toHaveLength(1)
      }
      const proposal = await proposed(target, pin, rung)
      expect(codes(proposal)).toContain('partition_lowered')
      expect((await applied(target, proposal)).at(-1)).toBe('shop/roll/statefulset.shop: done')
      expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
      expect(await partition()).toBe('2')
      await space.kubectl('delete', 'pods', '--all', '--wait=false')
      await expect.poll(async () => (await pods(space)).length, { timeout: 60_000 }).toBe(2)
      await all(IMAGES.good)
      expect(await proposed(target, pin, rung)).toMatchObject({ steps: [] })
    },
  )

  it('of a StatefulSet that went bad after the plan was made', async () => {
    const target = await opened('StatefulSet')
    await put(space, service('shop', { app: 'shop' }), made('StatefulSet', IMAGES.good))
    await rolledOut(space, 'statefulset/shop')
    const pin = await captured(target)
    await space.kubectl('set', 'image', 'statefulset/shop', `app=${IMAGES.bad}`)
    await rolledOut(space, 'statefulset/shop')
    expect(codes(await proposed(target, pin))).toEqual([])
    expect((await proposed(target, pin)).steps[0]?.args).toMatchObject({ replace: 'unready' })
  })

  it.each([
    ['StatefulSet', 'adopt'],
    ['StatefulSet', 'image'],
    ['DaemonSet', 'adopt'],
  ])('of a %s whose release replaced none by itself, and which does now, by the rung %s', async (kind, rung) => {
    const target = await opened(kind)
    await put(space, service('shop', { app: 'shop' }), made(kind, IMAGES.good, 'OnDelete'))
    const all = async () => new Set(await running(space))
    await expect.poll(() => captured(target).catch(() => null), { timeout: 60_000 }).toBeTruthy()
    const pin = await captured(target)
    await put(space, made(kind, IMAGES.bad))
    await rolledOut(space, `${kind.toLowerCase()}/shop`)
    expect(await all()).toEqual(new Set([IMAGES.bad]))
    const proposal = await proposed(target, pin, rung)
    expect(codes(proposal)).toContain('pods_deleted')
    expect(await applied(target, proposal)).toEqual([`shop/roll/${kind.toLowerCase()}.shop: done`])
    expect(await all()).toEqual(new Set([IMAGES.good]))
  })

  it('of one that replaces none by itself now, and did at its release: its controller is let do it', async () => {
    const target = await opened('DaemonSet')
    await put(space, made('DaemonSet', IMAGES.good))
    await rolledOut(space, 'daemonset/shop')
    const pin = await captured(target)
    await put(space, made('DaemonSet', IMAGES.bad, 'OnDelete'))
    await space.kubectl('delete', 'pods', '-l', 'app=shop')
    await expect.poll(() => captured(target).catch(() => null), { timeout: 60_000 }).toBeTruthy()
    const proposal = await proposed(target, pin)
    expect([codes(proposal), proposal.steps[0]?.args]).toMatchObject([[], { replace: 'none' }])
    expect(await applied(target, proposal)).toEqual(['shop/roll/daemonset.shop: done'])
    expect(new Set(await running(space))).toEqual(new Set([IMAGES.good]))
  })

  it('tells of a StatefulSet that numbers its pods from elsewhere than at the release, though nothing else differs', async ctx => {
    if (kube.minor < 27) ctx.skip('served since 1.27')
    const target = await space.open({ objects: ['statefulset/shop'], limits: { settle: '100ms' } })
    await put(space, workload('StatefulSet', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'statefulset/shop')
    const pin = await captured(target)
    await space.kubectl('patch', 'statefulset', 'shop', '--type=merge', '-p', '{"spec":{"ordinals":{"start":5}}}')
    const names = async () => (await pods(space)).map(pod => pod.metadata.name).sort()
    await expect.poll(names, { timeout: 60_000 }).toEqual(['shop-5', 'shop-6'])
    await rolledOut(space, 'statefulset/shop')
    const proposal = await proposed(target, pin)
    expect(proposal).toMatchObject({
      change: null,
      steps: [],
      findings: [{ level: 'warning', code: 'ordinals_differ' }],
    })
    const [{ what, remedy } = { what: '', remedy: '' }] = proposal.findings
    expect(what).toContain('numbered from 5 on, and were from 0 on at v1')
    const [, way = ''] = /kubectl -n \S+ (.*)$/.exec(remedy) ?? []
    await space.kubectl(...(way.match(/'[^']*'|\S+/g) ?? []).map(word => word.replaceAll("'", '')))
    await expect.poll(names, { timeout: 60_000 }).toEqual(['shop-0', 'shop-1'])
    await expect.poll(async () => codes(await proposed(target, pin)), { timeout: 60_000 }).toEqual([])
  })

  it('tells of a volume that is an image, which nobody says by its digest (a stand-in, or a real cluster, of 1.35)', async () => {
    // Before 1.35 a server does not take them unless it is told to.
    await using newer = await startKube({ minor: 35 }, { another: kube.minor < 35 })
    const room = await newer.namespace()
    const target = await room.open({ objects: ['deployment/shop'], limits: { settle: '100ms' } })
    const made = (reference: string, image: string) =>
      // No pods: these images are nowhere to be had.
      workload('Deployment', 'shop', {
        image,
        replicas: 0,
        pod: { volumes: [{ name: 'model', image: { reference } }] },
      })
    for (const [reference, codesThen] of [
      ['example.test/model:stable', ['image_volume']],
      [`example.test/model@sha256:${'0'.repeat(64)}`, []],
    ] as const) {
      await put(room, made(reference, IMAGES.good))
      await rolledOut(room, 'deployment/shop')
      const pin = await captured(target)
      await put(room, made(reference, IMAGES.bad))
      await rolledOut(room, 'deployment/shop')
      expect(codes(await proposed(target, pin))).toEqual(codesThen)
    }
  })
})
