import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import type { Fact, Step, Target } from '../../core/contract.ts'
import { captured, open, proposed, run, shopOn } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages()
const signal = new AbortController().signal
const STOPPED = { needs: [{ of: 'web', what: 'stopped' as const, by: 'db' }] }

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(`C5: what a run left held on a Swarm${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let engine: SwarmEngine
  beforeAll(async () => {
    engine = await swarmEngine()
  })
  afterAll(() => engine?.dispose())

  /** Does the first step of a run that ends there; answers it, and the command that lifts what it did. */
  async function left(target: Target, steps: readonly Step[], of: 'halt' | 'stop') {
    const [step] = steps
    if (step?.id.startsWith(`web/${of}/`) !== true) throw new Error(`no ${of}`)
    const facts: Fact[] = []
    await target.apply(step, { ...stepAct(step), tell: async fact => void facts.push(fact) })
    return { step, lift: (facts[0]?.data as { lift: string } | undefined)?.lift ?? '' }
  }

  /** As somebody types it on a manager. */
  const typed = (command: string) =>
    promisify(execFile)('sh', ['-c', command], { env: { ...process.env, DOCKER_HOST: engine.host } })

  const asked = async (target: Target, step: Step) => (await target.verify(step, stepAct(step))).is

  it.concurrent('an update that was stopped is told, and goes on with what it was by the command for it, also after the team deployed', async ({
    expect,
  }) => {
    const { name, target, pin } = await shopOn(engine, 'crippled', ['--replicas', '3'])
    const quoted = `sh -c "cat /version > /tmp/v; echo \\"it's \\$0\\"; exec sleep 100000"`
    const own = ['--entrypoint', quoted, '--args', `'a b' c`, '--restart-max-attempts', '7']
    const slow = ['--update-parallelism', '1', '--update-delay', '10m', '--update-max-failure-ratio', '0.2']
    await engine.update(name, '--detach', '--image', 'shop:v2', ...own, ...slow)
    await expect.poll(() => engine.versions(name), { timeout: 60_000 }).toBe('v1 v2')
    const before = (await engine.inspect(name)).Spec
    const { step, lift } = await left(target, ordered(await proposed(target, pin)), 'halt')
    expect([step.lasts, await asked(target, step)]).toEqual([true, 'done'])
    expect(lift).not.toContain("it's")
    expect((await target.observe(signal)).summary).toContain('its update stopped by Backout')
    const departure = { ...stepAct(), purpose: 'departure' as const, release: 'departure' }
    const [was] = (await target.capture(await target.observe(signal), departure)).services

    await engine.update(name, '--detach', '--image', 'shop:v3', '--env-add', 'NEW=1')
    await expect.poll(() => asked(target, step), { timeout: 60_000 }).toBe('done')
    const findings = (await target.ready?.(signal))?.findings ?? []
    expect(findings.map(f => [f.code, f.remedy])).toContainEqual(['update_stopped', expect.stringContaining(lift)])
    const [now] = (await target.capture(await target.observe(signal), departure)).services
    expect([was?.image.ref, now?.image.ref, now?.variables]).toEqual(['shop:v2', 'shop:v3', ['NEW']])

    await typed(lift.replace('| sh', '| sed "s/--update-delay=[^ ]*/--update-delay=0s/" | sh'))
    await expect.poll(() => engine.versions(name), { timeout: 60_000 }).toBe('v3')
    expect(await asked(target, step)).toBe('not-done')
    const { Spec: after } = await engine.inspect(name)
    const parts = ({ TaskTemplate: t, UpdateConfig: pace }: typeof after) => {
      const { ContainerSpec: container, RestartPolicy: again } = t as unknown as Record<string, Record<string, unknown>>
      return [container?.['Command'], container?.['Args'], again, { ...pace, Delay: 0 }]
    }
    expect(parts(after)).toEqual(parts(before))
    expect((await target.observe(signal)).summary).toBe('crippled shop:v3 (3 of 3 running)')
  })

  it.concurrent('the command alone lets an update go on', async ({ expect }) => {
    const { name, target, pin } = await shopOn(engine, 'goes-on', ['--replicas', '2'])
    const slow = ['--update-parallelism', '1', '--update-delay', '6s']
    await engine.update(name, '--detach', '--image', 'shop:v2', ...slow)
    await expect.poll(() => engine.versions(name), { timeout: 60_000 }).toBe('v1 v2')
    const { step, lift } = await left(target, ordered(await proposed(target, pin)), 'halt')
    await typed(lift)
    await expect.poll(() => engine.versions(name), { timeout: 60_000 }).toBe('v2')
    expect(await asked(target, step)).toBe('not-done')
    // A step that finds no update any more has nothing to stop, and is done.
    const handles = new Map()
    await target.apply(step, stepAct(step, 'r2', handles))
    expect((await target.verify(step, stepAct(step, 'r2', handles))).is).toBe('done')
    expect(await run(target, await proposed(target, pin))).toEqual(['done'])
  })

  it.concurrent.for([
    ['global', ['--mode', 'global', '--constraint', 'node.role==manager']],
    ['replicated', ['--replicas', '2']],
  ] as const)('a stopped one is told until it runs again, and is no release: %s', async ([mode, more], { expect }) => {
    const { name, target, pin } = await shopOn(engine, `stopped-${mode}`, more)
    await engine.update(name, '--image', 'shop:v2')
    const { step, lift } = await left(target, ordered(await proposed(target, pin, 'update', STOPPED)), 'stop')
    expect([step.lasts, await asked(target, step)]).toEqual([true, 'done'])
    await engine.update(name, '--detach', '--image', 'shop:v1')
    expect([await engine.versions(name), await asked(target, step)]).toEqual(['', 'done'])
    expect((await target.observe(signal)).summary).toContain('stopped by Backout')
    const findings = (await target.ready?.(signal))?.findings ?? []
    expect(findings.map(f => [f.code, f.remedy])).toContainEqual(['service_stopped', expect.stringContaining(lift)])
    await expect(captured(target)).rejects.toMatchObject({
      code: 'service_stopped',
      next: expect.stringContaining(lift) as string,
    })
    expect((await proposed(target, pin)).steps.map(s => s.id)).toEqual([`web/update/${name}`])
    const departure = { ...stepAct(), purpose: 'departure' as const, release: 'departure' }
    const [was] = (await target.capture(await target.observe(signal), departure)).services
    expect(was?.replicas).toBe(pin.services[0]?.replicas)

    await typed(lift)
    await expect.poll(() => engine.versions(name), { timeout: 60_000 }).toBe('v1')
    expect(await asked(target, step)).toBe('not-done')
    expect((await captured(target)).services[0]?.mac).toBe(pin.services[0]?.mac)
    await engine.docker('service', 'rm', name)
    await expect.poll(() => asked(target, step), { timeout: 60_000 }).toBe('not-done')
    await target[Symbol.asyncDispose]()
  })

  it.concurrent('what a run stopped and brought back is held no longer', async ({ expect }) => {
    const { name, target, pin } = await shopOn(engine, 'brought', ['--mode', 'global'])
    await engine.update(name, '--image', 'shop:v2')
    const proposal = await proposed(target, pin, 'update', STOPPED)
    expect(await run(target, proposal)).toEqual(['done', 'done'])
    const [stop] = ordered(proposal)
    if (stop === undefined) throw new Error('no stop')
    expect(await asked(target, stop)).toBe('not-done')
    const target2 = await open(engine, { services: [name] })
    expect((await captured(target2)).services[0]?.mac).toBe(pin.services[0]?.mac)
  })
})
