import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  captured,
  codes,
  IMAGES,
  type Kube,
  noPush,
  onlyStandIn,
  pods,
  proposed,
  released as releasedOn,
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
import type { Wire } from '../../../test/support/kubernetes/real/wire.ts'
import type { Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }
const BACK = [IMAGES.good, IMAGES.good]
/** Its pods take a while to count, so that there is time for bad luck. */
const SLOW = { spec: { minReadySeconds: 3 } }

describe.skipIf(noKubectl() !== null)(`C5: bad luck on the way to the API server ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let wire: Wire
  let space: Space
  let target: Target<KubernetesPin>
  beforeAll(async () => {
    kube = await startKube()
    wire = await kube.wire()
  })
  afterAll(async () => {
    await wire.close()
    await kube[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    space = await kube.namespace()
    target = await opened()
    return () => target[Symbol.asyncDispose]()
  })

  const opened = (settings: object = {}) => space.open({ ...SHOP, ...settings }, { kubeconfig: wire.kubeconfig })
  const released = (more?: Parameters<typeof releasedOn>[2]) => releasedOn(space, target, more)
  const isPatch = (a: { verb: string; resource: string }) => a.verb === 'patch' && a.resource === 'deployments'

  it('reads again and decides again where another writer came between read and write', async () => {
    const pin = await released()
    const step = rollStep(await proposed(target, pin))
    wire.trouble.afterRead('deployments', 'shop', async () => {
      await space.kubectl('label', 'deployment', 'shop', 'touched=yes')
      wire.trouble.conflictOn('deployments', 'shop', 2)
    })
    const said: string[] = []
    await target.apply(step, { ...stepAct(step), progress: p => void said.push(p.text) })
    expect(said.filter(text => text.includes('written by somebody else'))).toHaveLength(2)
    expect(await running(space)).toEqual(BACK)
    expect(await space.kubectl('get', 'deployment', 'shop', '-o', 'jsonpath={.metadata.labels.touched}')).toBe('yes')
  })

  it('decides anew, and not blindly, where that writer deployed something', async () => {
    const pin = await released()
    const step = rollStep(await proposed(target, pin))
    wire.trouble.afterRead('deployments', 'shop', () => setImage(space, IMAGES.shell))
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'object_moved' })
  })

  it('goes on watching after a closed watch, a forgotten past, and an API server that was away', async () => {
    const pin = await released(SLOW)
    const step = rollStep(await proposed(target, pin))
    const going = target.apply(step, stepAct(step))
    await expect
      .poll(() => space.kubectl('get', 'deployment', 'shop', '-o', 'jsonpath={..image}'), { timeout: 30_000 })
      .toBe(IMAGES.good)
    wire.forget()
    await wire.goAway()
    await new Promise(resolve => setTimeout(resolve, 700))
    await wire.comeBack()
    wire.forget()
    await going
    expect((await target.verify(step, stepAct(step))).is).toBe('done')
    expect(await running(space)).toEqual(BACK)
  })

  it('gives up once it was away for longer than it may be, and finds afterwards what came of its write', async () => {
    const pin = await released(SLOW)
    target = await opened({ limits: { settle: '100ms', away: '500ms', api: '2s' } })
    const step = rollStep(await proposed(target, pin))
    const going = target.apply(step, stepAct(step))
    const ended = expect(going).rejects.toMatchObject({
      code: 'kubernetes_unreachable',
      next: expect.stringContaining('readyz') as string,
    })
    await expect
      .poll(() => space.kubectl('get', 'deployment', 'shop', '-o', 'jsonpath={..image}'), { timeout: 30_000 })
      .toBe(IMAGES.good)
    await wire.goAway()
    try {
      await ended
      await expect(target.verify(step, stepAct(step))).rejects.toMatchObject({ code: 'kubernetes_unreachable' })
      await expect(target.observe(signal)).rejects.toMatchObject({ code: 'kubernetes_unreachable' })
    } finally {
      await wire.comeBack()
    }
    await expect.poll(async () => (await target.verify(step, stepAct(step))).is, { timeout: 60_000 }).toBe('done')
    expect(await running(space)).toEqual(BACK)
  })

  it('bears with a server that came back and does not know yet what anybody may do', async () => {
    const pin = await released(SLOW)
    const step = rollStep(await proposed(target, pin))
    const going = target.apply(step, stepAct(step))
    await expect
      .poll(() => space.kubectl('get', 'deployment', 'shop', '-o', 'jsonpath={..image}'), { timeout: 30_000 })
      .toBe(IMAGES.good)
    for (const resource of ['pods', 'deployments'])
      wire.trouble.fail(a => a.verb === 'watch' && a.resource === resource && a.namespace === space.name, 403)
    await wire.goAway()
    await wire.comeBack()
    await going
    expect(await running(space)).toEqual(BACK)
  })

  it('does not take a lost reply for a failure, and writes nothing twice', async () => {
    const pin = await released()
    const step = rollStep(await proposed(target, pin))
    wire.trouble.loseReply(isPatch)
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'kubernetes_unreachable' })
    await expect.poll(async () => (await target.verify(step, stepAct(step))).is, { timeout: 60_000 }).toBe('done')
    const revisions = JSON.parse(await space.kubectl('get', 'replicasets', '-o', 'json')) as { items: object[] }
    expect(revisions.items).toHaveLength(2)
    expect(await running(space)).toEqual(BACK)
  })

  it('waits where there are too many requests, and reads again where the server failed', async () => {
    const pin = await released()
    const step = rollStep(await proposed(target, pin))
    wire.trouble.fail(isPatch, 429)
    // Admission, right after the server has started.
    wire.trouble.fail(isPatch, 403, 1, 'deployments.apps "shop" is forbidden: not yet ready to handle request')
    for (const code of [500, 503, 504])
      wire.trouble.fail(a => a.verb === 'get' && a.resource === 'deployments' && a.namespace === space.name, code)
    await target.apply(step, stepAct(step))
    expect(await running(space)).toEqual(BACK)
  })

  it('asks the plugin for another token where one ran out, in the middle of a rollout too', async () => {
    const pin = await released(SLOW)
    const plugin = await Plugin.make(wire, ['ran-out-long-ago', 'short-lived', wire.token])
    const { tokens } = wire.trouble
    tokens.set('short-lived', null)
    try {
      await using through = await space.open(SHOP, { kubeconfig: plugin.kubeconfig })
      expect((await through.observe(signal)).summary).toContain('2 of 2 pods available')
      expect(await plugin.asked()).toEqual(['ExecCredential', 'ExecCredential'])
      const step = rollStep(await proposed(through, pin))
      const said: string[] = []
      const going = through.apply(step, { ...stepAct(step), progress: p => void said.push(p.text) })
      await expect.poll(() => said.length, { timeout: 30_000 }).toBeGreaterThan(0)
      tokens.delete('short-lived')
      // Watches that are open go on: they are begun anew with a token that is not good any more.
      wire.forget()
      await going
      expect(await plugin.asked()).toHaveLength(3)
      expect((await through.verify(step, stepAct(step))).is).toBe('done')
    } finally {
      tokens.clear()
      await plugin.dispose()
    }
  })

  it('says who is not let in, and what to do', async () => {
    wire.trouble.tokenExpired = true
    try {
      await expect(target.observe(signal)).rejects.toMatchObject({
        code: 'kubernetes_unauthorized',
        next: expect.stringContaining('log in again') as string,
      })
    } finally {
      wire.trouble.tokenExpired = false
    }
  })

  it.skipIf(noPush !== null)(
    `proves by digest that a tag was moved, and goes back by the digest ${noPush ?? ''}`,
    async () => {
      const tag = `example.test/${space.name}:stable`
      const then = await kube.push(tag)
      await space.kubectl.apply(
        workload('Deployment', 'shop', { image: tag, container: { imagePullPolicy: 'Always' } }),
      )
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await setImage(space, IMAGES.bad)
      await rolledOut(space, 'deployment/shop')
      await kube.push(tag, { log: ['another one'] })
      const step = rollStep(await proposed(target, pin))
      await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'image_moved' })
      expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
      // It is known now, so that the gentler rung is not tried again.
      expect(codes(await proposed(target, pin))).toContain('IMAGE_MOVED')
      const exact = await proposed(target, pin, 'template')
      await applied(target, exact)
      expect((await pods(space)).map(pod => pod.spec.containers[0]?.image)).toEqual([
        `${tag}@${then}`,
        `${tag}@${then}`,
      ])
    },
  )

  describe.skipIf(onlyStandIn !== null)(`that the stand-in makes ${onlyStandIn ?? ''}`, () => {
    const standIn = () => {
      if (kube.standIn === null) throw new Error('no stand-in')
      return kube.standIn
    }

    it('says ahead that no node holds the image any more', async () => {
      const { api } = standIn()
      const holds = (...names: string[]) => {
        const nodes = api.resources.key('/nodes')
        const node = structuredClone(api.get(nodes, undefined, 'node-1'))
        const status = { ...(node.status as object), images: names.map(name => ({ names: [name] })) }
        api.update(nodes, { ...node, status }, { manager: 'kubelet' }, 'status')
      }
      const pin = await released()
      const [ran = ''] = pin.objects['deployment/shop']?.images['app']?.ids ?? []
      holds(ran)
      expect(codes(await proposed(target, pin))).toEqual([])
      holds(`example.test/other@sha256:${'0'.repeat(64)}`)
      const told = async () => (await proposed(target, pin)).findings.map(({ code, what }) => `${code}: ${what}`)
      expect(await told()).toEqual([expect.stringContaining('image_unproven: No node holds')])
      // A kubelet names 50 images, the largest ones: a busy node may hold what it does not tell of.
      holds(...Array.from({ length: 50 }, (_, i) => `example.test/other-${i}@sha256:${'0'.repeat(64)}`))
      expect(await told()).toEqual([expect.stringMatching(/^image_unproven: Whether a node holds .* is not known/)])
    })
  })
})

/** An exec plugin of a kubeconfig, which gives one token after the other. */
class Plugin {
  readonly kubeconfig: string
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
    this.kubeconfig = join(folder, 'kubeconfig')
  }

  static async make(wire: Wire, tokens: readonly string[]): Promise<Plugin> {
    const folder = await mkdtemp(join(tmpdir(), 'backout-kubeconfig-'))
    const command = join(folder, 'token')
    const apiVersion = 'client.authentication.k8s.io/v1'
    for (const [i, token] of tokens.entries())
      await writeFile(
        join(folder, `${i + 1}`),
        JSON.stringify({ apiVersion, kind: 'ExecCredential', status: { token } }),
      )
    const script = `#!/bin/sh\ncd ${folder}\necho "$KUBERNETES_EXEC_INFO" >>asked\ncat "$(wc -l <asked | tr -d ' ')" || cat ${tokens.length}\n`
    await writeFile(command, script, { mode: 0o755 })
    const config = JSON.parse(await readFile(wire.kubeconfig, 'utf8')) as { users: { user: object }[] }
    for (const user of config.users) user.user = { exec: { apiVersion, command, interactiveMode: 'Never' } }
    const plugin = new Plugin(folder)
    await writeFile(plugin.kubeconfig, JSON.stringify(config))
    return plugin
  }

  /** What it was told each time that it was asked. */
  async asked(): Promise<string[]> {
    const lines = (await readFile(join(this.#folder, 'asked'), 'utf8')).trim().split('\n')
    return lines.map(line => (JSON.parse(line) as { kind: string }).kind)
  }

  dispose(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true })
  }
}
