import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { NETWORK, type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import { captured, codes, open, proposed, run } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages()

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(
  `C6: how fast a Swarm service is taken back${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let engine: SwarmEngine
    beforeAll(async () => {
      engine = await swarmEngine()
    })
    afterAll(() => engine?.dispose())

    it.concurrent('replaces one task after the other where the service says nothing of updates, as Swarm itself does', async ({
      expect,
    }) => {
      const name = 'plain'
      // As people make one by hand: without any setting for updates.
      const own = ['--network', NETWORK, '--stop-grace-period', '1s', '--stop-signal', 'KILL', '--replicas', '2']
      await engine.docker('service', 'create', '--quiet', '--no-resolve-image', ...own, '--name', name, 'shop:v1')
      const target = await open(engine, { services: [name] })
      const pin = await captured(target)
      await engine.update(name, '--image', 'shop:v2')
      const proposal = await proposed(target, pin)
      expect(proposal.impact.downtimeMs).toBe(0)
      const running: number[] = []
      const filter = ['--filter', `label=com.docker.swarm.service.name=${name}`]
      const back = run(target, proposal)
      while ((await Promise.race([back, sleep(100, 'at it')])) === 'at it')
        running.push((await engine.docker('ps', '-q', ...filter)).split('\n').filter(Boolean).length)
      expect([await back, await engine.versions(name), Math.min(...running)]).toEqual([['done'], 'v1', 1])
      expect((await proposed(target, pin)).steps).toEqual([])
    })

    it.concurrent('says that users are not served where the release has all tasks stopped at once', async ({
      expect,
    }) => {
      await engine.create('at-once', 'shop:v1', '--replicas', '2', '--update-order', 'stop-first')
      const target = await open(engine, { services: ['at-once'] })
      const pin = await captured(target)
      await engine.update('at-once', '--image', 'shop:v2', '--update-order', 'start-first')
      expect((await proposed(target, pin)).impact.downtimeMs).toBeGreaterThan(0)
      // Swarm's own rollback has settings of its own.
      expect((await proposed(target, pin, 'previous')).impact.downtimeMs).toBe(0)
    })

    it.concurrent('gives an update the time that the service itself waits between its tasks, and goes on with one under way', async ({
      expect,
    }) => {
      const name = 'slow'
      await engine.create(name, 'shop:v1', '--replicas', '2', '--update-parallelism', '1', '--update-delay', '10s')
      const target = await open(engine, { services: [name], limits: { update: '18s' } })
      const pin = await captured(target)
      await engine.update(name, '--image', 'shop:v2', '--update-delay', '0s', '--update-parallelism', '0')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['note image_without_digest'])
      const [step] = ordered(proposal)
      if (step === undefined) throw new Error('no step')
      expect(step.estimateMs).toBeGreaterThan(20_000)
      expect(step.limitMs).toBeGreaterThan(38_000)
      const killed = new AbortController()
      const dies = target.apply(step, { ...stepAct(step, 'slow'), signal: killed.signal })
      await expect.poll(() => engine.versions(name), { timeout: 60_000 }).toBe('v1 v2')
      killed.abort()
      await expect(dies).rejects.toThrow()
      const first = await containersOf(name, 'v1')
      const again = await proposed(target, pin)
      expect(await run(target, again)).toEqual(['done'])
      expect([await engine.versions(name), await containersOf(name, 'v1')]).toEqual([
        'v1',
        expect.arrayContaining(first),
      ])
    })

    it.concurrent('says ahead where that takes long', async ({ expect }) => {
      const slowly = ['--update-parallelism', '1', '--update-delay', '5m']
      await engine.create('slower', 'shop:v1', '--replicas', '3', ...slowly)
      const target = await open(engine, { services: ['slower'] })
      const pin = await captured(target)
      await engine.update('slower', '--image', 'shop:v2', '--update-delay', '0s', '--update-parallelism', '0')
      const { findings } = await proposed(target, pin)
      expect(findings.find(f => f.code === 'update_slow')?.what).toContain('takes 15 min at least')
      expect(codes(await proposed(target, pin, 'recreate'))).not.toContain('warning update_slow')
      // Swarm's own rollback has settings of its own, and a rung below it.
      const hasty = await open(engine, { services: ['slower'], limits: { update: '100ms' } })
      expect(codes(await proposed(hasty, pin, 'previous'))).toContain('blocker previous_is_slow')
    })

    async function containersOf(service: string, version: string): Promise<string[]> {
      const label = `label=com.docker.swarm.service.name=${service}`
      const ids = await engine.docker('ps', '-q', '--filter', label, '--filter', `ancestor=shop:${version}`)
      return ids.split('\n').filter(Boolean).sort()
    }
  },
)
