import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  captured,
  configMap,
  IMAGES,
  type Kube,
  noPush,
  pods,
  proposed,
  rolledOut,
  rollStep,
  running,
  type Space,
  setImage,
  signal,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }
const BACK = [IMAGES.good, IMAGES.good]

describe.skipIf(noKubectl() !== null)(`C5: what pods say of themselves ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  it.skipIf(noPush !== null)(`that two images run under one tag, which is no release ${noPush ?? ''}`, async () => {
    const tag = `example.test/${space.name}:stable`
    const good = await kube.push(tag)
    const target = await space.open(SHOP)
    await space.kubectl.apply(workload('Deployment', 'shop', { image: tag, container: { imagePullPolicy: 'Always' } }))
    await rolledOut(space, 'deployment/shop')
    const bad = await kube.push(tag, { log: ['another one'] })
    const [one] = await pods(space)
    await space.kubectl('delete', 'pod', one?.metadata.name ?? '')
    await expect.poll(async () => (await running(space)).length, { timeout: 60_000 }).toBe(2)
    await rolledOut(space, 'deployment/shop')
    await expect(captured(target)).rejects.toMatchObject({
      code: 'object_mixed',
      message: expect.stringMatching(new RegExp(`under ${tag}: (.*1 of them (${good}|${bad})){2}`)) as string,
    })
    await setImage(space, `${tag}@${good}`)
    await rolledOut(space, 'deployment/shop')
    expect((await captured(target)).objects['deployment/shop']?.images['app']?.ids).toHaveLength(1)
  })

  describe.each(['container', 'sidecar'])('a %s that dies a second after each start', which => {
    const LIMITS = { settle: '2s', stuck: '1s' }

    beforeEach(ctx => {
      if (which === 'sidecar' && kube.minor < 29) ctx.skip('the cluster does not know sidecars')
    })

    /** With what it says of itself in the container, or in a sidecar beside one that is well. */
    function made(own: Record<string, unknown>) {
      const well = { command: ['sh', '-c', 'exec sleep 100000'] }
      const sidecar = { name: 'proxy', image: IMAGES.shell, restartPolicy: 'Always', ...own }
      const pod = which === 'container' ? {} : { initContainers: [sidecar] }
      const container = which === 'container' ? own : well
      return workload('Deployment', 'shop', { image: IMAGES.shell, replicas: 1, container, pod })
    }

    /** The release needs a mode that is gone: its container dies after each start, and is ready until then. */
    async function dying(): Promise<{ target: Target<KubernetesPin>; step: Step }> {
      const command = ['sh', '-c', 'test "$MODE" = ok && exec sleep 100000; sleep 1; exit 3']
      const envFrom = [{ configMapRef: { name: 'mode' } }]
      await space.kubectl.apply(configMap('mode', { MODE: 'ok' }))
      const target = await space.open({ ...SHOP, current: ['configmap/mode'], limits: LIMITS })
      await space.kubectl.apply(made({ command, envFrom }))
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await space.kubectl.apply(made({ command: ['sleep', '100000'], envFrom }))
      await rolledOut(space, 'deployment/shop')
      await space.kubectl.apply(configMap('mode', { MODE: 'broken' }))
      return { target, step: rollStep(await proposed(target, pin)) }
    }

    /** What the step is verified as over three seconds, asked all the time. */
    async function verdicts(target: Target<KubernetesPin>, step: Step, handles = new Map<string, Json>()) {
      const asked: Promise<string>[] = []
      for (let i = 0; i < 15; i++) {
        asked.push(target.verify(step, stepAct(step, 'r1', handles)).then(({ is }) => is))
        await new Promise(resolve => setTimeout(resolve, 200))
      }
      return new Set(await Promise.all(asked))
    }

    it('is never taken for back by who goes on where another process was killed', async () => {
      const { target, step } = await dying()
      const killed = new AbortController()
      const begun = target.apply(step, { ...stepAct(step), signal: killed.signal }).catch(() => 'killed')
      await using next = await space.open({ ...SHOP, current: ['configmap/mode'], limits: LIMITS })
      const now = async () => (await next.verify(step, stepAct(step))).is
      await expect.poll(now, { timeout: 30_000, interval: 50 }).toBe('running')
      killed.abort(new Error('killed'))
      expect(await begun).toBe('killed')
      expect(await verdicts(next, step)).toEqual(new Set(['running']))
    })

    it('is not back once it was given up on, however it is doing just now', async () => {
      const { target, step } = await dying()
      const handles = new Map<string, Json>()
      await expect(target.apply(step, stepAct(step, 'r1', handles))).rejects.toMatchObject({ code: 'rollout_stuck' })
      expect(await verdicts(target, step, handles)).toEqual(new Set(['not-done']))
    })

    it('is not captured in a moment in which it runs', async () => {
      await using target = await space.open({ ...SHOP, limits: { ...LIMITS, stuck: '90s' } })
      await space.kubectl.apply(made({ command: ['sh', '-c', 'sleep 1; exit 3'] }))
      // Of a real kubelet's it may be over before it was looked at: there are some more then.
      const taken: unknown[] = []
      const refusal = () => captured(target).then(pin => taken.push(pin), String)
      await expect.poll(refusal, { timeout: 120_000 }).toMatch(/(app|proxy) of shop-\S+ was started anew/)
      expect(taken).toEqual([])
    })

    it('is back once it stays up', async () => {
      const { target, step } = await dying()
      await space.kubectl.apply(configMap('mode', { MODE: 'ok' }))
      await target.apply(step, stepAct(step))
      await using next = await space.open({ ...SHOP, current: ['configmap/mode'], limits: LIMITS })
      expect((await next.verify(step, stepAct(step))).is).toBe('done')
    })
  })

  it('that something keeps them from a node for now, which is waited for like one that has room', async ctx => {
    if (kube.minor < 27) ctx.skip('the cluster does not know scheduling gates')
    const target = await space.open({ ...SHOP, limits: { settle: '100ms', stuck: '500ms' } })
    const pod = { schedulingGates: [{ name: 'example.com/room' }] }
    /** What a queue does once there is room: each pod that waits gets a node. */
    const letIn = async () => {
      const names = (await space.kubectl('get', 'pods', '-o', 'name')).split('\n').filter(Boolean)
      const off = ['--type=merge', '-p', '{"spec":{"schedulingGates":[]}}']
      for (const name of names) await space.kubectl('patch', name, ...off).catch(() => {})
    }
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good, pod }))
    await expect.poll(async () => (await letIn(), running(space)), { timeout: 120_000 }).toEqual(BACK)
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.bad }))
    await rolledOut(space, 'deployment/shop')
    const going = applied(target, await proposed(target, pin))
    going.catch(() => {})
    await new Promise(resolve => setTimeout(resolve, 2_000))
    const queue = setInterval(() => void letIn(), 300)
    expect(await going.finally(() => clearInterval(queue))).toEqual(['shop/roll/deployment.shop: done'])
  })

  describe.skipIf(noPush !== null)(`a pod that its node evicted, and that stays there ${noPush ?? ''}`, () => {
    let good: string
    let bad: string
    beforeEach(async () => {
      const own = async (tag: string) => {
        const image = `example.test/${space.name}:${tag}`
        await kube.push(image, { shell: true })
        return image
      }
      // A real node evicts what takes more of its disk than it may: that needs a shell.
      ;[good, bad] = kube.standIn === null ? [await own('good'), await own('bad')] : [IMAGES.good, IMAGES.bad]
    })

    function made(image: string) {
      if (kube.standIn !== null) return workload('Deployment', 'shop', { image })
      const volumeMounts = [{ name: 'scratch', mountPath: '/scratch' }]
      const container = { command: ['sh', '-c', 'exec sleep 100000'], volumeMounts }
      const pod = { volumes: [{ name: 'scratch', emptyDir: { sizeLimit: '1Mi' } }] }
      return workload('Deployment', 'shop', { image, container, pod })
    }

    async function deploy(image: string): Promise<void> {
      await space.kubectl.apply(made(image))
      await rolledOut(space, 'deployment/shop')
    }

    /** Its controller makes another one in its place. */
    async function evicted(image: string): Promise<void> {
      const { items } = JSON.parse(await space.kubectl('get', 'pods', '-l', 'app=shop', '-o', 'json')) as {
        items: { metadata: { name: string }; spec: { containers: { image: string }[] }; status: Evicted }[]
      }
      const pod = items.find(p => p.spec.containers[0]?.image === image)
      if (pod === undefined) throw new Error(`no pod runs ${image}`)
      const { name } = pod.metadata
      if (kube.standIn === null)
        await space.kubectl('exec', name, '--', 'dd', 'if=/dev/zero', 'of=/scratch/full', 'bs=1M', 'count=4')
      else
        await space.kubectl('patch', 'pod', name, '--subresource=status', '--type=merge', '-p', asEvicted(pod.status))
      const reason = () => space.kubectl('get', 'pod', name, '-o', 'jsonpath={.status.phase} {.status.reason}')
      await expect.poll(reason, { timeout: 120_000 }).toBe('Failed Evicted')
      await expect.poll(() => running(space), { timeout: 60_000 }).toEqual([image, image])
    }

    it('is no part of what a release ran', async () => {
      const target = await space.open(SHOP)
      await deploy(bad)
      await evicted(bad)
      await deploy(good)
      await expect.poll(() => running(space), { timeout: 30_000 }).toEqual([good, good])
      const pin = await captured(target)
      expect(pin.objects['deployment/shop']?.images['app']?.ids).toHaveLength(1)
      const needs = [{ of: 'shop', what: 'redeployed' as const, by: 'db' }]
      const { write, proof } = rollStep(await proposed(target, pin, 'template', { needs })).args as {
        write: Record<string, string>
        proof: Record<string, string[]>
      }
      expect(write['app']).toMatch(/@sha256:[0-9a-f]{64}$/)
      expect(proof['app']).toHaveLength(1)
    })

    it('leaves nothing to be done once the release is back', async () => {
      const target = await space.open(SHOP)
      await deploy(good)
      const pin = await captured(target)
      await deploy(bad)
      await evicted(bad)
      expect(await applied(target, await proposed(target, pin))).toEqual(['shop/roll/deployment.shop: done'])
      expect(await running(space)).toEqual([good, good])
      expect(await proposed(target, pin)).toMatchObject({ change: null, steps: [] })
      expect(JSON.stringify((await target.observe(signal)).state)).not.toContain(' and ')
    })
  })
})

interface Evicted {
  readonly containerStatuses: object[]
}

function asEvicted({ containerStatuses }: Evicted): string {
  const over = { ready: false, state: { terminated: { exitCode: 137, reason: 'Error' } } }
  const conditions = [{ type: 'Ready', status: 'False' }]
  const statuses = containerStatuses.map(one => ({ ...one, ...over }))
  return JSON.stringify({ status: { phase: 'Failed', reason: 'Evicted', conditions, containerStatuses: statuses } })
}
