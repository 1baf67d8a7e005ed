import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Progress, Proposal, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import {
  applied,
  captured,
  codes,
  configMap,
  IMAGES,
  type Kube,
  onlyStandIn,
  pods,
  proposed,
  rolledOut,
  running,
  signal,
  type Space,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
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

  const setImage = (image: string) => space.kubectl('set', 'image', 'deployment/shop', `app=${image}`)
  /** Good, captured, then bad. */
  async function released(more: Partial<Parameters<typeof workload>[2]> = {}): Promise<KubernetesPin> {
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good, ...more }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await setImage(IMAGES.bad)
    await rolledOut(space, 'deployment/shop')
    return pin
  }
  function rollStep(proposal: Proposal): Step {
    const step = ordered(proposal).find(s => s.id.startsWith('shop/roll/'))
    if (step === undefined) throw new Error('nothing is rolled back')
    return step
  }

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

  describe.skipIf(onlyStandIn !== null)(`that the stand-in makes ${onlyStandIn ?? ''}`, () => {
    const standIn = () => {
      if (kube.standIn === null) throw new Error('no stand-in')
      return kube.standIn
    }

    it('reads again and decides again where another writer came between read and write', async () => {
      const pin = await released()
      const step = rollStep(await proposed(target, pin))
      const { trouble } = standIn()
      const name = `${space.name}/shop`
      const label = () =>
        void standIn().change('apps/deployments', name, object => {
          object.metadata.labels = { ...object.metadata.labels, touched: 'yes' }
        })
      trouble.afterRead('deployments', 'shop', label)
      trouble.conflictOn('deployments', 'shop', 2)
      const said: string[] = []
      await target.apply(step, { ...stepAct(step), progress: p => void said.push(p.text) })
      expect(said.filter(text => text.includes('written by somebody else'))).toHaveLength(2)
      expect(await running(space)).toEqual(BACK)
    })

    it('decides anew, and not blindly, where that writer deployed something', async () => {
      const pin = await released()
      const step = rollStep(await proposed(target, pin))
      standIn().trouble.afterRead('deployments', 'shop', () => {
        standIn().change('apps/deployments', `${space.name}/shop`, object => {
          const spec = object.spec as { template: { spec: { containers: { image: string }[] } } }
          const [container] = spec.template.spec.containers
          if (container !== undefined) container.image = IMAGES.shell
        })
      })
      await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'object_moved' })
    })

    it('goes on watching after a closed watch, a forgotten past, and an API server that was away', async () => {
      const slow = 'example.test/slow:1'
      // Its pods take a while to be there, so that all of it happens meanwhile.
      standIn().registry.push(slow, { pullMs: 700 })
      const container = { imagePullPolicy: 'Always' }
      await space.kubectl.apply(workload('Deployment', 'shop', { image: slow, container }))
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await setImage(IMAGES.bad)
      await rolledOut(space, 'deployment/shop')
      const step = rollStep(await proposed(target, pin))
      const going = target.apply(step, stepAct(step))
      standIn().forget()
      await standIn().goAway()
      await new Promise(resolve => setTimeout(resolve, 700))
      await standIn().comeBack()
      standIn().forget()
      await going
      expect((await target.verify(step, stepAct(step))).is).toBe('done')
      expect(await running(space)).toEqual([slow, slow])
    })

    it('does not take a lost reply for a failure, and writes nothing twice', async () => {
      const pin = await released()
      const step = rollStep(await proposed(target, pin))
      standIn().trouble.loseReply(a => a.verb === 'patch' && a.resource === 'deployments')
      await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'kubernetes_unreachable' })
      await expect.poll(async () => (await target.verify(step, stepAct(step))).is, { timeout: 30_000 }).toBe('done')
      const revisions = JSON.parse(await space.kubectl('get', 'replicasets', '-o', 'json')) as { items: object[] }
      expect(revisions.items).toHaveLength(2)
      expect(await running(space)).toEqual(BACK)
    })

    it('asks the plugin for another token where one ran out', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'backout-kubeconfig-'))
      try {
        const plugin = join(folder, 'token')
        const credential = (token: string) =>
          JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } })
        await writeFile(join(folder, 'good'), credential(standIn().token))
        await writeFile(join(folder, 'old'), credential('a-token-that-ran-out'))
        const script = `#!/bin/sh\ncd ${folder}\necho "$KUBERNETES_EXEC_INFO" >>asked\nif [ -e old ]; then cat old; rm old; else cat good; fi\n`
        await writeFile(plugin, script, { mode: 0o755 })
        const config = JSON.parse(await readFile(kube.kubeconfig, 'utf8')) as { users: { user: object }[] }
        for (const user of config.users) {
          user.user = {
            exec: { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' },
          }
        }
        const kubeconfig = join(folder, 'kubeconfig')
        await writeFile(kubeconfig, JSON.stringify(config))
        await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good }))
        await rolledOut(space, 'deployment/shop')
        await using through = await space.open(SHOP, { kubeconfig })
        expect((await through.observe(signal)).summary).toContain('2 of 2 pods available')
        const asked = (await readFile(join(folder, 'asked'), 'utf8')).trim().split('\n')
        expect(asked.map(line => (JSON.parse(line) as { kind: string }).kind)).toEqual([
          'ExecCredential',
          'ExecCredential',
        ])
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    })

    it('says who is not let in, and what to do', async () => {
      standIn().trouble.tokenExpired = true
      try {
        await expect(target.observe(signal)).rejects.toMatchObject({
          code: 'kubernetes_unauthorized',
          next: expect.stringContaining('log in again') as string,
        })
      } finally {
        standIn().trouble.tokenExpired = false
      }
    })

    it('names the right that is missing before anything is begun', async () => {
      const pin = await released()
      standIn().trouble.deny({ verb: 'patch', resource: 'deployments' })
      try {
        const { findings } = await proposed(target, pin)
        expect(findings).toMatchObject([
          {
            level: 'blocker',
            code: 'right_missing',
            what: expect.stringContaining('patch deployments.apps') as string,
          },
        ])
      } finally {
        standIn().trouble.allowAll()
      }
    })

    it('says ahead that no node holds the image any more', async () => {
      const { api } = standIn()
      const holds = (name: string) => {
        const nodes = api.resources.key('/nodes')
        const node = structuredClone(api.get(nodes, undefined, 'node-1'))
        const status = { ...(node.status as object), images: [{ names: [name] }] }
        api.update(nodes, { ...node, status }, { manager: 'kubelet' }, 'status')
      }
      const pin = await released()
      const [ran = ''] = pin.objects['deployment/shop']?.images['app']?.ids ?? []
      holds(ran)
      expect(codes(await proposed(target, pin))).toEqual([])
      holds(`example.test/other@sha256:${'0'.repeat(64)}`)
      expect(codes(await proposed(target, pin))).toEqual(['image_unproven'])
    })

    it('proves by digest that a tag was moved, and goes back by the digest', async () => {
      const tag = 'example.test/shop:stable'
      const { registry } = standIn()
      const then = registry.push(tag)
      await space.kubectl.apply(
        workload('Deployment', 'shop', { image: tag, container: { imagePullPolicy: 'Always' } }),
      )
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await setImage(IMAGES.bad)
      await rolledOut(space, 'deployment/shop')
      registry.push(tag, { log: ['another one'] })
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
    })
  })
})
