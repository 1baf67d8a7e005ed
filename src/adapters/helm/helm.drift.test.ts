import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import {
  autoscaler,
  codes,
  IMAGES,
  type Kube,
  running,
  signal,
  startKube,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Proposal, Target } from '../../core/contract.ts'
import { HELMS, noHelm, programOf, type Shop, shopIn } from './helm.fixture.ts'
import type { HelmPin } from './pin.ts'

const captured = async (target: Target<HelmPin>): Promise<HelmPin> =>
  target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })

const proposed = async (target: Target<HelmPin>, to: HelmPin): Promise<Proposal> => {
  const asked = { needs: [], dependents: [], dependencies: [], upgradedAt: null, mode: 'full' as const, signal }
  return target.propose({ ...asked, from: await target.observe(signal), to, release: 'v1', rung: 'rollback' })
}

const applied = async (target: Target<HelmPin>, proposal: Proposal): Promise<string[]> => {
  const verdicts: string[] = []
  for (const step of ordered(proposal)) {
    await target.apply(step, stepAct(step))
    verdicts.push((await target.verify(step, stepAct(step))).is)
  }
  return verdicts
}

/** What both do alike is asked of the newer one alone: that is no hole, and no test of the older one is skipped. */
const notAsked = (() => {}) as unknown as typeof it
const newerOnly = (version: string) => (version === '3' ? notAsked : it)

const OTHERS = `apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { MODE: good, LIMIT: "0010" }
---
apiVersion: v1
kind: Secret
metadata: { name: settings }
stringData: { PASSWORD: s3cret-of-release }
---
apiVersion: v1
kind: Service
metadata: { name: shop, annotations: { lb.example/backend: release, lb.example/weight: "10" }, labels: { tier: web } }
spec: { selector: { app: shop }, ports: [{ name: http, port: 80, protocol: TCP }, { name: more, port: 81, protocol: TCP }] }
`
const TUNED = `apiVersion: apps/v1
kind: Deployment
metadata: { name: tuned }
spec:
  replicas: 1
  selector: { matchLabels: { app: tuned } }
  template:
    metadata: { labels: { app: tuned }, annotations: { "example.com/day": "2020-01-01" } }
    spec:
      terminationGracePeriodSeconds: 0
      nodeSelector: {}
      volumes:
        - { name: all, configMap: { name: settings, defaultMode: 0644 } }
      containers:
        - name: app
          image: {{ .Values.image | quote }}
          args: []
          resources: { requests: { cpu: "0.50", memory: 1024Mi }, limits: { cpu: 1000m } }
          securityContext: { runAsNonRoot: no }
          volumeMounts: [{ name: all, mountPath: /a }, { name: all, mountPath: /b }]
          env: [{ name: EMPTY, value: "" }, { name: NUMBER, value: "010" }]
`

