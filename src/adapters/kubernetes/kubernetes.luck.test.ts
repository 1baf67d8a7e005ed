import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  captured,
  codes,
  configMap,
  IMAGES,
  type Kube,
  pods,
  proposed,
  released as releasedOn,
  rolledOut,
  rollStep,
  running,
  type Space,
  setImage as setImageOf,
  signal,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Progress, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'
import { pinnedRef } from '../../kubernetes/template.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }
const BACK = [IMAGES.good, IMAGES.good]

describe.skipIf(noKubectl() !== null)(`C5: bad luck ${noKubectl() ?? ''}`, () => {
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

  const setImage = (image: string) => setImageOf(space, image)
  const released = (more?: Partial<Parameters<typeof workload>[2]>) => releasedOn(space, target, more)

  it('never brings the bad version back by a second rollback right after the first', async () => {
    const pin = await released()
    const first = await proposed(target, pin)
    expect(await applied(target, first)).toEqual(['shop/roll/deployment.shop: done'])
    expect((await proposed(target, pin)).steps).toEqual([])
    // The same plan again, as an impatient person would run it.
    expect(await applied(target, first, 'r2')).toEqual(['shop/roll/deployment.shop: done'])
    expect(await running(space)).toEqual(BACK)
  })

  it('puts the template back where the revision was pruned', async () => {
    const pin = await released({ spec: { revisionHistoryLimit: 0 } })
    await expect.poll(async () => codes(await proposed(target, pin)), { timeout: 30_000 }).toContain('REVISION_GONE')
    const proposal = await proposed(target, pin, 'template')
    expect(codes(proposal)).not.toContain('REVISION_GONE')
    await applied(target, proposal)
    expect(await running(space)).toEqual(BACK)
    const [image] = (await pods(space)).map(pod => pod.spec.containers[0]?.image)
    // A node that was given the image by hand knows no digest that could be asked for.
    const [ran = ''] = pin.objects['deployment/shop']?.images['app']?.ids ?? []
    expect(image).toBe(pinnedRef(IMAGES.good, ran))
    expect((await proposed(target, pin, 'template')).steps).toEqual([])
  })

  // A quota, a namespace that is told to enforce a Pod Security Standard, a policy: it is the pods that are refused, not the object.
  it('gives up where the server lets none of its pods be made, and says why', async () => {
    const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
    const pin = await released({ spec: { strategy } })
    await using hasty = await space.open({ ...SHOP, limits: { settle: '100ms', stuck: '2s', rollout: '40s' } })
    const step = rollStep(await proposed(hasty, pin))
    const quota = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'few' }, spec: { hard: { pods: '2' } } }
    await space.kubectl.apply(quota)
    const used = () => space.kubectl('get', 'resourcequota', 'few', '-o', 'jsonpath={.status.used.pods}')
    await expect.poll(used, { timeout: 30_000 }).toBe('2')
    await expect(hasty.apply(step, stepAct(step))).rejects.toMatchObject({
      code: 'rollout_stuck',
      message: expect.stringContaining('no further pod of it can be made for 2 s') as string,
      why: expect.stringMatching(/FailedCreate pods "shop-.*exceeded quota: few/) as string,
    })
    // Nobody was hurt: those that are left serve on.
    expect(await running(space)).toEqual([IMAGES.bad, IMAGES.bad])
    await space.kubectl('delete', 'resourcequota', 'few')
    await expect.poll(() => running(space), { timeout: 60_000 }).toEqual(BACK)
    await expect.poll(async () => (await hasty.verify(step, stepAct(step))).is, { timeout: 60_000 }).toBe('done')
  })

  it('C2: sees a rollout that is stuck, stops it as a step, and goes back', async () => {
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await setImage(IMAGES.missing)
    await expect.poll(async () => (await pods(space)).length, { timeout: 60_000 }).toBe(3)
    const observed = await target.observe(signal)
    expect(observed.inFlight).toMatchObject([{ what: expect.stringContaining('1 of 2 pods replaced') as string }])
    const proposal = await proposed(target, pin)
    expect(proposal.settles).toEqual(observed.inFlight.map(op => op.what))
    expect(await applied(target, proposal)).toEqual([
      'shop/halt/deployment.shop: done',
      'shop/roll/deployment.shop: done',
    ])
    expect(await running(space)).toEqual(BACK)
    expect(JSON.parse(await space.kubectl('get', 'deployment', 'shop', '-o', 'json'))).toMatchObject({
      spec: { template: { spec: { containers: [{ image: IMAGES.good }] } } },
    })
  })

  it('goes back from a rollout that its controller has given up on, and does not take that for its own', async () => {
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good, replicas: 1 }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    // Not before: on a busy machine the good pod itself may take that long.
    const spec = { progressDeadlineSeconds: 2 }
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.missing, replicas: 1, spec }))
    const { stderr } = await space.kubectl.fails('rollout', 'status', 'deployment/shop', '--timeout=120s')
    expect(stderr).toContain('exceeded its progress deadline')
    expect((await target.observe(signal)).inFlight).toMatchObject([
      { what: expect.stringContaining('stuck') as string },
    ])
    expect(await applied(target, await proposed(target, pin))).toEqual([
      'shop/halt/deployment.shop: done',
      'shop/roll/deployment.shop: done',
    ])
    expect(await running(space)).toEqual([IMAGES.good])
  })

  it('says why a rollback gets stuck, with the last words of what dies, and calls it not done', async () => {
    const command = ['sh', '-c', 'test "$MODE" = ok || { echo "no mode $MODE" >&2; exit 3; }; exec sleep 100000']
    const container = { command, envFrom: [{ configMapRef: { name: 'mode' } }] }
    await space.kubectl.apply(configMap('mode', { MODE: 'ok' }))
    const settings = { ...SHOP, current: ['configmap/mode'], limits: { stuck: '1s', settle: '3s' } }
    target = await space.open(settings)
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.shell, container }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await space.kubectl.apply(
      workload('Deployment', 'shop', {
        image: IMAGES.shell,
        container: { ...container, command: ['sleep', '100000'] },
      }),
    )
    await rolledOut(space, 'deployment/shop')
    await space.kubectl.apply(configMap('mode', { MODE: 'broken' }))
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['config_current'])
    const step = rollStep(proposal)
    const handles = new Map<string, Json>()
    const said: Progress[] = []
    const act = { ...stepAct(step, 'r1', handles), progress: (p: Progress) => void said.push(p) }
    await expect(target.apply(step, act)).rejects.toMatchObject({
      code: 'rollout_stuck',
      why: expect.stringContaining('no mode broken') as string,
    })
    expect(said.some(p => /CrashLoopBackOff|Error/.test(p.text))).toBe(true)
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'not-done' })
    await space.kubectl.apply(configMap('mode', { MODE: 'ok' }))
    await using patient = await space.open({ ...SHOP, current: settings.current })
    await patient.apply(step, stepAct(step, 'r1', handles))
    expect((await patient.verify(step, stepAct(step, 'r1', handles))).is).toBe('done')
  })

  it('gives up on pods that merely never get ready once the whole time is over', async () => {
    const readinessProbe = { exec: { command: ['sh', '-c', 'test "$MODE" = ok'] }, periodSeconds: 1 }
    const container = { command: ['sleep', '100000'], envFrom: [{ configMapRef: { name: 'mode' } }], readinessProbe }
    await space.kubectl.apply(configMap('mode', { MODE: 'ok' }))
    target = await space.open({ ...SHOP, current: ['configmap/mode'], limits: { rollout: '3s' } })
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.shell, container }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    const { readinessProbe: _, ...unprobed } = container
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.shell, container: unprobed }))
    await rolledOut(space, 'deployment/shop')
    await space.kubectl.apply(configMap('mode', { MODE: 'broken' }))
    const step = rollStep(await proposed(target, pin))
    const handles = new Map<string, Json>()
    await expect(target.apply(step, stepAct(step, 'r1', handles))).rejects.toMatchObject({
      code: 'rollout_stuck',
      message: expect.stringContaining('not all of its pods were there within 3 s (not ready: shop-') as string,
    })
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'not-done' })
  })

  it.each([
    ['scales it', 'it has 0 replicas, and is to have 2', ['scale', 'deployment/shop', '--replicas=0']],
    ['pauses it', 'it is paused', ['rollout', 'pause', 'deployment/shop']],
    ['deploys there', 'its container app is', ['set', 'image', 'deployment/shop', `app=${IMAGES.shell}`]],
  ])('says what it was where somebody %s while pods are replaced', async (_, why, args) => {
    const pin = await released()
    // Long enough to come in between.
    await using slow = await space.open({ ...SHOP, limits: { settle: '120s' } })
    const step = rollStep(await proposed(slow, pin))
    const said: string[] = []
    const progress = ({ text }: Progress) => void said.push(text ?? '')
    const going = slow.apply(step, { ...stepAct(step), progress }).catch((error: unknown) => error)
    await expect.poll(() => said.join(), { timeout: 60_000 }).toContain('whether they stay up')
    await space.kubectl(...args)
    const what = new RegExp(`^While its pods were replaced, kubectl\\S* changed deployment/shop: ${why}`)
    expect(await going).toMatchObject({ code: 'object_moved', message: expect.stringMatching(what) as string })
    const verdict = { is: 'not-done', why: expect.stringContaining(why) as string }
    expect(await target.verify(step, stepAct(step))).toMatchObject(verdict)
  })

  it('makes an object again that is gone, and says by which rung', async () => {
    const pin = await released()
    await space.kubectl('delete', 'deployment', 'shop')
    for (const rung of ['adopt', 'template', 'image']) {
      expect(codes(await proposed(target, pin, rung))).toEqual(['OBJECT_GONE'])
    }
    const proposal = await proposed(target, pin, 'manifest')
    expect(codes(proposal)).toContain('object_gone')
    await applied(target, proposal)
    expect(await running(space)).toEqual(BACK)
  })

  it('refuses to capture what is not there, and what is being rolled out', async () => {
    const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
    await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({ code: 'object_missing' })
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.missing }))
    await expect.poll(async () => (await pods(space)).length, { timeout: 60_000 }).toBe(2)
    await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({
      code: 'object_unavailable',
    })
  })

  it('blocks where the namespace is gone', async () => {
    const pin = await released()
    await space.kubectl('delete', 'namespace', space.name, '--wait=true')
    expect(codes(await proposed(target, pin, 'manifest'))).toEqual(['NAMESPACE_GONE'])
  })

  it('leaves an object alone that somebody deployed to since the plan', async () => {
    const pin = await released()
    const step = rollStep(await proposed(target, pin))
    await setImage(IMAGES.shell)
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({
      code: 'object_moved',
      message: expect.stringContaining('kubectl') as string,
    })
    expect((await target.verify(step, stepAct(step))).is).toBe('not-done')
  })
})
