import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  captured,
  codes,
  configMap,
  IMAGES,
  type Kube,
  noArgo,
  proposed,
  running,
  signal,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import { type Argo, argoIn, startArgo } from './argo-rollouts.fixture.ts'
import { argoRollouts } from './index.ts'

const STEPPED = { canary: { steps: [{ setWeight: 50 }, { pause: {} }] } }
const NEVER_READY = { readinessProbe: { tcpSocket: { port: 9 }, periodSeconds: 1 } }

const without = noKubectl() ?? noArgo

describe.skipIf(without !== null)(`C5: Rollouts of Argo ${without ?? ''}`, () => {
  let kube: Kube
  let argo: Argo
  beforeAll(async () => void (kube = await startArgo()))
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => void (argo = await argoIn(kube)))
  afterEach(() => argo.close())

  const made = async (strategy: Record<string, unknown> = STEPPED) => {
    await argo.make('shop', IMAGES.good, { strategy })
    await argo.reached('shop', 'Healthy')
    const target = await argo.open()
    return { target, pin: await captured(target) }
  }

  it('aborts a canary, puts the template back, and is done once the stable pods alone serve', async () => {
    const { target, pin } = await made()
    await argo.setImage('shop', IMAGES.bad)
    await argo.reached('shop', 'Paused')
    const observed = await target.observe(signal)
    expect(observed.inFlight).toHaveLength(1)
    const proposal = await proposed(target, pin)
    expect(proposal.steps.map(step => step.title)).toEqual([
      'stop the rollout of rollout/shop',
      'bring rollout/shop back to its revision of v1',
    ])
    expect(codes(proposal)).toEqual([])
    expect(proposal.settles).toHaveLength(1)
    expect(await applied(target, proposal)).toEqual(['shop/halt/rollout.shop: done', 'shop/roll/rollout.shop: done'])
    const { status, spec } = await argo.reached('shop', 'Healthy')
    expect([status?.abort, status?.stableRS]).toEqual([undefined, status?.currentPodHash])
    expect(spec.template.spec.containers[0]?.image).toBe(IMAGES.good)
    expect(await running(argo.space)).toEqual([IMAGES.good, IMAGES.good])
  })

  it('tells of pods that die after each start, though nothing of the Rollout is another release', async () => {
    const { space } = argo
    const mode = (MODE: string) => space.kubectl.apply(configMap('mode', { MODE }))
    await mode('good')
    const command = ['sh', '-c', '[ "$MODE" = good ] || exit 3; exec sleep 100000']
    const container = { command, envFrom: [{ configMapRef: { name: 'mode' } }] }
    await argo.make('shop', IMAGES.shell, { strategy: STEPPED, container })
    await argo.reached('shop', 'Healthy')
    const target = await argo.open({ current: ['configmap/mode'] })
    const pin = await captured(target)
    expect(await proposed(target, pin)).toMatchObject({ change: null, unwell: [] })
    await mode('bad')
    await space.kubectl('delete', 'pods', '-l', 'app=shop', '--wait=false')
    const found = async () => {
      const { change, unwell = [] } = await proposed(target, pin)
      return change === null ? unwell[0]?.why : change.from
    }
    await expect
      .poll(found, { timeout: 60_000, interval: 300 })
      .toMatch(/0 of 2 pods of rollout\/shop stay up .*BackOff/)
  })

  it('leaves the stable pods serving after the abort alone, though the template is the bad one', async () => {
    const { target, pin } = await made()
    await argo.setImage('shop', IMAGES.bad)
    await argo.reached('shop', 'Paused')
    const proposal = await proposed(target, pin)
    const [halt] = proposal.steps
    await applied(target, {
      ...proposal,
      steps: halt === undefined ? [] : [halt],
      phases: { preflight: { step: halt?.id ?? '' } },
    })
    const aborted = await argo.reached('shop', 'Degraded')
    expect(aborted.spec.template.spec.containers[0]?.image).toBe(IMAGES.bad)
    await expect.poll(() => running(argo.space), { timeout: 30_000 }).toEqual([IMAGES.good, IMAGES.good])
    // A plan made now has only the template to put back.
    expect((await proposed(target, pin)).steps.map(step => step.id)).toEqual(['shop/roll/rollout.shop'])
  })

  it('skips the steps where the bad release is promoted, and says so', async () => {
    const { target, pin } = await made()
    await argo.setImage('shop', IMAGES.bad)
    await argo.reached('shop', 'Paused')
    await argo.status('shop', { promoteFull: true })
    await argo.reached('shop', 'Healthy')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['steps_skipped'])
    expect(await applied(target, proposal)).toEqual(['shop/roll/rollout.shop: done'])
    expect((await argo.get('shop')).status?.phase).toBe('Healthy')
    expect(await running(argo.space)).toEqual([IMAGES.good, IMAGES.good])
  })

  it('goes through the steps where it is told to, and calls nothing done before the last one', async () => {
    const { pin } = await made()
    const target = await argo.open({ steps: 'follow' })
    await argo.setImage('shop', IMAGES.bad)
    await argo.reached('shop', 'Paused')
    await argo.status('shop', { promoteFull: true })
    await argo.reached('shop', 'Healthy')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['steps_followed'])
    const [step] = proposal.steps
    if (step === undefined) throw new Error('no step')
    const act = stepAct(step)
    const going = target.apply(step, act)
    await argo.reached('shop', 'Paused')
    expect((await target.verify(step, act)).is).toBe('running')
    await argo.status('shop', { promoteFull: true })
    await going
    expect((await target.verify(step, act)).is).toBe('done')
  })

  it('brings a blue-green rollout back, and its active service with it', async () => {
    const live = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'live' },
      spec: { selector: { app: 'shop' }, ports: [{ port: 80 }] },
    }
    await argo.space.kubectl.apply(live)
    const { target, pin } = await made({ blueGreen: { activeService: 'live' } })
    const hash = () =>
      argo.space.kubectl('get', 'service', 'live', '-o', 'jsonpath={.spec.selector.rollouts-pod-template-hash}')
    const before = await hash()
    await argo.setImage('shop', IMAGES.bad)
    await argo.reached('shop', 'Healthy')
    expect(await hash()).not.toBe(before)
    // The old pods of either side stand for a while after a cut-over: no users get there, and nobody waits for them.
    expect(await running(argo.space)).toHaveLength(4)
    await applied(target, await proposed(target, pin))
    expect(await hash()).toBe(before)
    expect((await proposed(target, pin)).steps).toEqual([])
  })

  it('frees a rollout that is stuck on pods that never get ready', async () => {
    const { target, pin } = await made()
    await argo.setImage('shop', IMAGES.bad, NEVER_READY)
    await expect.poll(async () => (await argo.get('shop')).status?.updatedReplicas, { timeout: 30_000 }).toBe(1)
    expect(await applied(target, await proposed(target, pin))).toEqual([
      'shop/halt/rollout.shop: done',
      'shop/roll/rollout.shop: done',
    ])
  })

  it('names what is missing where the revision was pruned, and puts the template back by the next rung', async () => {
    const { target, pin } = await made({ canary: { steps: [] } })
    await argo.setImage('shop', IMAGES.bad)
    await argo.reached('shop', 'Healthy')
    await argo.space.kubectl('delete', 'replicaset', pin.objects['rollout/shop']?.keeper ?? '')
    expect(codes(await proposed(target, pin))).toContain('REVISION_GONE')
    await applied(target, await proposed(target, pin, 'template'))
    expect(await running(argo.space)).toEqual([IMAGES.good, IMAGES.good])
  })

  it('holds Argo CD, which would put the bad version back', async () => {
    const { target, pin } = await made()
    const tracking = { 'argocd.argoproj.io/tracking-id': `shop:argoproj.io/Rollout:${argo.space.name}/shop` }
    await argo.space.kubectl(
      'annotate',
      'rollout',
      'shop',
      ...Object.entries(tracking).map(([key, value]) => `${key}=${value}`),
    )
    await argo.space.kubectl.apply({
      apiVersion: 'argoproj.io/v1alpha1',
      kind: 'Application',
      metadata: { name: 'shop' },
      spec: { syncPolicy: { automated: { selfHeal: true } } },
    })
    await argo.setImage('shop', IMAGES.bad)
    await argo.reached('shop', 'Paused')
    const held = await argo.open({ argocd: argo.space.name })
    const proposal = await proposed(held, pin)
    expect(codes(proposal)).toContain('gitops_owner')
    await applied(held, proposal)
    const policy = await argo.space.kubectl('get', 'application', 'shop', '-o', 'jsonpath={.spec.syncPolicy}')
    expect(policy).not.toContain('selfHeal')
    await target[Symbol.asyncDispose]()
  })

  it('refuses a Rollout that takes its pods from a Deployment', async () => {
    const reference = { template: undefined, workloadRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'shop' } }
    await argo.make('shop', IMAGES.good, { spec: { ...reference, paused: true } })
    await expect((await argo.open()).observe(signal)).rejects.toThrow('takes its pods from deployment/shop')
  })

  conformance('argo-rollouts', {
    adapter: argoRollouts,
    rungs: ['adopt', 'template', 'image', 'manifest'],
    make: async () => {
      const [here, other] = [await argoIn(kube), await argoIn(kube)]
      const secret = { container: { env: [{ name: 'PLAIN', value: 'plain-secret' }] } }
      await Promise.all([here, other].map(one => one.make('shop', IMAGES.good, secret)))
      await here.reached('shop', 'Healthy')
      return {
        open: () => here.open(),
        openOther: () => other.open(),
        upgrade: async () => {
          await here.setImage('shop', IMAGES.bad, secret.container)
          await here.reached('shop', 'Paused')
          await here.status('shop', { promoteFull: true })
          await here.reached('shop', 'Healthy')
        },
        serves: async () => {
          const images = await running(here.space)
          if (images.length !== 2) return 'other'
          return images.every(i => i === IMAGES.good) ? 'A' : images.every(i => i === IMAGES.bad) ? 'B' : 'other'
        },
        secrets: ['plain-secret'],
        dispose: async () => {
          here.close()
          other.close()
        },
      }
    },
  })
})