describe.each(HELMS)('C5: what was changed past Helm %s', version => {
  const without = noHelm(version) ?? noKubectl()
  describe.skipIf(without !== null)(`with the real helm ${without ?? ''}`, () => {
    let kube: Kube
    let shop: Shop
    beforeAll(async () => void (kube = await startKube()))
    afterAll(() => kube[Symbol.asyncDispose]())
    beforeEach(async () => {
      shop = await shopIn(kube, version)
      await writeFile(join(shop.chart, 'templates', 'others.yaml'), OTHERS)
    })

    const get = async (what: string, path: string) => shop.space.kubectl('get', what, '-o', `jsonpath={${path}}`)
    const ENV = '.spec.template.spec.containers[0].env[*].name'

    it('is seen and put back in annotations and labels too, by which users may be sent', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      const { kubectl } = shop.space
      await kubectl('annotate', '--overwrite', 'service', 'shop', 'lb.example/backend=bad')
      await kubectl('label', '--overwrite', 'service', 'shop', 'tier=bad')
      const proposal = await proposed(target, pin)
      const said = proposal.findings.map(({ what }) => what).join('\n')
      expect(said).toContain('service/shop metadata.annotations.lb.example/backend, service/shop metadata.labels.tier')
      expect(await applied(target, proposal)).toEqual(['done'])
      expect(await get('service/shop', '.metadata.annotations.lb\\.example/backend')).toBe('release')
      expect(await get('service/shop', '.metadata.labels.tier')).toBe('web')
      expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
    })

    it('is seen, said and put back: pods that were scaled away, a variable, a ConfigMap, a Service', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
      const { kubectl } = shop.space
      await kubectl('scale', 'deployment/shop', '--replicas=3')
      await kubectl('rollout', 'status', 'deployment/shop')
      expect((await proposed(target, pin)).change).toMatchObject({ fewer: true })
      await kubectl('set', 'env', 'deployment/shop', 'ADDED=bad', 'TOKEN=other')
      await kubectl('scale', 'deployment/shop', '--replicas=0')
      await kubectl('patch', 'configmap', 'settings', '-p', '{"data":{"MODE":"bad","MORE":"bad"}}')
      await kubectl('patch', 'service', 'shop', '-p', '{"spec":{"selector":{"app":"other"}}}')
      await kubectl('delete', 'secret', 'settings')
      expect((await target.observe(signal)).summary).toContain('deployment/shop')
      const proposal = await proposed(target, pin)
      expect(proposal.change).not.toHaveProperty('fewer')
      expect(codes(proposal)).toEqual(['drifted', 'drifted', 'hooks_origin'])
      const said = proposal.findings.map(({ what }) => what).join('\n')
      for (const at of [
        'deployment/shop spec.replicas',
        'deployment/shop spec.template.spec.containers[app].env[TOKEN].value',
        'deployment/shop spec.template.spec.containers[app].env[ADDED]',
        'configmap/settings data.MODE',
        'configmap/settings data.MORE',
        'service/shop spec.selector.app',
        'secret/settings is not there',
      ])
        expect(said).toContain(at)
      expect(said).not.toMatch(/s3cret|: bad|other/)
      expect(await applied(target, proposal)).toEqual(['done'])
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
      expect(await get('deployment/shop', ENV)).toBe('TOKEN')
      expect(JSON.parse(await get('configmap/settings', '.data'))).toEqual({ MODE: 'good', LIMIT: '0010' })
      expect(await get('service/shop', '.spec.selector.app')).toBe('shop')
      expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
    })

    newerOnly(version)(
      'is taken away with the bad release too, and left where the release had it (asked of Helm 4 alone)',
      async () => {
        await shop.install(IMAGES.good)
        const target = await shop.open()
        await shop.space.kubectl('set', 'env', 'deployment/shop', 'THEN=kept')
        await shop.space.kubectl('rollout', 'status', 'deployment/shop')
        const pin = await captured(target)
        expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
        await shop.upgrade(IMAGES.bad)
        await shop.space.kubectl('set', 'env', 'deployment/shop', 'ADDED=bad')
        await shop.space.kubectl('rollout', 'status', 'deployment/shop')
        const proposal = await proposed(target, pin)
        expect(codes(proposal)).toEqual(['drifted', 'hooks_origin'])
        expect(await applied(target, proposal)).toEqual(['done'])
        expect(await get('deployment/shop', ENV)).toBe('TOKEN THEN')
        expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
      },
    )

    newerOnly(version)(
      'is not what the API server writes otherwise than a chart does, nor what a restart by hand leaves (asked of Helm 4 alone)',
      async () => {
        await writeFile(join(shop.chart, 'templates', 'tuned.yaml'), TUNED)
        await shop.install(IMAGES.good)
        const target = await shop.open()
        await shop.space.kubectl('rollout', 'restart', 'deployment/tuned')
        await shop.space.kubectl('rollout', 'status', 'deployment/tuned')
        // As somebody has it who deletes an object and makes it again: kubectl has written the defaults too.
        const made = JSON.parse(await shop.space.kubectl('get', 'deployment', 'tuned', '-o', 'json')) as {
          metadata: Record<string, unknown>
        }
        const { uid: _, resourceVersion: __, creationTimestamp: ___, generation: ____, ...metadata } = made.metadata
        await shop.space.kubectl('delete', 'deployment', 'tuned')
        await shop.space.kubectl.apply({ ...made, metadata, status: undefined }, '--validate=false')
        await shop.space.kubectl('rollout', 'status', 'deployment/tuned')
        expect((await captured(target)).past).toEqual({})
      },
    )

    newerOnly(version)(
      'is no release that was uninstalled with its history kept: it comes back (asked of Helm 4 alone)',
      async () => {
        await shop.install(IMAGES.good)
        const target = await shop.open()
        const pin = await captured(target)
        await shop.helm('uninstall', 'shop', '--keep-history', '--wait')
        const proposal = await proposed(target, pin)
        expect(codes(proposal)).toEqual(['hooks_origin', 'release_uninstalled'])
        expect(await applied(target, proposal)).toEqual(['done'])
        expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
      },
    )

    newerOnly(version)(
      'is not how many pods an autoscaler sees to, but that there are none (asked of Helm 4 alone)',
      async () => {
        await shop.install(IMAGES.good)
        const target = await shop.open()
        const pin = await captured(target)
        const { kubectl } = shop.space
        await kubectl('scale', 'deployment/shop', '--replicas=3')
        await kubectl('rollout', 'status', 'deployment/shop')
        expect(codes(await proposed(target, pin))).toEqual(['drifted', 'hooks_origin'])
        await kubectl.apply(autoscaler(kube, 'Deployment', 'shop', { min: 2, max: 5 }))
        expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
        await kubectl('scale', 'deployment/shop', '--replicas=0')
        expect(codes(await proposed(target, pin))).toEqual(['drifted', 'hooks_origin'])
      },
    )

    newerOnly(version)(
      'is not how many pods an autoscaler sees to where the chart names no number (asked of Helm 4 alone)',
      async () => {
        await writeFile(join(shop.chart, 'templates', 'tuned.yaml'), TUNED.replace('  replicas: 1\n', ''))
        await shop.install(IMAGES.good)
        const { kubectl } = shop.space
        await kubectl.apply(autoscaler(kube, 'Deployment', 'tuned', { min: 1, max: 5 }))
        const target = await shop.open()
        const pin = await captured(target)
        await kubectl('scale', 'deployment/tuned', '--replicas=3')
        await kubectl('rollout', 'status', 'deployment/tuned')
        expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
      },
    )

    it('stands in the way of no rollback where it is what the bad release says, or was changed since the plan', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      const { kubectl } = shop.space
      await kubectl('set', 'env', 'deployment/shop', 'TOKEN=other')
      await shop.upgrade(IMAGES.bad, '--set', 'token=other')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['hooks_origin'])
      await kubectl('scale', 'deployment/shop', '--replicas=3')
      expect(await applied(target, proposal)).toEqual(['done'])
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
      expect(await get('deployment/shop', '.spec.template.spec.containers[0].env[0].value')).toBe('s3cret-of-release')
      expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
    })

    newerOnly(version)(
      'is put back by Helm 4 in a release that Helm 3 installed (asked of Helm 4 alone)',
      async context => {
        const older = noHelm('3')
        if (older !== null) context.skip(older)
        const first = await shopIn(kube, '3')
        await first.install(IMAGES.good)
        const target = await first.open({ helm: [programOf(version)] })
        const pin = await captured(target)
        await first.upgrade(IMAGES.bad)
        await first.space.kubectl('set', 'env', 'deployment/shop', 'TOKEN=other')
        const proposal = await proposed(target, pin)
        expect(codes(proposal)).toEqual(['drifted', 'hooks_origin'])
        expect(await applied(target, proposal)).toEqual(['done'])
        expect(await running(first.space)).toEqual([IMAGES.good, IMAGES.good])
        expect(await proposed(target, pin)).toMatchObject({ steps: [], findings: [] })
      },
    )

    it('is no deployment where its pods are of another release: it is no release to capture, and never nothing to do', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      await shop.upgrade(IMAGES.bad)
      await shop.space.kubectl('rollout', 'pause', 'deployment/shop')
      await shop.helm('rollback', 'shop', '1')
      expect(await running(shop.space)).toEqual([IMAGES.bad, IMAGES.bad])
      await expect(captured(target)).rejects.toMatchObject({
        code: 'object_unavailable',
        message: expect.stringContaining('its rollout is held') as string,
      })
      expect((await target.observe(signal)).summary).toContain('deployment/shop: 0 of 2 pods are of it')
      const proposal = await proposed(target, pin)
      expect(proposal.steps.map(step => step.id)).toEqual(['shop/rollback'])
      expect(codes(proposal)).toContain('pods_behind')
      expect(await applied(target, proposal)).toEqual(['done'])
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
    })
  })
})
