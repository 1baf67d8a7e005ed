import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import {
  codes,
  IMAGES,
  type Kube,
  notOwn,
  running,
  signal,
  startKube,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Proposal, Question, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { HELMS, noHelm, type Shop, shopIn } from './helm.fixture.ts'
import { helm } from './index.ts'
import type { HelmPin } from './pin.ts'

const captured = async (target: Target<HelmPin>): Promise<HelmPin> =>
  target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })

const proposed = async (
  target: Target<HelmPin>,
  to: HelmPin,
  more: Partial<Question<HelmPin>> = {},
): Promise<Proposal> => {
  const from = await target.observe(signal)
  const none = { needs: [], dependents: [], dependencies: [], upgradedAt: null }
  return target.propose({ from, to, release: 'v1', rung: 'rollback', mode: 'full', signal, ...none, ...more })
}

const applied = async (target: Target<HelmPin>, proposal: Proposal): Promise<string[]> => {
  const verdicts: string[] = []
  const handles = new Map<string, Json>()
  for (const step of ordered(proposal)) {
    await target.apply(step, stepAct(step, 'r1', handles))
    verdicts.push(`${step.id}: ${(await target.verify(step, stepAct(step, 'r1', handles))).is}`)
  }
  return verdicts
}

/** What both do alike is asked of the newer one alone: that is no hole, and no test of the older one is skipped. */
const notAsked = (() => {}) as unknown as typeof it
const WAIT = { timeout: 60_000 }
const newerOnly = (version: string) => (version === '3' ? notAsked : it)

