import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  applied,
  captured,
  codes,
  configMap,
  IMAGES,
  type Kube,
  proposed,
  put,
  rolledOut,
  type Space,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const PATIENT = { timeout: 60_000, interval: 500 }

describe.skipIf(noKubectl() !== null)(`C5: pods of the release that do not stay up ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => void (kube = await startKube()))
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => void (space = await kube.namespace()))

  /** What its pods need is there, or is gone: they see it when they start. */
  const mode = (MODE: string) => space.kubectl.apply(configMap('mode', { MODE }))
  const anew = () => space.kubectl('delete', 'pods', '-l', 'app=shop', '--wait=false')
  const shop = (kind: string, bad: string) => {
    const command = ['sh', '-c', `[ "$MODE" = good ] || { ${bad}; }; exec sleep 100000`]
    const container = { command, envFrom: [{ configMapRef: { name: 'mode' } }] }
    return workload(kind, 'shop', { image: IMAGES.shell, container })
  }
  async function started(kind: string, bad = 'exit 3') {
    const object = `${kind.toLowerCase()}/shop`
    await mode('good')
    await put(space, shop(kind, bad))
    await rolledOut(space, object)
    const target = await space.open({ objects: [object], current: ['configmap/mode'], limits: { settle: '500ms' } })
    return { object, target, pin: await captured(target) }
  }
  const unwell = async (target: Target<KubernetesPin>, pin: KubernetesPin) => {
    const { unwell: found = [], ...proposal } = await proposed(target, pin)
    return { proposal, why: found.map(({ why }) => why).join() }
  }

  for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet']) {
    it(`are told of a ${kind}, though nothing of it is another release`, async () => {
      const { object, target, pin } = await started(kind)
      expect(await unwell(target, pin)).toMatchObject({ why: '', proposal: { steps: [], change: null } })
      await mode('bad')
      await anew()
      const why = async () => (await unwell(target, pin)).why
      await expect.poll(why, PATIENT).toMatch(RegExp(`0 of \\d pods of ${object} stay up \\(shop-.*CrashLoopBackOff`))
      const { proposal } = await unwell(target, pin)
      expect(proposal).toMatchObject({ change: null, steps: [] })
      expect(codes(proposal)).toContain('pods_unwell')
      await mode('good')
      await anew()
      await expect.poll(why, PATIENT).toBe('')
    })
  }

  it('are no more of it than it had, though somebody asked for more', async () => {
    const { object, target, pin } = await started('Deployment')
    await space.kubectl('scale', object, '--replicas=3')
    await rolledOut(space, object)
    expect(await unwell(target, pin)).toMatchObject({ why: '', proposal: { change: { fewer: true } } })
    await mode('bad')
    await anew()
    const why = async () => (await unwell(target, pin)).why
    await expect.poll(why, PATIENT).toContain('0 of 3 pods of deployment/shop stay up')
  })

  it('are not those that somebody added and that are still on their way', async () => {
    const { target, pin } = await started('Deployment')
    await space.kubectl('scale', 'deployment/shop', '--replicas=3')
    expect((await unwell(target, pin)).why).toBe('')
  })

  it('run for a moment in between: one that was started anew just now is not up', async () => {
    const { object, target, pin } = await started('Deployment', 'sleep 4; exit 3')
    await space.kubectl('set', 'env', object, 'RELEASE=v2')
    await rolledOut(space, object)
    expect(await applied(target, await proposed(target, pin))).toEqual(['shop/roll/deployment.shop: done'])
    expect((await unwell(target, pin)).why).toBe('')
    await mode('bad')
    await anew()
    const why = async () => (await unwell(target, pin)).why
    await expect.poll(why, PATIENT).toContain('was started anew just now')
  })

  it('are well once they stay up again where no step was done to them: what they lacked may be back by this run', async () => {
    await mode('bad')
    await put(space, shop('Deployment', 'exit 3'))
    const restarts = () =>
      space.kubectl('get', 'pods', '-o', 'jsonpath={.items[*].status.containerStatuses[*].restartCount}')
    await expect.poll(restarts, PATIENT).toMatch(/[1-9] [1-9]/)
    await mode('good')
    await rolledOut(space, 'deployment/shop')
    const target = await space.open({ objects: ['deployment/shop'], limits: { settle: '500ms', stuck: '1s' } })
    await expect.poll(() => captured(target).catch(() => null), PATIENT).not.toBeNull()
    const pin = await captured(target)
    const limits = { settle: '500ms', stuck: '10m' }
    const patient = await space.open({ objects: ['deployment/shop'], current: ['configmap/mode'], limits })
    expect((await unwell(patient, pin)).why).toBe('')
  })
})
