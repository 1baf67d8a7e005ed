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
  signal,
  skipWithoutVolumes,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Fact } from '../../core/contract.ts'

const QUICK = { limits: { settle: '100ms' } }
const STOPPED = { needs: [{ of: 'shop', what: 'stopped' as const, by: 'db' }] }

describe.skipIf(noKubectl() !== null)(`C5: what a run stopped ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  /** Applies what stops the objects of a plan, where its run ends. */
  async function stop(target: Awaited<ReturnType<Space['open']>>, pin: Awaited<ReturnType<typeof captured>>) {
    const step = ordered(await proposed(target, pin, 'adopt', STOPPED)).find(one => one.id.startsWith('shop/stop/'))
    if (step === undefined) throw new Error('nothing is stopped')
    const facts: Fact[] = []
    await target.apply(step, { ...stepAct(step), tell: async fact => void facts.push(fact) })
    expect((await target.verify(step, stepAct(step))).is).toBe('done')
    expect(step.lasts).toBe(true)
    return facts.map(fact => (fact.data as { lift: string }).lift).join()
  }

  it.each(['DaemonSet', 'StatefulSet'])('comes back with a later plan: a %s', async kind => {
    const object = `${kind.toLowerCase()}/shop`
    const target = await space.open({ objects: [object], ...QUICK })
    await put(space, workload(kind, 'shop', { image: IMAGES.good }))
    await rolledOut(space, object)
    const pin = await captured(target)
    const before = (await pods(space)).length
    await space.kubectl('set', 'image', object, `app=${IMAGES.bad}`)
    await rolledOut(space, object)
    await stop(target, pin)
    expect(await pods(space)).toEqual([])
    const later = await proposed(target, pin)
    expect(await applied(target, later, 'r2')).toEqual([`shop/roll/${kind.toLowerCase()}.shop: done`])
    expect(await running(space)).toEqual(Array.from({ length: before }, () => IMAGES.good))
  })

  it.each(['DaemonSet', 'StatefulSet'])(
    'stays so where the run ends there, says so and how it runs again: a %s',
    async kind => {
      const object = `${kind.toLowerCase()}/shop`
      const target = await space.open({ objects: [object], ...QUICK })
      await put(space, workload(kind, 'shop', { image: IMAGES.good }))
      await rolledOut(space, object)
      const pin = await captured(target)
      const before = (await pods(space)).length
      await space.kubectl('set', 'image', object, `app=${IMAGES.bad}`)
      await rolledOut(space, object)
      const lift = await stop(target, pin)
      const [, ...words] = lift.match(/'[^']*'|\S+/g) ?? []
      await space.kubectl(...words.map(word => word.replaceAll("'", '')))
      await expect.poll(async () => (await running(space)).length, { timeout: 60_000 }).toBe(before)
      expect(new Set(await running(space))).toEqual(new Set([IMAGES.bad]))
    },
  )

  it('is no release, no part of what is captured, and never nothing to do: a DaemonSet that the team deployed since', async () => {
    const target = await space.open({ objects: ['daemonset/shop'], ...QUICK })
    await put(space, workload('DaemonSet', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'daemonset/shop')
    const pin = await captured(target)
    const before = (await pods(space)).length
    await put(space, workload('DaemonSet', 'shop', { image: IMAGES.bad }))
    await rolledOut(space, 'daemonset/shop')
    const lift = await stop(target, pin)
    // What kubectl applies leaves the selector of the stop there, and calls it rolled out.
    await put(space, workload('DaemonSet', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'daemonset/shop')
    expect(await running(space)).toEqual([])
    expect((await target.observe(signal)).summary).toContain('stopped by Backout')
    const [held] = (await target.ready?.(signal))?.findings ?? []
    expect(held).toMatchObject({ code: 'object_stopped', level: 'warning' })
    expect(held?.remedy).toContain(lift)
    await expect(captured(target)).rejects.toMatchObject({
      code: 'object_stopped',
      next: expect.stringContaining(lift) as string,
    })
    for (const rung of ['adopt', 'template', 'image', 'manifest'])
      expect((await proposed(target, pin, rung)).steps.map(one => one.id)).toEqual(['shop/roll/daemonset.shop'])
    const departure = { ...stepAct(), purpose: 'departure' as const, release: 'v3' }
    const left = await target.capture(await target.observe(signal), departure)
    const back = await proposed(target, left, 'template')
    expect(await applied(target, back, 'r2')).toEqual(['shop/roll/daemonset.shop: done'])
    expect(await running(space)).toEqual(Array.from({ length: before }, () => IMAGES.good))
  })

  it('runs commands in the release that was left, though it was left by a DaemonSet that was stopped', async () => {
    const target = await space.open({ objects: ['daemonset/shop'], ...QUICK })
    const container = { command: ['sh', '-c', 'exec sleep 100000'] }
    const made = (value: string) =>
      workload('DaemonSet', 'shop', {
        image: IMAGES.shell,
        container: { ...container, env: [{ name: 'VERSION', value }] },
      })
    await put(space, made('good'))
    await rolledOut(space, 'daemonset/shop')
    const pin = await captured(target)
    await put(space, made('bad'))
    await rolledOut(space, 'daemonset/shop')
    await applied(target, await proposed(target, pin, 'adopt', STOPPED))
    const act = { ...stepAct(), idem: 'r1.db.down', limitMs: 60_000 }
    expect(await target.exec?.('from', ['sh', '-c', 'echo $VERSION'], act)).toMatchObject({ stdout: 'bad\n' })
  })

  describe('where its volumes go with its pods (since 1.27)', () => {
    const claims = [
      {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
      },
    ]
    const made = (replicas: number, image: string) =>
      workload('StatefulSet', 'shop', {
        image,
        replicas,
        spec: { volumeClaimTemplates: claims, persistentVolumeClaimRetentionPolicy: { whenScaled: 'Delete' } },
      })

    it('a StatefulSet is not stopped, nor is it given fewer pods', async context => {
      if (kube.minor < 27) context.skip('served since 1.27')
      await skipWithoutVolumes(kube, space, context)
      const target = await space.open({ objects: ['statefulset/shop'], ...QUICK })
      await put(space, made(2, IMAGES.good))
      await rolledOut(space, 'statefulset/shop')
      const pin = await captured(target)
      await put(space, made(3, IMAGES.bad))
      await rolledOut(space, 'statefulset/shop')
      const stopping = await proposed(target, pin, 'adopt', STOPPED)
      expect([codes(stopping), stopping.steps]).toEqual([['VOLUMES_DELETED', 'volumes_kept'], []])
      expect(stopping.findings.find(one => one.level === 'blocker')?.remedy).toContain('kubectl')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['volumes_kept'])
      expect(await applied(target, proposal)).toEqual(['shop/roll/statefulset.shop: done'])
      expect(await running(space)).toEqual([IMAGES.good, IMAGES.good, IMAGES.good])
      expect((await proposed(target, pin)).steps).toEqual([])
      expect(await space.kubectl('get', 'persistentvolumeclaims', '-o', 'name')).toMatch(/data-shop-2/)
    })
  })
})