describe.each(HELMS)('C5: releases of Helm %s', version => {
  const without = noHelm(version) ?? noKubectl()
  describe.skipIf(without !== null)(`with the real helm ${without ?? ''}`, () => {
    let kube: Kube
    let shop: Shop
    beforeAll(async () => void (kube = await startKube({ definitions: ['helmReleases'] })))
    afterAll(() => kube[Symbol.asyncDispose]())
    beforeEach(async () => void (shop = await shopIn(kube, version)))

    const statuses = async (): Promise<string[]> => (await shop.history()).map(one => `${one.revision} ${one.status}`)

    it('goes to the newest revision that was good, not to the one before', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      await shop.upgrade(IMAGES.bad)
      await expect(shop.upgrade(IMAGES.missing, '--timeout', '2s')).rejects.toThrow('UPGRADE FAILED')
      const proposal = await proposed(target, pin)
      expect(proposal.steps.map(step => step.title)).toEqual(['helm rollback shop 1 (shop-1.0.0, as in v1)'])
      expect(codes(proposal)).toEqual(['hooks_origin', 'release_failed'])
      expect(await applied(target, proposal)).toEqual(['shop/rollback: done'])
      expect(await statuses()).toEqual(['1 superseded', '2 superseded', '3 failed', '4 deployed'])
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
      // Back again after the same release came again: the newest with that content is revision 4 now.
      await shop.upgrade(IMAGES.bad)
      expect((await proposed(target, pin)).steps.map(step => step.title)).toEqual([
        'helm rollback shop 4 (shop-1.0.0, as in v1)',
      ])
    })

    it('goes over what a dead client left pending, and says so', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open({ limits: { pending: '10ms' } })
      const pin = await captured(target)
      await shop.dieAt('upgrade')
      await shop.dieAt('rollback')
      const observed = await target.observe(signal)
      expect(observed).toMatchObject({
        summary: expect.stringContaining('revision 3, pending-rollback, left by a client that died'),
        inFlight: [],
      })
      await expect(captured(target)).rejects.toMatchObject({ next: expect.stringContaining('`helm rollback shop 1`') })
      await expect(shop.upgrade(IMAGES.good)).rejects.toThrow('another operation')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['hooks_origin', 'pending_left'])
      expect(await applied(target, proposal)).toEqual(['shop/rollback: done'])
      expect((await shop.history()).at(-1)).toMatchObject({ revision: 4, status: 'deployed' })
      await shop.upgrade(IMAGES.good)
    })

    it('goes over what its own client left that was killed with its run, and does not wait for it', async () => {
      await shop.install(IMAGES.good, '--set', 'hook=sleep 600')
      const pin = await captured(await shop.open())
      await shop.upgrade(IMAGES.bad)
      const target = await shop.open()
      const [step] = (await proposed(target, pin)).steps
      if (step === undefined) throw new Error('no step')
      const handles = new Map<string, Json>()
      const killed = new AbortController()
      const applying = target.apply(step, { ...stepAct(step, 'r1', handles), signal: killed.signal })
      applying.catch(() => {})
      await expect.poll(async () => (await shop.history()).at(-1)?.status, WAIT).toBe('pending-rollback')
      expect((await target.observe(signal)).inFlight).toHaveLength(1)
      killed.abort(new Error('killed'))
      await expect(applying).rejects.toThrow()
      const again = await shop.open({ hooks: 'skip' })
      const verdict = await again.verify(step, stepAct(step, 'r1', handles))
      expect(verdict).toMatchObject({ is: 'not-done', why: expect.stringContaining('helm refuses every upgrade') })
      const proposal = await proposed(again, pin)
      expect(codes(proposal)).toContain('pending_left')
      expect(await applied(again, proposal)).toEqual(['shop/rollback: done'])
      expect(await statuses()).toEqual(['1 superseded', '2 superseded', '3 pending-rollback', '4 deployed'])
    })

    it('waits for an upgrade that is still at work, and only then goes back', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      const upgrade = await shop.begin('4s')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['hooks_origin', 'in_flight'])
      const [settle] = proposal.steps
      expect(settle?.title).toBe('wait for the pending-upgrade of revision 2, which another client is at')
      if (settle === undefined) throw new Error('no step')
      expect((await target.verify(settle, stepAct(settle))).is).toBe('not-done')
      expect(await applied(target, proposal)).toEqual(['shop/settle: done', 'shop/rollback: done'])
      await upgrade.ended
      expect(await statuses()).toEqual(['1 superseded', '2 failed', '3 deployed'])
      await expect(captured(await shop.open())).resolves.toMatchObject({ revision: 3 })
    })

    it('ends an upgrade that is still at work by the command of the settings, and goes back at once', async () => {
      await shop.install(IMAGES.good)
      const pin = await captured(await shop.open())
      const upgrade = await shop.begin('5m')
      const halting = (script: string) => shop.open({ halt: ['sh', '-c', script] })
      const failing = await halting('echo not allowed; exit 4')
      const proposal = await proposed(failing, pin, { mode: 'emergency' })
      const [settle] = proposal.steps
      expect([settle?.title, proposal.omits]).toEqual([
        'end the pending-upgrade of revision 2, which another client is at, by `halt`',
        [],
      ])
      if (settle === undefined) throw new Error('no step')
      await expect(failing.apply(settle, stepAct(settle))).rejects.toMatchObject({ why: 'not allowed' })
      expect((await failing.verify(settle, stepAct(settle))).is).toBe('not-done')
      const target = await halting(`kill -9 ${upgrade.pid}`)
      expect(await applied(target, await proposed(target, pin))).toEqual(['shop/settle: done', 'shop/rollback: done'])
      expect(await upgrade.ended).toEqual([null, 'SIGKILL'])
      expect((await statuses()).at(-1)).toBe('3 deployed')
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
    })

    newerOnly(version)('does not wait in an emergency (asked of Helm 4 alone)', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      await shop.dieAt('upgrade')
      const proposal = await proposed(target, pin, { mode: 'emergency' })
      expect(proposal.steps.map(step => step.id)).toEqual(['shop/rollback'])
      expect(proposal.omits).toEqual(['waiting for the pending-upgrade of another client'])
      await applied(target, proposal)
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
    })

    it('runs the hooks of the release that is gone back to, and fails with them', async () => {
      await shop.install(IMAGES.good, '--set', 'hook=exit 3')
      const target = await shop.open()
      const pin = await captured(target)
      await shop.upgrade(IMAGES.bad, '--set', 'hook=exit 0')
      const proposal = await proposed(target, pin)
      expect(proposal.findings.map(finding => finding.what)).toEqual([
        'Hooks of v1 (revision 1, shop-1.0.0), not of the release that is left, run: post-rollback: job/shop-hook',
      ])
      await expect(applied(target, proposal)).rejects.toThrow('`helm rollback` of shop ended with code 1')
      const [step] = proposal.steps
      if (step === undefined) throw new Error('no step')
      expect((await target.verify(step, stepAct(step))).is).toBe('not-done')
      // Helm leaves it pending then; a new plan does not wait for what it knows to have ended.
      expect((await shop.history()).at(-1)?.status).toBe('pending-rollback')
      const skipping = await shop.open({ hooks: 'skip' })
      expect(await applied(skipping, await proposed(skipping, pin))).toEqual(['shop/rollback: done'])
    })

    const cordons = version === '3' ? notAsked : notOwn === null ? it : it.skip
    cordons(
      'says what helm waits for, and why it was in vain (asked of Helm 4, where nodes may be cordoned)',
      async () => {
        await shop.install(IMAGES.good)
        const target = await shop.open({ limits: { rollback: '6s' } })
        const pin = await captured(target)
        await shop.upgrade(IMAGES.bad)
        const [step] = (await proposed(target, pin)).steps
        if (step === undefined) throw new Error('no step')
        const said: string[] = []
        const act = { ...stepAct(step), progress: ({ text }: { text: string }) => void said.push(text) }
        await shop.space.kubectl('cordon', 'node-1', 'node-2')
        try {
          const why = expect.stringContaining('Unschedulable 0/2 nodes are available') as string
          await expect(target.apply(step, act)).rejects.toMatchObject({ code: 'helm_failed', why })
        } finally {
          await shop.space.kubectl('uncordon', 'node-1', 'node-2')
        }
        expect(said.join('\n')).toMatch(/deployment\/shop: 1 of 2 pods replaced, \d available; shop-\S+: Unschedulable/)
      },
    )

    it('puts back what was changed past helm', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      await shop.space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
      await shop.space.kubectl('rollout', 'status', 'deployment/shop')
      expect((await target.observe(signal)).summary).toContain('deployment/shop not as the release says')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['drifted', 'hooks_origin'])
      await applied(target, proposal)
      expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
    })

    newerOnly(version)('says what to do where the revision was pruned (asked of Helm 4 alone)', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      await shop.upgrade(IMAGES.bad, '--history-max', '1')
      await shop.upgrade(IMAGES.bad, '--history-max', '1', '--set', 'token=other')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['REVISION_GONE'])
      expect(proposal.steps).toEqual([])
    })

    newerOnly(version)(
      'leaves a release alone that somebody upgraded since the plan was made (asked of Helm 4 alone)',
      async () => {
        await shop.install(IMAGES.good)
        const target = await shop.open()
        const pin = await captured(target)
        await shop.upgrade(IMAGES.bad)
        const proposal = await proposed(target, pin)
        await shop.upgrade(IMAGES.bad, '--set', 'token=other')
        await expect(applied(target, proposal)).rejects.toThrow('is not what the plan saw')
        expect(await statuses()).toEqual(['1 superseded', '2 superseded', '3 deployed'])
      },
    )

    newerOnly(version)(
      'captures nothing but what is deployed, and knows where there is nothing (asked of Helm 4 alone)',
      async () => {
        const target = await shop.open()
        await expect(captured(target)).rejects.toThrow('Helm knows no release shop')
        await expect(shop.install(IMAGES.missing, '--timeout', '1s')).rejects.toThrow('INSTALLATION FAILED')
        await expect(captured(target)).rejects.toThrow('Revision 1 of shop is failed')
        const missing = await shop.open({ helm: ['/nowhere/helm'] })
        await expect(missing.observe(signal)).rejects.toThrow('helm is not installed here')
      },
    )

    const defines = version === '3' ? notAsked : notOwn === null ? it : it.skip
    defines('holds Flux, which would install the bad release again (asked of Helm 4 alone)', async () => {
      await shop.install(IMAGES.good)
      const target = await shop.open()
      const pin = await captured(target)
      await shop.space.kubectl(
        'label',
        'deployment',
        'shop',
        'helm.toolkit.fluxcd.io/name=shop',
        `helm.toolkit.fluxcd.io/namespace=${shop.space.name}`,
      )
      await shop.space.kubectl.apply({
        apiVersion: 'helm.toolkit.fluxcd.io/v2',
        kind: 'HelmRelease',
        metadata: { name: 'shop' },
        spec: {},
      })
      await shop.upgrade(IMAGES.bad)
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['gitops_owner', 'hooks_origin'])
      expect((await applied(target, proposal)).at(-1)).toBe('shop/rollback: done')
      expect(await shop.space.kubectl('get', 'helmrelease', 'shop', '-o', 'jsonpath={.spec.suspend}')).toBe('true')
    })

    conformance(`helm ${version}`, {
      adapter: helm,
      rungs: ['rollback'],
      make: async () => {
        const [here, other] = [await shopIn(kube, version), await shopIn(kube, version)]
        await Promise.all([here.install(IMAGES.good), other.install(IMAGES.good)])
        return {
          open: () => here.open(),
          openOther: () => other.open(),
          upgrade: () => here.upgrade(IMAGES.bad),
          serves: async () => {
            const images = await running(here.space)
            if (images.length !== 2) return 'other'
            return images.every(i => i === IMAGES.good) ? 'A' : images.every(i => i === IMAGES.bad) ? 'B' : 'other'
          },
          secrets: ['s3cret-of-release'],
          dispose: async () => {},
        }
      },
    })
  })
})
