import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import type { Json } from '../../core/json.ts'
import { captured, codes, open, proposed, run, shopOn } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages()
const signal = new AbortController().signal

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(`C6: a Swarm service taken back${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let engine: SwarmEngine
  beforeAll(async () => {
    engine = await swarmEngine()
  })
  afterAll(() => engine?.dispose())

  const shop = (name: string, more?: string[], image?: string) => shopOn(engine, name, more, image)

  for (const rung of ['previous', 'update']) {
    it.concurrent(`is not brought to the bad release by a second rollback, right after the rung ${rung}`, async ({
      expect,
    }) => {
      const { name, target, pin } = await shop(`second-${rung}`)
      await engine.update(name, '--image', 'shop:v2')
      expect(await run(target, await proposed(target, pin, rung))).toEqual(['done'])
      await engine.docker('service', 'rollback', '--quiet', name)
      await expect.poll(() => engine.versions(name), { timeout: 30_000 }).toBe('v1')
      expect((await engine.inspect(name)).Spec.TaskTemplate.ContainerSpec.Image).toBe('shop:v1')
    })
  }

  it.concurrent('asks Swarm for its own rollback only where that leads to the release', async ({ expect }) => {
    const { name, target, pin } = await shop('third')
    await engine.update(name, '--image', 'shop:v2')
    const early = ordered(await proposed(target, pin, 'previous'))
    await engine.update(name, '--image', 'shop:v3')
    expect(codes(await proposed(target, pin, 'previous'))).toContain('blocker previous_is_other')
    const [step] = early
    if (step === undefined) throw new Error('no step')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'service_moved', exit: 'moved' })
    expect(await engine.versions(name)).toBe('v3')
    const known = (await target.remembered?.(signal)) ?? []
    expect(known.map(r => r.release)).toEqual(['v2', 'v1'])
    const [, oldest] = known
    if (oldest === undefined) throw new Error('two expected')
    expect(await run(target, await proposed(target, oldest.pin))).toEqual(['done'])
    expect([await engine.versions(name), (await proposed(target, pin)).steps]).toEqual(['v1', []])
  })

  it.concurrent('goes back where an automatic rollback left no previous specification', async ({ expect }) => {
    const { name, target, pin } = await shop('automatic')
    await engine.update(name, '--image', 'shop:v2')
    await engine.update(
      name,
      '--detach',
      '--image',
      'shop:ill',
      '--update-failure-action',
      'rollback',
      '--update-monitor',
      '5s',
    )
    await expect
      .poll(async () => (await engine.inspect(name)).UpdateStatus?.State, { timeout: 60_000 })
      .toBe('rollback_completed')
    expect((await engine.inspect(name)).PreviousSpec).toBeUndefined()
    expect(codes(await proposed(target, pin, 'previous'))).toContain('blocker previous_is_other')
    expect(await run(target, await proposed(target, pin))).toEqual(['done'])
    expect(await engine.versions(name)).toBe('v1')
  })

  it.concurrent('C2: stops an update under way where it is, before anything else, and takes its place', async ({
    expect,
  }) => {
    const { name, target, pin } = await shop('moving', ['--replicas', '3'])
    await engine.update(name, '--detach', '--image', 'shop:v2', '--update-parallelism', '1', '--update-delay', '10m')
    await expect.poll(() => engine.versions(name), { timeout: 30_000 }).toBe('v1 v2')
    const observed = await target.observe(signal)
    expect(observed.inFlight.map(op => op.what)).toEqual(['an update of moving'])
    await expect(captured(target)).rejects.toMatchObject({ code: 'service_unsettled' })
    expect(codes(await proposed(target, pin, 'previous'))).toContain('blocker previous_is_other')
    const proposal = await proposed(target, pin)
    expect([proposal.settles, proposal.phases.preflight]).toEqual([
      ['an update of moving'],
      { step: 'web/halt/moving' },
    ])
    const [halt] = ordered(proposal)
    if (halt === undefined) throw new Error('no step')
    expect((await target.verify(halt, stepAct(halt, 'halt'))).is).toBe('not-done')
    await target.apply(halt, stepAct(halt, 'halt'))
    const tasks = () => engine.docker('ps', '-q', '--filter', `label=com.docker.swarm.service.name=${name}`)
    const before = await tasks()
    expect(await engine.versions(name)).toBe('v1 v2')
    expect((await engine.inspect(name)).UpdateStatus?.State).toBe('paused')
    expect([await tasks(), (await target.verify(halt, stepAct(halt, 'halt'))).is]).toEqual([before, 'done'])
    const halted = await target.observe(signal)
    expect([halted.inFlight, halted.summary]).toEqual([[], expect.stringContaining('its update stopped')])
    expect(halted.summary).toMatch(/^moving \d of shop:v[12], \d of shop:v[12] /)
    await expect(captured(target)).rejects.toMatchObject({
      code: 'service_unsettled',
      why: expect.stringContaining('moving: a run of Backout stopped its update where it was: '),
      next: expect.stringMatching(/^let it go on: `docker service inspect .* moving \| sh`; and wait until/),
    })
    const departure = { ...stepAct(), purpose: 'departure' as const, release: 'departure' }
    const left = await target.capture(halted, departure)
    expect(left.services.map(s => s.mac)).not.toEqual(pin.services.map(s => s.mac))
    expect(await run(target, { ...proposal, phases: { code: proposal.phases.code ?? { seq: [] } } })).toEqual(['done'])
    expect([await engine.versions(name), (await target.observe(signal)).inFlight]).toEqual(['v1', []])
    // Back to where the run began is back to what the update was to bring.
    expect((await proposed(target, left)).change).toEqual({ from: expect.stringContaining('shop:v1'), to: 'shop:v2' })
  })

  it.concurrent('takes an update back that Swarm paused because the new tasks died', async ({ expect }) => {
    const { name, target, pin } = await shop('paused')
    await engine.update(name, '--detach', '--image', 'shop:ill', '--update-monitor', '5s')
    await expect.poll(async () => (await engine.inspect(name)).UpdateStatus?.State, { timeout: 60_000 }).toBe('paused')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toContain('warning update_paused')
    expect(proposal.findings.map(f => f.what).join()).toContain('non-zero exit (1)')
    expect(await run(target, proposal)).toEqual(['done'])
    expect(await engine.versions(name)).toBe('v1')
  })

  it.concurrent('leaves a service alone that somebody else changes in the last moment, and writes again where only its version moved', async ({
    expect,
  }) => {
    const { name, target, pin } = await shop('raced')
    await engine.update(name, '--image', 'shop:v2')
    const proposal = await proposed(target, pin)
    const [step] = ordered(proposal)
    if (step === undefined) throw new Error('no step')
    const before = (await engine.inspect(name)).Version.Index
    const raced = async (...change: string[]) => {
      let first = true
      // The guard is the last thing before a write: what happens in it happens between read and write.
      const words = [
        '--host',
        engine.host,
        'service',
        'update',
        '--quiet',
        '--detach',
        '--no-resolve-image',
        ...change,
        name,
      ]
      const guard = () => {
        if (first) execFileSync('docker', words, { stdio: 'ignore' })
        first = false
      }
      return target.apply(step, { ...stepAct(step, `raced-${change.join('')}`), guard })
    }
    await expect(raced('--env-add', 'BY=hand')).rejects.toMatchObject({ code: 'service_moved', exit: 'moved' })
    expect((await engine.inspect(name)).Spec.TaskTemplate.ContainerSpec).toMatchObject({
      Image: 'shop:v2',
      Env: ['BY=hand'],
    })
    await engine.update(name, '--env-rm', 'BY')
    await raced('--force')
    expect((await engine.inspect(name)).Version.Index).toBeGreaterThan(before)
    expect(await engine.versions(name)).toBe('v1')
  })

  it.concurrent('runs the image of the release, though its tag means another one by now', async ({ expect }) => {
    await engine.docker('tag', 'shop:v1', 'shop:stable')
    const { name, target, pin } = await shop('moved-tag', [], 'shop:stable')
    await engine.docker('tag', 'shop:v2', 'shop:stable')
    await engine.update(name, '--force')
    expect(await engine.versions(name)).toBe('v2')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['warning tag_moved'])
    expect(await run(target, proposal)).toEqual(['done'])
    expect(await engine.versions(name)).toBe('v1')
    expect((await proposed(target, pin)).steps).toEqual([])
  })

  it.concurrent('blocks where the image, a network, a config or a secret of the release is gone', async ({
    expect,
  }) => {
    const { docker } = engine
    await docker('tag', 'shop:v3', 'shop:gone')
    for (const kind of ['config', 'secret']) await docker(kind, 'create', `gone-${kind}`, '/etc/hostname')
    const network = ['network', 'create', '-d', 'bridge', '--scope', 'swarm', '--config-from', 'gone-cfg', 'gone-net']
    await docker('network', 'create', '--config-only', '--subnet', '10.78.0.0/24', 'gone-cfg')
    await docker(...network)
    const more = ['--config', 'gone-config', '--secret', 'gone-secret', '--network', 'gone-net']
    const { name, target, pin } = await shop('gone', more)
    const less = ['--config-rm', 'gone-config', '--secret-rm', 'gone-secret', '--network-rm', 'gone-net']
    await engine.update(name, '--image', 'shop:v2', ...less)
    await expect.poll(() => docker('network', 'rm', 'gone-net').catch(() => ''), { timeout: 30_000 }).toBe('gone-net')
    const without = await proposed(target, pin)
    expect(without.findings.find(f => f.code === 'network_gone')).toMatchObject({
      level: 'blocker',
      what: 'The network gone-net of gone is gone',
      remedy: expect.stringContaining('docker network create'),
    })
    await docker(...network)
    await docker('config', 'rm', 'gone-config')
    await docker('secret', 'rm', 'gone-secret')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(expect.arrayContaining(['note config_made_again', 'blocker secret_gone']))
    expect(proposal.findings.filter(f => f.level === 'blocker').every(f => f.remedy !== '')).toBe(true)
    await docker('config', 'create', 'gone-config', '/etc/passwd')
    await docker('secret', 'create', 'gone-secret', '/etc/hostname')
    expect(codes(await proposed(target, pin))).toEqual(
      expect.arrayContaining(['blocker config_gone', 'warning secret_made_again']),
    )
    await docker('config', 'rm', 'gone-config')
    await docker('config', 'create', 'gone-config', '/etc/hostname')
    expect(await run(target, await proposed(target, pin))).toEqual(['done'])
    const lost = { ...pin.services[0], image: { ref: 'shop:gone', digest: null, id: `sha256:${'0'.repeat(64)}` } }
    const gone = await proposed(target, { ...pin, services: [lost as (typeof pin.services)[0]] })
    expect(codes(gone)).toContain('blocker image_gone')
  })

  it.concurrent("keeps today's secrets, unless they are pinned", async ({ expect }) => {
    const { docker } = engine
    for (const name of ['key-1', 'key-2']) await docker('secret', 'create', name, '/etc/hostname')
    const more = ['--env', 'API_TOKEN=old-token', '--env', 'COLOUR=blue', '--secret', 'source=key-1,target=key']
    const { name, target, pin } = await shop('secrets', more)
    const change = [
      '--env-add',
      'API_TOKEN=new-token',
      '--env-add',
      'COLOUR=red',
      '--secret-rm',
      'key-1',
      '--secret-add',
      'source=key-2,target=key',
    ]
    await engine.update(name, ...change)
    const proposal = await proposed(target, pin)
    expect(proposal.findings.find(f => f.code === 'secrets_current')?.what).toContain('API_TOKEN, secret key-2')
    expect(JSON.stringify([pin, proposal])).not.toMatch(/old-token|new-token/)
    expect(await run(target, proposal)).toEqual(['done'])
    const { Spec: now } = await engine.inspect(name)
    expect(now.TaskTemplate.ContainerSpec.Env?.toSorted()).toEqual(['API_TOKEN=new-token', 'COLOUR=blue'])
    expect(JSON.stringify(now)).toContain('key-2')
    const strict = await open(engine, { services: [name], pinned: ['API_TOKEN', 'key'] })
    expect(await run(strict, await proposed(strict, pin))).toEqual(['done'])
    const { Spec: then } = await engine.inspect(name)
    expect(then.TaskTemplate.ContainerSpec.Env?.toSorted()).toEqual(['API_TOKEN=old-token', 'COLOUR=blue'])
    expect(JSON.stringify(then)).toContain('key-1')
  })

  it.concurrent('says that it is stuck, and why, where no task gets to run; the rung below makes a lost service again', async ({
    expect,
  }) => {
    const node = await engine.docker('node', 'ls', '-q')
    await engine.docker('node', 'update', '--label-add', 'shop=yes', node)
    const { name, target, pin } = await shop('stuck', ['--constraint', 'node.labels.shop==yes'])
    await engine.update(name, '--image', 'shop:v2')
    await engine.docker('node', 'update', '--label-rm', 'shop', node)
    const hasty = await open(engine, { services: [name], limits: { update: '3s' } })
    const [step] = ordered(await proposed(hasty, pin))
    if (step === undefined) throw new Error('no step')
    await expect(hasty.apply(step, stepAct(step))).rejects.toMatchObject({
      code: 'update_stuck',
      why: expect.stringContaining('no suitable node'),
    })
    expect(await hasty.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await engine.docker('service', 'rm', name)
    await engine.docker('node', 'update', '--label-add', 'shop=yes', node)
    expect(codes(await proposed(target, pin))).toContain('blocker service_gone')
    expect(await run(target, await proposed(target, pin, 'recreate'))).toEqual(['done'])
    expect(await engine.versions(name)).toBe('v1')
  })

  it.concurrent("keeps today's secrets through a service that is removed and made again, killed between the two", async ({
    expect,
  }) => {
    const { name, target, pin } = await shop('again', ['--env', 'API_TOKEN=old-token'])
    await engine.update(name, '--image', 'shop:v2', '--env-add', 'API_TOKEN=new-token')
    const [step] = ordered(await proposed(target, pin, 'recreate'))
    if (step === undefined) throw new Error('no step')
    const handles = new Map<string, Json>()
    let guards = 0
    // The first guard lets the service be removed, the second is before it is made.
    const guard = () => {
      if (++guards === 2) throw new Error('killed')
    }
    await expect(target.apply(step, { ...stepAct(step, 'again', handles), guard })).rejects.toThrow('killed')
    expect(await engine.docker('service', 'ls', '-q', '--filter', `name=${name}`)).toBe('')
    expect((await target.verify(step, stepAct(step, 'again', handles))).is).toBe('not-done')
    await target.apply(step, stepAct(step, 'again', handles))
    expect((await target.verify(step, stepAct(step, 'again', handles))).is).toBe('done')
    const { Spec: now } = await engine.inspect(name)
    expect([now.TaskTemplate.ContainerSpec.Env, await engine.versions(name)]).toEqual([['API_TOKEN=new-token'], 'v1'])
  })
})
