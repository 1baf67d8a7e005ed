import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noRegistry, type Registry, registry } from '../../../test/support/registry.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { NETWORK, type Swarm, swarmOf } from '../../../test/support/swarm.ts'
import type { Target } from '../../core/contract.ts'
import type { SwarmPin } from './pin.ts'
import { captured, codes, open, proposed, run } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages() ?? noRegistry()
const signal = new AbortController().signal

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 })

describe.skipIf(why !== null)(`C6: a swarm of three nodes${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let swarm: Swarm
  let hub: Registry
  let target: Target<SwarmPin>
  let pin: SwarmPin
  const FAST = [
    '--update-parallelism',
    '0',
    '--update-monitor',
    '300ms',
    '--stop-signal',
    'KILL',
    '--restart-delay',
    '0s',
  ]
  const make = (name: string, ...more: string[]) =>
    swarm.docker(
      'service',
      'create',
      '--quiet',
      '--network',
      NETWORK,
      ...FAST,
      '--name',
      name,
      ...more,
      `${hub.name}/shop:v1`,
    )
  const update = (name: string, version: string, ...more: string[]) =>
    swarm.docker('service', 'update', '--quiet', '--image', `${hub.name}/shop:${version}`, ...more, name)
  const nodesOf = async (name: string) => {
    const said = await swarm.docker('service', 'ps', '--filter', 'desired-state=running', '--format', '{{.Node}}', name)
    return [...new Set(said.split('\n'))].sort()
  }

  beforeAll(async () => {
    swarm = await swarmOf(2)
    hub = await registry(swarm, swarm.workers)
    for (const version of ['v1', 'v2']) await hub.push(`shop:${version}`, `shop:${version}`)
    await Promise.all([make('web', '--replicas', '3'), make('agent', '--mode', 'global')])
    target = await open(swarm, { services: ['web', 'agent'], limits: { update: '3m' } })
    pin = await captured(target)
  })
  afterAll(async () => {
    await hub?.dispose()
    await swarm?.dispose()
  })

  it('takes services back on all of them, proven by the digests of the tasks', async () => {
    expect(await nodesOf('agent')).toEqual(['manager', 'worker-1', 'worker-2'])
    await Promise.all(['web', 'agent'].map(name => update(name, 'v2')))
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual([])
    expect(await run(target, proposal)).toEqual(['done', 'done'])
    expect(await Promise.all(['web', 'agent'].map(name => swarm.everywhere(name)))).toEqual(['v1', 'v1'])
    expect((await proposed(target, pin)).steps).toEqual([])
  })

  it('goes back where a node is drained, and stops an update that had reached some nodes', async () => {
    await swarm.docker('node', 'update', '--availability', 'drain', 'worker-1')
    await expect.poll(() => nodesOf('web'), { timeout: 60_000 }).toEqual(['manager', 'worker-2'])
    await update('agent', 'v2', '--detach', '--update-parallelism', '1', '--update-delay', '10m')
    await expect.poll(() => swarm.everywhere('agent'), { timeout: 60_000 }).toBe('v1 v2')
    await update('web', 'v2')
    const proposal = await proposed(target, pin)
    const [halt] = ordered(proposal)
    if (halt === undefined) throw new Error('no step')
    expect(halt.id).toBe('web/halt/agent')
    expect(await run(target, proposal)).toEqual(['done', 'done', 'done'])
    expect(await Promise.all(['web', 'agent'].map(name => swarm.everywhere(name)))).toEqual(['v1', 'v1'])
    await swarm.docker('node', 'update', '--availability', 'active', 'worker-1')
    await expect.poll(() => nodesOf('agent'), { timeout: 60_000 }).toEqual(['manager', 'worker-1', 'worker-2'])
  })

  it('makes a service again only when what it ran on another node is gone', async () => {
    await make('apart', '--constraint', 'node.hostname==worker-1')
    const alone = await open(swarm, { services: ['apart'] })
    const was = await captured(alone)
    await update('apart', 'v2', '--stop-signal', 'WINCH', '--stop-grace-period', '5s')
    const seen = new Set<string>()
    const again = run(alone, await proposed(alone, was, 'recreate'))
    while ((await Promise.race([again, sleep(100, 'at it')])) === 'at it') seen.add(await swarm.everywhere('apart'))
    expect([await again, await swarm.everywhere('apart')]).toEqual([['done'], 'v1'])
    expect([...seen]).not.toContain('v1 v2')
    await swarm.docker('service', 'rm', 'apart')
  })

  it('says that it does not know where a node with the bad version goes in the middle', async () => {
    await update('web', 'v2', '--constraint-add', 'node.hostname!=worker-1')
    await expect.poll(() => nodesOf('web'), { timeout: 60_000 }).toEqual(['manager', 'worker-2'])
    const [step] = ordered(await proposed(target, pin)).filter(s => s.id === 'web/update/web')
    if (step === undefined) throw new Error('no step')
    let lost = false
    // The guard is the last thing before a write: the node goes between the two.
    const guard = () => {
      if (!lost) void swarm.lose(1)
      lost = true
    }
    const act = { ...stepAct(step, 'lost'), guard }
    await target.apply(step, act)
    const verdict = await target.verify(step, act)
    expect(verdict).toMatchObject({ is: 'unknown', why: expect.stringContaining('nodes that do not answer') as string })
    expect(await swarm.everywhere('web')).toBe('v1')
    const { findings } = await proposed(target, pin)
    expect(findings.find(f => f.code === 'node_down')?.what).toContain('worker-2')
    await swarm.docker('node', 'rm', '--force', 'worker-2')
    await expect.poll(async () => (await target.verify(step, act)).is, { timeout: 60_000 }).toBe('done')
    await expect.poll(async () => (await target.observe(signal)).inFlight, { timeout: 60_000 }).toEqual([])
  })
})
