import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  autoscaler,
  captured,
  codes,
  IMAGES,
  type Kube,
  notOwn,
  pods,
  proposed,
  put,
  rolledOut,
  running,
  type Space,
  service,
  signal,
  skipOnOneNode,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Fact, Target } from '../../core/contract.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'
import { kubernetes } from './index.ts'

const QUICK = { limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C5: StatefulSets and DaemonSets ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  for (const kind of ['StatefulSet', 'DaemonSet']) {
    const object = `${kind.toLowerCase()}/shop`
    conformance(`kubernetes with a ${kind}`, {
      adapter: kubernetes,
      rungs: ['adopt'],
      make: async () => {
        const own = await kube.namespace()
        await put(own, service('shop', { app: 'shop' }), workload(kind, 'shop', { image: IMAGES.good }))
        await rolledOut(own, object)
        return {
          open: () => own.open({ objects: [object], ...QUICK }),
          upgrade: async () => {
            await own.kubectl('set', 'image', object, `app=${IMAGES.bad}`)
            await rolledOut(own, object)
          },
          serves: async () => {
            const images = new Set(await running(own))
            if (images.size !== 1) return 'other'
            return images.has(IMAGES.good) ? 'A' : images.has(IMAGES.bad) ? 'B' : 'other'
          },
          dispose: async () => {},
        }
      },
    })
  }

  describe('go back', () => {
    let space: Space
    beforeEach(async () => {
      space = await kube.namespace()
    })

    it('frees a StatefulSet that is stuck on a pod that never gets ready, and says that before', async () => {
      const target = await space.open({ objects: ['statefulset/shop'], ...QUICK })
      await put(space, service('shop', { app: 'shop' }), workload('StatefulSet', 'shop', { image: IMAGES.good }))
      await rolledOut(space, 'statefulset/shop')
      const pin = await captured(target)
      await space.kubectl('set', 'image', 'statefulset/shop', `app=${IMAGES.missing}`)
      const waiting = async () => (await running(space)).length
      await expect.poll(waiting, { timeout: 60_000 }).toBe(1)
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['pods_deleted'])
      expect(proposal.settles).toHaveLength(1)
      expect(await applied(target, proposal)).toEqual([
        'shop/halt/statefulset.shop: done',
        'shop/roll/statefulset.shop: done',
      ])
      expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
      const { spec } = JSON.parse(await space.kubectl('get', 'statefulset', 'shop', '-o', 'json')) as { spec: object }
      expect(spec).toMatchObject({ updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } } })
      expect((await proposed(target, pin)).steps).toEqual([])
    })

    it('stops a DaemonSet in the middle of its rollout, and lets it go on with the release', async ctx => {
      await skipOnOneNode(space, ctx)
      const target = await space.open({ objects: ['daemonset/shop'], ...QUICK })
      await put(space, workload('DaemonSet', 'shop', { image: IMAGES.good }))
      await rolledOut(space, 'daemonset/shop')
      const pin = await captured(target)
      const before = (await pods(space)).length
      await space.kubectl('set', 'image', 'daemonset/shop', `app=${IMAGES.missing}`)
      await expect.poll(async () => (await running(space)).length, { timeout: 60_000 }).toBe(before - 1)
      const proposal = await proposed(target, pin)
      expect(proposal.settles).toHaveLength(1)
      expect(await applied(target, proposal)).toEqual([
        'shop/halt/daemonset.shop: done',
        'shop/roll/daemonset.shop: done',
      ])
      expect(await running(space)).toEqual(Array.from({ length: before }, () => IMAGES.good))
      const { spec } = JSON.parse(await space.kubectl('get', 'daemonset', 'shop', '-o', 'json')) as { spec: object }
      expect(spec).toMatchObject({ updateStrategy: { type: 'RollingUpdate' } })
    })

    it('does not take a pod that is on its way out, as a DaemonSet counts it, for one that is back', async () => {
      const target = await space.open({ objects: ['daemonset/shop'], ...QUICK })
      const command = ['sh', '-c', 'trap "" TERM; while true; do sleep 1; done']
      const made = (image: string) =>
        workload('DaemonSet', 'shop', { image, container: { command }, pod: { terminationGracePeriodSeconds: 5 } })
      await put(space, made(IMAGES.shell))
      await rolledOut(space, 'daemonset/shop')
      const pin = await captured(target)
      const before = (await pods(space)).length
      await put(space, made(IMAGES.missing))
      await expect.poll(async () => (await running(space)).length, { timeout: 60_000 }).toBe(before - 1)
      await applied(target, await proposed(target, pin))
      expect(await running(space)).toEqual(Array.from({ length: before }, () => IMAGES.shell))
    })

    it.each(['StatefulSet', 'DaemonSet'])(
      'replaces the pods of a %s that replaces none by itself, one by one',
      async kind => {
        const object = `${kind.toLowerCase()}/shop`
        const target = await space.open({ objects: [object], ...QUICK })
        const made = (image: string) =>
          workload(kind, 'shop', { image, spec: { updateStrategy: { type: 'OnDelete' } } })
        await put(space, service('shop', { app: 'shop' }), made(IMAGES.good))
        const settled = async () => expect.poll(() => captured(target), { timeout: 120_000 }).toBeTruthy()
        await settled()
        const pin = await captured(target)
        await put(space, made(IMAGES.bad))
        await space.kubectl('delete', 'pods', '-l', 'app=shop')
        await settled()
        const proposal = await proposed(target, pin)
        expect(codes(proposal)).toEqual(['pods_deleted'])
        await applied(target, proposal)
        expect(new Set(await running(space))).toEqual(new Set([IMAGES.good]))
        expect((await pods(space)).length).toBeGreaterThan(0)
      },
    )

    it('stops a DaemonSet where it is asked to, and starts it again', async () => {
      const target = await space.open({ objects: ['daemonset/shop'], ...QUICK })
      await put(space, workload('DaemonSet', 'shop', { image: IMAGES.good }))
      await rolledOut(space, 'daemonset/shop')
      const pin = await captured(target)
      await space.kubectl('set', 'image', 'daemonset/shop', `app=${IMAGES.bad}`)
      await rolledOut(space, 'daemonset/shop')
      const [stop, roll] = (
        await proposed(target, pin, 'adopt', { needs: [{ of: 'shop', what: 'stopped', by: 'db' }] })
      ).steps
      if (stop === undefined || roll === undefined) throw new Error('a step is missing')
      await target.apply(stop, stepAct(stop))
      expect(await pods(space)).toEqual([])
      await target.apply(roll, stepAct(roll))
      expect((await target.verify(roll, stepAct(roll))).is).toBe('done')
      expect(new Set(await running(space))).toEqual(new Set([IMAGES.good]))
    })

    describe.skipIf(notOwn !== null)(`with what a cluster of its own is needed for ${notOwn ?? ''}`, () => {
      const crd = (group: string, version: string, kind: string) => ({
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: `${kind.toLowerCase()}s.${group}` },
        spec: {
          group,
          scope: 'Namespaced',
          names: { plural: `${kind.toLowerCase()}s`, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
          versions: [
            {
              name: version,
              served: true,
              storage: true,
              schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
            },
          ],
        },
      })

      it.each([
        [
          'Argo CD',
          crd('argoproj.io', 'v1alpha1', 'Application'),
          { annotations: { 'argocd.argoproj.io/tracking-id': 'NS_shop:apps/Deployment:NS/shop' } },
          { syncPolicy: { automated: { selfHeal: true }, syncOptions: ['CreateNamespace=true'] } },
          { syncPolicy: { syncOptions: ['CreateNamespace=true'] } },
        ],
        [
          'Flux',
          crd('kustomize.toolkit.fluxcd.io', 'v1', 'Kustomization'),
          {
            labels: {
              app: 'shop',
              'kustomize.toolkit.fluxcd.io/name': 'shop',
              'kustomize.toolkit.fluxcd.io/namespace': 'NS',
            },
          },
          { interval: '5m' },
          { interval: '5m', suspend: true },
        ],
      ])('holds %s, says so until it is lifted, and how', async (_, definition, metadata, spec, held) => {
        const { group, names } = definition.spec
        const [version] = definition.spec.versions
        const own = JSON.parse(JSON.stringify(metadata).replaceAll('NS', space.name)) as object
        await put(space, definition)
        const owner = { apiVersion: `${group}/${version?.name}`, kind: names.kind, metadata: { name: 'shop' }, spec }
        await expect
          .poll(
            () =>
              put(space, owner).then(
                () => 'there',
                () => 'not yet',
              ),
            { timeout: 30_000 },
          )
          .toBe('there')
        const made = (image: string) =>
          workload('Deployment', 'shop', { image, metadata: own as Record<string, unknown> })
        await space.kubectl.apply(made(IMAGES.good))
        await rolledOut(space, 'deployment/shop')
        const target: Target<KubernetesPin> = await space.open({ objects: ['deployment/shop'], ...QUICK })
        const pin = await captured(target)
        await space.kubectl.apply(made(IMAGES.bad))
        await rolledOut(space, 'deployment/shop')
        const proposal = await proposed(target, pin)
        expect(codes(proposal)).toEqual(['gitops_owner'])
        const [suspend, roll] = proposal.steps
        if (suspend === undefined || roll === undefined) throw new Error('a step is missing')
        expect((await target.verify(suspend, stepAct(suspend))).is).toBe('not-done')
        const facts: Fact[] = []
        await target.apply(suspend, { ...stepAct(suspend), tell: async fact => void facts.push(fact) })
        expect((await target.verify(suspend, stepAct(suspend))).is).toBe('done')
        await target.apply(roll, stepAct(roll))
        const now = async () =>
          JSON.parse(await space.kubectl('get', `${names.plural}.${group}`, 'shop', '-o', 'json')) as { spec: object }
        expect((await now()).spec).toEqual(held)
        expect((await target.observe(signal)).summary).toContain('is suspended by Backout')
        expect((await target.ready?.(signal))?.findings.map(f => f.code)).toEqual(['sync_suspended'])
        const lift = facts.map(fact => (fact.data as { lift: string }).lift).join()
        const [, ...words] = lift.match(/'[^']*'|\S+/g) ?? []
        await space.kubectl(...words.map(word => word.replaceAll("'", '')))
        expect((await now()).spec).toEqual('syncPolicy' in spec ? spec : { ...spec, suspend: false })
        expect((await target.observe(signal)).summary).not.toContain('suspended')
        // An autoscaler that came since, and that Git keeps, would be put back too: it is held by its own owner.
        const plain = (image: string) => workload('Deployment', 'free', { image })
        await space.kubectl.apply(plain(IMAGES.good))
        await rolledOut(space, 'deployment/free')
        const free = await space.open({ objects: ['deployment/free'], ...QUICK })
        const then = await captured(free)
        const scaler = autoscaler(kube, 'Deployment', 'free', { min: 3, max: 6 })
        await put(space, { ...scaler, metadata: { ...own, name: 'free' } })
        await expect
          .poll(async () => (await proposed(free, then)).steps.map(({ title }) => title), { timeout: 60_000 })
          .toEqual([
            expect.stringContaining('suspend '),
            'bound autoscaler free to 2 to 2 pods',
            'bring deployment/free back to its revision of v1',
          ])
      })
    })

    it.each(['adopt', 'template'])('needs no room where a pod that is stuck goes first, by the rung %s', async rung => {
      const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
      const spec = { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } }
      await put(
        space,
        { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'few' }, spec: { hard: { pods: '3' } } },
        workload('Deployment', 'shop', { image: IMAGES.good, spec }),
      )
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.missing}`)
      const used = () => space.kubectl('get', 'resourcequota', 'few', '-o', 'jsonpath={.status.used.pods}')
      await expect.poll(used, { timeout: 60_000 }).toBe('3')
      const proposal = await proposed(target, pin, rung)
      expect(codes(proposal)).toEqual([])
      expect((await applied(target, proposal)).at(-1)).toBe('shop/roll/deployment.shop: done')
      expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
    })

    it('sees that a quota leaves no room', async () => {
      const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
      const spec = { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } }
      await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good, spec }))
      await rolledOut(space, 'deployment/shop')
      const pin = await captured(target)
      await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
      await rolledOut(space, 'deployment/shop')
      await space.kubectl.apply({
        apiVersion: 'v1',
        kind: 'ResourceQuota',
        metadata: { name: 'few' },
        spec: { hard: { pods: '2' } },
      })
      await expect.poll(async () => codes(await proposed(target, pin)), { timeout: 30_000 }).toEqual(['QUOTA_EXCEEDED'])
    })
  })
})
