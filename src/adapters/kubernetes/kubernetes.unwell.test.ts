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

const ALWAYS = ['sh', '-c', 'exec sleep 100000']
const STAYS = { restartPolicy: 'Always' }
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
  const envFrom = [{ configMapRef: { name: 'mode' } }]
  /** `first`: what dies, or does not, is an init container: it runs before the others to its end, or beside them where it stays. */
  const shop = (kind: string, bad: string, first?: object) => {
    const command = ['sh', '-c', `[ "$MODE" = good ] || { ${bad}; }; exec sleep 100000`]
    if (first === undefined) return workload(kind, 'shop', { image: IMAGES.shell, container: { command, envFrom } })
    const initContainers = [{ name: 'first', image: IMAGES.shell, envFrom, ...first }]
    return workload(kind, 'shop', { image: IMAGES.shell, container: { command: ALWAYS }, pod: { initContainers } })
  }
  async function started(kind: string, bad = 'exit 3', first?: object, limits: object = {}) {
    const object = `${kind.toLowerCase()}/shop`
    await mode('good')
    await put(space, shop(kind, bad, first))
    await rolledOut(space, object)
    const settings = { objects: [object], current: ['configmap/mode'], limits: { settle: '500ms', ...limits } }
    const target = await space.open(settings)
    return { object, target, pin: await captured(target) }
  }
  const unwell = async (target: Target<KubernetesPin>, pin: KubernetesPin) => {
    const { unwell: found = [], ...proposal } = await proposed(target, pin)
    return { proposal, why: found.map(({ why }) => why).join(), mayTakeMs: found[0]?.mayTakeMs }
  }

  for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet']) {
    it(`are told of a ${kind}, though nothing of it is another release`, async () => {
      const { object, target, pin } = await started(kind)
      expect(await unwell(target, pin)).toMatchObject({ why: '', proposal: { steps: [], change: null } })
      await mode('bad')
      await anew()
      const why = async () => (await unwell(target, pin)).why
      await expect.poll(why, PATIENT).toMatch(RegExp(`0 of \\d pods of ${object} stay up \\(shop-.*CrashLoopBackOff`))
      const told = async () => {
        const { proposal, mayTakeMs } = await unwell(target, pin)
        // A StatefulSet that waits for its first pod before it makes the next one would be followed.
        const is = proposal.change === null ? codes(proposal).includes('pods_unwell') : proposal.change.coming
        return [mayTakeMs, is]
      }
      await expect.poll(told, PATIENT).toEqual([undefined, true])
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

  /** Goes on after it was started for so many seconds. */
  const after = (seconds: number) => ({ command: ['sh', '-c', `[ "$MODE" = good ] || sleep ${seconds}`] })

  for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet']) {
    it(`of a ${kind} may be on their way: they have as long as their step would have`, async () => {
      const { object, target, pin } = await started(kind, '', after(6), { rollout: '2m', stuck: '1s' })
      await mode('slow')
      await anew()
      const mayTake = async () => (await unwell(target, pin)).mayTakeMs ?? 0
      await expect.poll(mayTake, PATIENT).toBeGreaterThan(60_000)
      const { why, proposal } = await unwell(target, pin)
      expect(why).toMatch(RegExp(`\\d of \\d pods of ${object} stay up$`))
      for (const { code, what } of proposal.findings) if (code === 'pods_unwell') expect(what).toContain('is up yet')
      await expect.poll(async () => (await unwell(target, pin)).why, PATIENT).toBe('')
      const hasty = await space.open({ objects: [object], current: ['configmap/mode'], limits: { rollout: '1s' } })
      await mode('slower')
      await anew()
      const late = async () => Object.values(await unwell(hasty, pin)).slice(1)
      await expect.poll(late, PATIENT).toEqual([expect.stringMatching(/0 of \d pods/) as string, undefined])
    })
  }

  it('are on their way where somebody has a StatefulSet make more of them, one after the other', async () => {
    const { object, target, pin } = await started('StatefulSet', '', after(6))
    await mode('slow')
    await space.kubectl('scale', object, '--replicas=4')
    const seen = async () => {
      const { proposal, why, mayTakeMs } = await unwell(target, pin)
      return [proposal.change?.coming ?? proposal.change?.fewer, why, mayTakeMs]
    }
    expect((await seen())[0]).toBe(true)
    await rolledOut(space, object)
    await expect.poll(async () => (await unwell(target, pin)).proposal.change?.fewer, PATIENT).toBe(true)
  })

  it('are not up where what stays beside their containers dies', async ctx => {
    if (kube.minor < 29) ctx.skip('the cluster does not know sidecars')
    const command = ['sh', '-c', '[ "$MODE" = good ] || exit 3; exec sleep 100000']
    const { object, target, pin } = await started('DaemonSet', '', { ...STAYS, command })
    expect((await unwell(target, pin)).why).toBe('')
    await mode('bad')
    await anew()
    const ill = async () => Object.values(await unwell(target, pin)).slice(1)
    const why = expect.stringMatching(RegExp(`0 of \\d pods of ${object} stay up \\(shop-.*CrashLoopBackOff`)) as string
    await expect.poll(ill, PATIENT).toEqual([why, undefined])
  })

  it('are not up where what stays beside their containers does not let those start', async ctx => {
    if (kube.minor < 29) ctx.skip('the cluster does not know sidecars')
    const exec = { command: ['sh', '-c', '[ "$MODE" = good ]'] }
    const startupProbe = { exec, periodSeconds: 1, failureThreshold: 1000 }
    const { object, target, pin } = await started('DaemonSet', '', { ...STAYS, command: ALWAYS, startupProbe })
    await mode('bad')
    await anew()
    const ill = async () => Object.values(await unwell(target, pin)).slice(1)
    const why = expect.stringMatching(RegExp(`0 of \\d pods of ${object} stay up`)) as string
    await expect.poll(ill, PATIENT).toEqual([why, expect.any(Number)])
  })
})
