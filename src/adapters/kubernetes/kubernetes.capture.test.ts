import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  captured,
  IMAGES,
  type Kube,
  put,
  rolledOut,
  running,
  type Space,
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
    expect(await captured(target)).toMatchObject({ objects: { 'deployment/shop': { ran: 2 } } })
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
