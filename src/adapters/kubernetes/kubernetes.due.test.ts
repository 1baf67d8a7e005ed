import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  captured,
  codes,
  configMap,
  IMAGES,
  type Kube,
  pods,
  proposed,
  put,
  rolledOut,
  type Space,
  secret,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Step, Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'

const SHOP = { objects: ['deployment/shop'], limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C5: a ConfigMap that goes back ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  let target: Target<KubernetesPin>
  let pin: KubernetesPin
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
    target = await space.open(SHOP)
    return () => target[Symbol.asyncDispose]()
  })

  const names = async () => (await pods(space)).map(pod => pod.metadata.name).sort()

  async function deployed(settings: Record<string, unknown>): Promise<void> {
    const container = { envFrom: [{ configMapRef: { name: 'shop' } }] }
    const made = workload('Deployment', 'shop', { image: IMAGES.good, container })
    await put(space, { ...configMap('shop', { MODE: 'good' }), ...settings }, made)
    await rolledOut(space, 'deployment/shop')
    pin = await captured(target)
  }

  /** What the plan does to the ConfigMap, where its run ends. */
  async function putBack(): Promise<Step> {
    const config = ordered(await proposed(target, pin)).find(step => step.id.includes('/config/'))
    if (config === undefined) throw new Error('nothing is put back')
    await target.apply(config, stepAct(config))
    expect((await target.verify(config, stepAct(config))).is).toBe('done')
    return config
  }

  it.each(['adopt', 'manifest'])(
    'has its pods made anew by a later plan where the run ended before, by the rung %s',
    async rung => {
      await deployed({})
      await space.kubectl.apply(configMap('shop', { MODE: 'bad' }))
      const before = await names()
      await putBack()
      const later = await proposed(target, pin, rung)
      expect(codes(later)).toEqual(['restart_due'])
      expect(await applied(target, later, 'r2')).toEqual(['shop/roll/deployment.shop: done'])
      expect((await names()).filter(name => before.includes(name))).toEqual([])
      expect((await proposed(target, pin, rung)).steps).toEqual([])
    },
  )

  it('leaves nothing due where a later plan has its pods made anew for another reason', async () => {
    await deployed({})
    await space.kubectl.apply(configMap('shop', { MODE: 'bad' }))
    await putBack()
    await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
    await rolledOut(space, 'deployment/shop')
    // Its pods are of a later revision, and have read what was put back: nothing is due for them, nor where they are released.
    const next = await captured(target)
    expect(await proposed(target, next)).toMatchObject({ steps: [], findings: [] })
    const later = await proposed(target, pin)
    expect(codes(later)).toEqual([])
    await applied(target, later, 'r2')
    expect((await proposed(target, pin)).steps).toEqual([])
  })

  it('leaves pods due that were there before, where a later deployment has not replaced them', async () => {
    await deployed({})
    await space.kubectl.apply(configMap('shop', { MODE: 'bad' }))
    const before = await names()
    await putBack()
    await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.missing}`)
    await expect.poll(async () => (await names()).length, { timeout: 60_000 }).toBeGreaterThan(2)
    const later = await proposed(target, pin)
    expect(codes(later)).toEqual(['restart_due'])
    await applied(target, later, 'r2')
    expect((await names()).filter(name => before.includes(name))).toEqual([])
    expect((await proposed(target, pin)).steps).toEqual([])
  })

  it('leaves pods of every component due that reads it, where only one of them got as far as to put it back', async () => {
    const container = { envFrom: [{ configMapRef: { name: 'shop' } }] }
    await deployed({})
    await put(space, workload('Deployment', 'worker', { image: IMAGES.good, container }))
    await rolledOut(space, 'deployment/worker')
    const worker = await space.open({ ...SHOP, objects: ['deployment/worker'] })
    const workers = await captured(worker)
    await space.kubectl.apply(configMap('shop', { MODE: 'bad' }))
    for (const name of ['shop', 'worker']) {
      await space.kubectl('rollout', 'restart', `deployment/${name}`)
      await rolledOut(space, `deployment/${name}`)
    }
    // Times of the API server are whole seconds: bad pods are older than what is put back, as they are anywhere.
    const second = new Date().toISOString().slice(0, 19)
    await expect.poll(() => new Date().toISOString().slice(0, 19)).not.toBe(second)
    await putBack()
    const later = await proposed(worker, workers)
    expect([codes(later), later.steps.map(step => step.id)]).toEqual([['restart_due'], ['shop/roll/deployment.worker']])
    expect(await applied(worker, later, 'r2')).toEqual(['shop/roll/deployment.worker: done'])
    expect(await proposed(worker, workers)).toMatchObject({ steps: [], findings: [] })
  })

  it('is emptied where the release did not have it and reads it, with its pods made anew; what it had is kept', async () => {
    const container = { envFrom: [{ configMapRef: { name: 'overrides', optional: true } }] }
    await put(space, workload('Deployment', 'shop', { image: IMAGES.good, container }))
    await rolledOut(space, 'deployment/shop')
    pin = await captured(target)
    expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
    await put(space, configMap('overrides', { MODE: 'bad' }))
    await space.kubectl('rollout', 'restart', 'deployment/shop')
    await rolledOut(space, 'deployment/shop')
    const keeping = await space.open({ ...SHOP, current: ['configmap/overrides'] })
    const kept = await proposed(keeping, pin)
    expect([codes(kept), kept.steps]).toEqual([['config_new'], []])

    const bad = await names()
    const back = await proposed(target, pin)
    expect(codes(back)).toEqual(['config_new'])
    expect(await applied(target, back)).toEqual([
      'shop/config/configmap.overrides: done',
      'shop/roll/deployment.shop: done',
    ])
    expect((await names()).filter(name => bad.includes(name))).toEqual([])
    const emptied = JSON.parse(await space.kubectl('get', 'configmap', 'overrides', '-o', 'json')) as { data?: object }
    expect(emptied.data).toBeUndefined()
    expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
    // One that a release has goes back into it, and it is nobody's any more that was emptied.
    await space.kubectl.apply(configMap('overrides', { MODE: 'good' }))
    // kubectl refuses a second one within the second of the first.
    const restart = () => space.kubectl('rollout', 'restart', 'deployment/shop').catch(() => '')
    await expect.poll(restart, { timeout: 30_000 }).toContain('restarted')
    await rolledOut(space, 'deployment/shop')
    pin = await captured(target)
    await space.kubectl.apply(configMap('overrides', { MODE: 'bad' }))
    await putBack()
    const full = JSON.parse(await space.kubectl('get', 'configmap', 'overrides', '-o', 'json')) as object
    expect(full).toMatchObject({ data: { MODE: 'good' } })
    expect(JSON.stringify(full)).not.toContain('backout.dev/emptied"')
  })

  it('that the release did not have blocks where it is immutable, until it is deleted; a Secret is told of', async () => {
    const reads = [
      { configMapRef: { name: 'overrides', optional: true } },
      { secretRef: { name: 'overrides', optional: true } },
    ]
    await put(space, workload('Deployment', 'shop', { image: IMAGES.good, container: { envFrom: reads } }))
    await rolledOut(space, 'deployment/shop')
    pin = await captured(target)
    await put(space, secret('overrides', { MODE: 'bad' }), {
      ...configMap('overrides', { MODE: 'bad' }),
      immutable: true,
    })
    expect(codes(await proposed(target, pin))).toEqual(['CONFIG_IMMUTABLE', 'config_new'])
    await space.kubectl('delete', 'configmap', 'overrides')
    const told = await proposed(target, pin)
    expect([codes(told), told.steps]).toEqual([['config_new'], []])
    expect(told.findings[0]?.what).toContain('secret/overrides')
  })

  it('is a finding ahead where it is immutable, and is made again as immutable as it was', async () => {
    await deployed({ immutable: true })
    await space.kubectl('delete', 'configmap', 'shop')
    await put(space, { ...configMap('shop', { MODE: 'bad' }), immutable: true })
    const refused = await proposed(target, pin)
    expect([codes(refused), refused.steps]).toEqual([['CONFIG_IMMUTABLE', 'config_back'], []])
    await space.kubectl('delete', 'configmap', 'shop')
    await putBack()
    const made = JSON.parse(await space.kubectl('get', 'configmap', 'shop', '-o', 'json')) as object
    expect(made).toMatchObject({ data: { MODE: 'good' }, immutable: true })
  })

  it('is a finding ahead where a pinned Secret is of another type now, and is made again with its own', async () => {
    target = await space.open({ ...SHOP, pinned: ['secret/shop'] })
    const container = { envFrom: [{ secretRef: { name: 'shop' } }] }
    const made = workload('Deployment', 'shop', { image: IMAGES.good, container })
    const login = (type: string, password: string) => ({ ...secret('shop', { username: 'shop', password }), type })
    await put(space, login('kubernetes.io/basic-auth', 'good'), made)
    await rolledOut(space, 'deployment/shop')
    pin = await captured(target)
    await space.kubectl('delete', 'secret', 'shop')
    await put(space, login('Opaque', 'bad'))
    const refused = await proposed(target, pin)
    expect([codes(refused), refused.steps]).toEqual([['CONFIG_IMMUTABLE', 'config_back'], []])
    const [{ what, remedy } = { what: '', remedy: '' }] = refused.findings.filter(f => f.level === 'blocker')
    expect(what).toContain('is of the type Opaque now, and was of kubernetes.io/basic-auth')
    expect(remedy).toContain(`kubectl -n ${space.name} delete secret/shop`)
    await space.kubectl('delete', 'secret', 'shop')
    await applied(target, await proposed(target, pin))
    const back = JSON.parse(await space.kubectl('get', 'secret', 'shop', '-o', 'json')) as object
    const data = { password: Buffer.from('good').toString('base64') }
    expect(back).toMatchObject({ type: 'kubernetes.io/basic-auth', data })
    expect((await proposed(target, pin)).steps).toEqual([])
  })
})
