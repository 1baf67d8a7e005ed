import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  captured,
  IMAGES,
  type Kube,
  put,
  rolledOut,
  running,
  type Space,
  signal,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'

const limits = { settle: '100ms' }

describe.skipIf(noKubectl() !== null)(`C5: what is worth coming back to ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  const refusal = (what: string, next: string) => ({
    code: 'object_unavailable',
    message: expect.stringContaining(what) as string,
    next: expect.stringContaining(next) as string,
  })

  it('is not what is paused: that is said, with the command that lets it go on, and not to wait for it', async () => {
    await using target = await space.open({ objects: ['deployment/shop'], limits })
    await put(space, workload('Deployment', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'deployment/shop')
    await space.kubectl('rollout', 'pause', 'deployment/shop')
    await expect(captured(target)).rejects.toMatchObject(
      refusal('it is paused', `kubectl -n ${space.name} rollout resume deployment/shop`),
    )
    await space.kubectl('rollout', 'resume', 'deployment/shop')
    // Its controller has yet to see that.
    await rolledOut(space, 'deployment/shop')
    expect(await captured(target)).toMatchObject({ objects: { 'deployment/shop': { ran: 2 } } })
  })

  const dying = (seconds: number) => {
    const container = { command: ['sh', '-c', `sleep ${seconds}; exit 3`] }
    return workload('Deployment', 'shop', { image: IMAGES.shell, replicas: 1, container })
  }
  const again =
    /cannot be captured: app of shop-\S+ was started anew in the last 90 s \(\d+ times in all\), and ended with code 3/

  it('is not what runs for a moment and dies: what was started just now is watched first', async () => {
    await using target = await space.open({ objects: ['deployment/shop'], limits: { settle: '6s' } })
    await put(space, dying(3))
    await expect.poll(() => running(space), { timeout: 60_000 }).toHaveLength(1)
    await expect(captured(target)).rejects.toMatchObject({ code: 'object_unavailable' })
  })

  it('is not what was started anew a short while ago, in the moment in which it runs', async () => {
    await using target = await space.open({ objects: ['deployment/shop'], limits })
    await put(space, dying(4))
    const restarted = () =>
      space.kubectl('get', 'pods', '-o', 'jsonpath={.items[*].status.containerStatuses[0].restartCount}')
    await expect.poll(restarted, { timeout: 60_000 }).not.toBe('0')
    await expect
      .poll(() => captured(target).catch((error: unknown) => error), { timeout: 60_000 })
      .toMatchObject({
        code: 'object_unavailable',
        message: expect.stringMatching(again) as string,
        next: expect.stringContaining('--previous') as string,
      })
    // What it was left at is captured all the same: a departure is whatever is there.
    const act = { ...stepAct(), purpose: 'departure' as const, release: 'v1' }
    const departure = await target.capture(await target.observe(signal), act)
    expect(Object.keys(departure.objects)).toEqual(['deployment/shop'])
  })

  it.each([
    ['its partition 1 keeps', { type: 'RollingUpdate', rollingUpdate: { partition: 1 } }, '"partition":0'],
    ['(OnDelete)', { type: 'OnDelete' }, 'delete those that are of another revision'],
  ])('is not a StatefulSet of which %s pods back', async (what, updateStrategy, next) => {
    await using target = await space.open({ objects: ['statefulset/shop'], limits })
    const queue = (image: string) => workload('StatefulSet', 'shop', { image, spec: { updateStrategy } })
    await put(space, queue(IMAGES.good))
    await expect.poll(() => running(space), { timeout: 60_000 }).toHaveLength(2)
    await put(space, queue(IMAGES.bad))
    const then = updateStrategy.type === 'OnDelete' ? [IMAGES.good, IMAGES.good] : [IMAGES.good, IMAGES.bad].sort()
    await expect.poll(() => running(space), { timeout: 60_000 }).toEqual(then)
    await expect
      .poll(() => captured(target).catch((error: unknown) => error), { timeout: 60_000 })
      .toMatchObject(refusal(what, next))
  })
})
