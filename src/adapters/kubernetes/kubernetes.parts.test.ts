import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  autoscaler,
  captured,
  codes,
  configMap,
  IMAGES,
  type Kube,
  pods,
  proposed,
  put,
  rolledOut,
  running,
  type Space,
  secret,
  service,
  signal,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Fact, Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C5: what goes back with the template ${noKubectl() ?? ''}`, () => {
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

  const get = async (kind: string, name = 'shop') =>
    JSON.parse(await space.kubectl('get', kind, name, '-o', 'json')) as { spec: Record<string, never>; data: object }

  it('but not what the cluster itself publishes in each namespace: its root certificate', async () => {
    // As who hardens pods writes it: a token of their own instead of the one that every pod is given.
    const sources = [
      { serviceAccountToken: { path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    ]
    const pod = { volumes: [{ name: 'access', projected: { sources } }] }
    await put(space, workload('Deployment', 'shop', { image: IMAGES.good, pod }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await put(space, workload('Deployment', 'shop', { image: IMAGES.bad, pod }))
    await rolledOut(space, 'deployment/shop')
    if (kube.standIn !== null) kube.standIn.api.rootCa = `renewed since ${space.name} was captured`
    await space.kubectl('delete', 'configmap', 'kube-root-ca.crt')
    const published = () =>
      get('configmap', 'kube-root-ca.crt').then(
        ({ data }) => JSON.stringify(data),
        () => '',
      )
    await expect.poll(published, { timeout: 30_000 }).toContain('ca.crt')
    const now = await published()
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual([])
    expect(await applied(target, proposal)).toEqual(['shop/roll/deployment.shop: done'])
    expect(await published()).toBe(now)
  })

  it('replicas, the selector of the Service and the bounds of the autoscaler', async () => {
    const scaler = (max: number) => autoscaler(kube, 'Deployment', 'worker', { min: 1, max })
    const base = [
      workload('Deployment', 'worker', { image: IMAGES.good, replicas: 1 }),
      scaler(3),
      service('shop', { app: 'shop' }),
    ]
    await put(space, ...base, workload('Deployment', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'deployment/shop')
    await rolledOut(space, 'deployment/worker')
    target = await space.open({ ...SHOP, objects: ['deployment/shop', 'deployment/worker'] })
    const pin = await captured(target)
    expect([pin.objects['deployment/shop']?.replicas, pin.objects['deployment/worker']?.replicas]).toEqual([2, null])
    const more = [scaler(9), service('shop', { app: 'other' })]
    await put(space, ...more, workload('Deployment', 'shop', { image: IMAGES.bad, replicas: 3 }))
    await rolledOut(space, 'deployment/shop')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['replicas_lowered'])
    expect(await applied(target, proposal)).toEqual([
      'shop/roll/deployment.shop: done',
      'shop/service/shop: done',
      'shop/autoscaler/worker: done',
    ])
    expect((await get('service')).spec['selector']).toEqual({ app: 'shop' })
    expect((await get('hpa', 'worker')).spec['maxReplicas']).toBe(3)
    expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
    expect((await proposed(target, pin)).steps).toEqual([])
    const keeping = await space.open({ ...SHOP, replicas: 'current' })
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good, replicas: 3 }))
    await rolledOut(space, 'deployment/shop')
    expect((await proposed(keeping, pin)).steps).toEqual([])
  })

  it('more pods than the release had are told from another release', async () => {
    await put(space, workload('Deployment', 'shop', { image: IMAGES.good, replicas: 2 }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    const change = async (...args: string[]) => {
      await space.kubectl(...args)
      await rolledOut(space, 'deployment/shop')
      return (await proposed(target, pin)).change
    }
    expect(await change('scale', 'deployment/shop', '--replicas=3')).toMatchObject({ fewer: true })
    expect(await change('scale', 'deployment/shop', '--replicas=1')).not.toHaveProperty('fewer')
    await space.kubectl('scale', 'deployment/shop', '--replicas=3')
    expect(await change('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)).not.toHaveProperty('fewer')
  })

  it('a ConfigMap that was changed in place, with its pods made anew; what stood there is kept', async () => {
    const container = { envFrom: [{ configMapRef: { name: 'shop' } }] }
    await put(space, configMap('shop', { A: '1' }), workload('Deployment', 'shop', { image: IMAGES.good, container }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    const before = (await pods(space)).map(p => p.metadata.name).sort()
    await space.kubectl.apply(configMap('shop', { A: '2', B: 'new' }))
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['config_back'])
    const facts: Fact[] = []
    const [config, roll] = proposal.steps
    if (config === undefined || roll === undefined) throw new Error('a step is missing')
    await target.apply(config, { ...stepAct(config), tell: async fact => void facts.push(fact) })
    await target.apply(roll, stepAct(roll))
    expect((await get('configmap')).data).toEqual({ A: '1' })
    const after = (await pods(space)).map(p => p.metadata.name).sort()
    expect(after.filter(name => before.includes(name))).toEqual([])
    const sealed = facts.map(fact => (fact.data as { sealed: string }).sealed).join()
    const kept = Buffer.from(await stepAct().vault.open({ id: sealed, mac: '' })).toString()
    expect(JSON.parse(kept)).toMatchObject({ data: { A: '2', B: 'new' } })
    expect((await proposed(target, pin)).steps).toEqual([])
    // One that is gone is made again.
    await space.kubectl('delete', 'configmap', 'shop')
    await applied(target, await proposed(target, pin), 'r2')
    expect((await get('configmap')).data).toEqual({ A: '1' })
  })

  it('Secrets only where the settings say so: they get rotated', async () => {
    const container = { envFrom: [{ secretRef: { name: 'rotated' } }, { secretRef: { name: 'pinned' } }] }
    const secrets = (value: string) => [secret('rotated', { KEY: value }), secret('pinned', { KEY: value })]
    await put(space, ...secrets('first-value'), workload('Deployment', 'shop', { image: IMAGES.good, container }))
    await rolledOut(space, 'deployment/shop')
    target = await space.open({ ...SHOP, pinned: ['secret/pinned'] })
    const pin = await captured(target)
    expect([pin.configs['secret/rotated']?.sealed, pin.configs['secret/pinned']?.sealed]).toEqual([
      null,
      expect.anything(),
    ])
    await put(space, ...secrets('second-value'))
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['config_back', 'config_current'])
    expect(proposal.steps.map(s => s.id)).toEqual(['shop/config/secret.pinned', 'shop/roll/deployment.shop'])
    await applied(target, proposal)
    const value = (s: { data: object }) => Buffer.from((s.data as { KEY: string }).KEY, 'base64').toString()
    expect([value(await get('secret', 'rotated')), value(await get('secret', 'pinned'))]).toEqual([
      'second-value',
      'first-value',
    ])
    await space.kubectl('delete', 'secret', 'rotated')
    await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
    expect(codes(await proposed(target, pin))).toContain('CONFIG_GONE')
  })

  it('what is asked of it: stopped until the code is back, made anew, and traffic away first', async () => {
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
    await rolledOut(space, 'deployment/shop')
    const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
    const dependents = [{ id: 'traffic', serves: ['drained' as const] }]
    const proposal = await proposed(target, pin, 'adopt', { needs, dependents })
    expect([proposal.serves, proposal.needs]).toEqual([needs, [{ of: 'traffic', what: 'drained' }]])
    expect(Object.keys(proposal.phases)).toEqual(['stop', 'code'])
    const [stop, roll] = proposal.steps
    if (stop === undefined || roll === undefined) throw new Error('a step is missing')
    await target.apply(stop, stepAct(stop))
    expect(await pods(space)).toEqual([])
    // In the middle of a run another plan is made: as many pods as were pinned, not as none.
    const next = await proposed(target, pin, 'adopt', { needs })
    expect(next.steps.map(s => s.id)).toEqual(['shop/roll/deployment.shop'])
    await target.apply(roll, stepAct(roll))
    expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
    // The second time by a successor plan of the same run.
    for (const _ of ['once', 'again']) {
      const before = (await pods(space)).map(p => p.metadata.name)
      const again = await proposed(target, pin, 'adopt', { needs: [{ of: 'shop', what: 'redeployed', by: 'db' }] })
      await applied(target, again, 'r2')
      expect((await pods(space)).filter(p => before.includes(p.metadata.name))).toEqual([])
    }
  })

  describe('as many pods as an autoscaler wants', () => {
    async function scaled() {
      target = await space.open({ ...SHOP, limits: { settle: '1s' } })
      const made = workload('Deployment', 'shop', { image: IMAGES.good })
      await put(space, made, autoscaler(kube, 'Deployment', 'shop', { min: 2, max: 6 }))
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
      await rolledOut(space, 'deployment/shop')
      return pin
    }
    const scale = (to: number) => space.kubectl('scale', 'deployment/shop', `--replicas=${to}`)
    const count = async () => Number((await get('deployment')).spec['replicas'])

    it.each(['adopt', 'manifest'])('where it stood at none, by the rung %s', async rung => {
      const pin = await scaled()
      await scale(0)
      await expect.poll(() => pods(space), { timeout: 30_000 }).toEqual([])
      const proposal = await proposed(target, pin, rung)
      expect(proposal.steps[0]?.args).toMatchObject({ replicas: 2, scaled: true })
      expect(await applied(target, proposal)).toEqual(['shop/roll/deployment.shop: done'])
      expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
    })

    it('where it changes its mind after the run stopped them, and at any time later', async () => {
      const pin = await scaled()
      const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
      const [stop, roll] = (await proposed(target, pin, 'adopt', { needs })).steps
      if (stop === undefined || roll === undefined) throw new Error('a step is missing')
      await target.apply(stop, stepAct(stop))
      const going = target.apply(roll, stepAct(roll))
      await expect.poll(count, { timeout: 30_000, interval: 50 }).toBe(2)
      await scale(3)
      await going
      await expect.poll(async () => (await target.verify(roll, stepAct(roll))).is, { timeout: 30_000 }).toBe('done')
      await scale(2)
      await expect.poll(async () => (await target.verify(roll, stepAct(roll))).is, { timeout: 30_000 }).toBe('done')
    })
  })

  it('by labels, many objects at once, and says what came with the bad release', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const all = (image: string) =>
      names.map(name => workload('Deployment', name, { image, replicas: 1, metadata: { labels: { part: 'shop' } } }))
    await put(space, ...all(IMAGES.good))
    target = await space.open({ selector: 'part=shop', limits: { settle: '100ms' } })
    await expect
      .poll(
        () =>
          captured(target).then(
            () => true,
            () => false,
          ),
        { timeout: 60_000 },
      )
      .toBe(true)
    const pin = await captured(target)
    expect(Object.keys(pin.objects)).toEqual(names.map(name => `deployment/${name}`))
    const extra = workload('Deployment', 'g', {
      image: IMAGES.bad,
      replicas: 1,
      metadata: { labels: { part: 'shop' } },
    })
    await put(space, ...all(IMAGES.bad), extra)
    await expect.poll(async () => (await target.observe(signal)).inFlight, { timeout: 60_000 }).toEqual([])
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['object_new'])
    expect(proposal.phases.code).toMatchObject({ par: expect.anything() as unknown, limit: 6 })
    await applied(target, proposal)
    expect(await running(space, 'in (a,b,c,d,e,f)')).toEqual(names.map(() => IMAGES.good))
    expect(await running(space, 'in (g)')).toEqual([IMAGES.bad])
  })

  it('and lets a paused one go on, says so, and refuses where no update can help', async () => {
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good }))
    await rolledOut(space, 'deployment/shop')
    const pin = await captured(target)
    await space.kubectl('patch', 'deployment', 'shop', '--type=merge', '-p', '{"spec":{"paused":true}}')
    await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
    const proposal = await proposed(target, pin, 'template')
    expect(codes(proposal)).toEqual(['paused'])
    await applied(target, proposal)
    expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
    const labels = { app: 'shop', track: 'new' }
    const other = workload('Deployment', 'shop', { image: IMAGES.bad }) as {
      spec: { selector: object; template: object }
    }
    other.spec.selector = { matchLabels: labels }
    other.spec.template = { ...other.spec.template, metadata: { labels } }
    await space.kubectl('delete', 'deployment', 'shop')
    await space.kubectl.apply(other)
    await rolledOut(space, 'deployment/shop')
    expect(codes(await proposed(target, pin, 'manifest'))).toContain('IMMUTABLE_FIELD')
    await space.kubectl('delete', 'deployment', 'shop', '--cascade=orphan')
    await applied(target, await proposed(target, pin, 'manifest'), 'r2')
    expect((await running(space)).filter(image => image === IMAGES.good)).toHaveLength(2)
  })

  it('tells `doctor` what is well', async () => {
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good }))
    const readiness = await target.ready?.(signal)
    expect(readiness?.findings).toEqual([])
    expect(readiness?.well.join()).toMatch(/kubernetes:[0-9a-f-]{36}\/.*rights that going back needs/)
  })

  it('blocks a pin of another cluster, whatever its context is called', async () => {
    await using other = await startKube({}, { another: true })
    const twin = await other.namespace()
    for (const one of [space, twin]) {
      await one.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good }))
      await rolledOut(one, 'deployment/shop')
    }
    const pin = await captured(target)
    await using wrong = await space.open(SHOP, { kubeconfig: other.kubeconfig })
    const proposal = await proposed(wrong, pin)
    expect(codes(proposal)).toEqual(['OTHER_IDENTITY'])
    expect(proposal.findings[0]?.what).toContain(other.standIn?.url)
  })
})
