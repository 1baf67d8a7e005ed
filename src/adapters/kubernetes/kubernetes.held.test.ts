import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  captured,
  codes,
  IMAGES,
  type Kube,
  openNodes,
  proposed,
  put,
  rolledOut,
  rollStep,
  running,
  type Space,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Progress, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const BACK = [IMAGES.good, IMAGES.good]
const BAD = [IMAGES.bad, IMAGES.bad]

describe.skipIf(noKubectl() !== null)(`C5: a rollback that the cluster holds up ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube({ controlPlane: true })
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  /** Applies a step, and keeps what it says meanwhile. */
  function begun(target: Target<KubernetesPin>, step: Step) {
    const said: string[] = []
    const handles = new Map<string, Json>()
    const going = target.apply(step, {
      ...stepAct(step, 'r1', handles),
      progress: (p: Progress) => void said.push(p.text),
    })
    going.catch(() => {})
    return { going, said, became: async () => (await target.verify(step, stepAct(step, 'r1', handles))).is }
  }

  describe('by a PodDisruptionBudget', () => {
    const budget = (minAvailable: number) => ({
      apiVersion: kube.policy,
      kind: 'PodDisruptionBudget',
      metadata: { name: 'all' },
      spec: { minAvailable, selector: { matchLabels: { app: 'shop' } } },
    })
    const REFUSED =
      /^shop-\d may not go yet: Cannot evict pod as it would violate the pod's disruption budget\.; The disruption budget all needs 2 healthy pods and has 2 currently$/

    /** Pods of the bad release run and are ready, no pod may go, and each would have to be evicted. */
    async function guarded(limits: object = {}): Promise<{ target: Target<KubernetesPin>; step: Step }> {
      const target = await space.open({ objects: ['statefulset/shop'], limits: { settle: '100ms', ...limits } })
      const made = (image: string) =>
        workload('StatefulSet', 'shop', { image, spec: { updateStrategy: { type: 'OnDelete' } } })
      await put(space, made(IMAGES.good))
      await expect.poll(() => running(space), { timeout: 90_000 }).toEqual(BACK)
      const pin = await captured(target)
      await put(space, made(IMAGES.bad))
      await space.kubectl('delete', 'pods', '-l', 'app=shop')
      await expect.poll(() => running(space), { timeout: 90_000 }).toEqual(BAD)
      await put(space, budget(2))
      const found = async () => codes(await proposed(target, pin))
      await expect.poll(found, { timeout: 60_000 }).toEqual(['disruption_budget', 'pods_deleted'])
      return { target, step: rollStep(await proposed(target, pin)) }
    }

    it('waits, says which budget, and goes on once it lets a pod go', async () => {
      const { target, step } = await guarded()
      const { going, said, became } = begun(target, step)
      await expect.poll(() => said.some(text => REFUSED.test(text)), { timeout: 60_000 }).toBe(true)
      expect(await running(space)).toEqual(BAD)
      await put(space, budget(1))
      await going
      expect(await running(space)).toEqual(BACK)
      expect(await became()).toBe('done')
    })

    it('gives up once its time is over, with the budget in what it says, and has taken no pod away', async () => {
      const { target, step } = await guarded({ rollout: '4s' })
      const { going, became } = begun(target, step)
      await expect(going).rejects.toMatchObject({
        code: 'rollout_stuck',
        message: expect.stringMatching(
          /not all of its pods were there within 4 s \(shop-\d may not go yet: Cannot evict pod .*disruption budget all needs 2/,
        ) as string,
      })
      expect(await became()).toBe('not-done')
      expect(await running(space)).toEqual(BAD)
    })
  })

  it("by a node that is not there: says so in the scheduler's words, and users keep what they have", async () => {
    const label = `backout.test/${space.name}`
    const [open] = await openNodes(space.kubectl)
    const node = `node/${open?.metadata.name}`
    const settings = { objects: ['deployment/shop'], limits: { settle: '100ms', stuck: '1s', rollout: '6s' } }
    const target = await space.open(settings)
    await space.kubectl('label', node, `${label}=yes`)
    try {
      const pod = { nodeSelector: { [label]: 'yes' } }
      await put(space, workload('Deployment', 'shop', { image: IMAGES.good, pod }))
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await put(space, workload('Deployment', 'shop', { image: IMAGES.bad, pod: { nodeSelector: null } }))
      await rolledOut(space, 'deployment/shop')
      await space.kubectl('label', node, `${label}-`)
      const step = rollStep(await proposed(target, pin))
      const { going, said, became } = begun(target, step)
      const words = /Unschedulable 0\/\d+ nodes are available: .*node\(s\) didn't match/
      // It is waited for as long as a rollout may take, for a node may be on its way: not for `stuck` alone.
      await expect(going).rejects.toMatchObject({
        code: 'rollout_stuck',
        message: expect.stringContaining('within 6 s') as string,
        why: expect.stringMatching(words) as string,
      })
      expect(said.some(text => /^1 of 2 pods replaced, 2 available; shop-\S+: Unschedulable 0\//.test(text))).toBe(true)
      expect(await became()).toBe('not-done')
      expect(await running(space)).toEqual(BAD)
      await space.kubectl('label', node, `${label}=yes`)
      await using patient = await space.open({ ...settings, limits: { settle: '100ms' } })
      await patient.apply(step, stepAct(step))
      expect(await running(space)).toEqual(BACK)
    } finally {
      await space.kubectl('label', node, `${label}-`)
    }
  })
})
