import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, codes, killable, openHosts, proposed, stepOf, until } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import { noSshd, type SshHosts, sshHosts } from '../../../test/support/sshd.ts'
import type { Step, Target } from '../../core/contract.ts'
import { type Runner, sshRunner } from '../../exec/ssh.ts'
import type { HostsPin } from './pin.ts'

const signal = new AbortController().signal
const NAMES = ['web-1', 'web-2', 'web-3']
const skipped = noSshd()

describe.skipIf(skipped !== null)(`C7: hosts over SSH${skipped === null ? '' : ` (skipped: ${skipped})`}`, () => {
  let fleet: SshHosts
  let kept: Runner[]
  let shop: Releases
  let settings: { [key: string]: unknown }
  let target: Target<HostsPin>
  let good: HostsPin

  const reopen = async (more: object) => {
    await target[Symbol.asyncDispose]()
    target = await openHosts(shop.dir, { ...settings, ...more })
  }
  const upgrade = async (names = NAMES) => {
    for (const name of names) {
      await shop.link(name, 'current', 'releases/v1.3.0')
      shop.call(name, 'stop', 'current')
      shop.call(name, 'start', 'current')
    }
  }
  const run = async (steps: readonly Step[]) => {
    for (const step of steps) {
      await target.apply(step, stepAct(step))
      expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    }
  }
  const of = (steps: readonly Step[], host: string) => steps.filter(s => s.id.endsWith(`/${host}`))
  const running = () => NAMES.map(name => shop.running(name))

  beforeAll(async () => {
    fleet = await sshHosts(NAMES)
    // Holds the connections, as a run does.
    kept = NAMES.map(address => sshRunner({ address, config: fleet.config, connectMs: 2_000 }))
  })
  afterAll(async () => {
    await Promise.all(kept.map(runner => runner[Symbol.asyncDispose]()))
    await fleet.dispose()
  })

  beforeEach(async () => {
    shop = await releases(NAMES)
    for (const name of NAMES) {
      for (const v of ['v1.2.9', 'v1.3.0']) await shop.unpack(name, `releases/${v}`, v)
      await shop.link(name, 'current', 'releases/v1.2.9')
      shop.call(name, 'start', 'current')
    }
    settings = {
      hosts: NAMES,
      sshConfig: fleet.config,
      root: shop.root,
      service: shop.service,
      version: shop.version,
      limits: { settle: '0s', start: '4s', stop: '4s', connect: '2s' },
    }
    target = await openHosts(shop.dir, settings)
    good = await captured(target)
  })
  afterEach(async () => {
    await target[Symbol.asyncDispose]()
    await shop.dispose()
    for (const name of NAMES) await fleet.start(name)
  })

  it('goes in batches with the gate between them, each host in turn', async () => {
    await upgrade()
    await reopen({ batch: 2, batchGate: 'healthy', batchGateFor: '30s', maxFailures: 1 })
    const { phases } = await proposed(target, good)
    const host = (name: string) => ({
      id: name,
      after: [],
      node: { seq: [{ step: `shop/switch/${name}` }, { step: `shop/restart/${name}` }] },
    })
    expect(phases).toEqual({
      code: {
        seq: [
          { par: [host('web-1'), host('web-2')], limit: 2, maxFailures: 1 },
          { gate: 'healthy', forMs: 30_000, onFail: { apply: [], then: 'ask' } },
          { par: [host('web-3')], limit: 1, maxFailures: 1 },
        ],
        maxFailures: 1,
      },
    })
  })

  it('blocks where a host cannot be reached at the start, and shows it in what is there', async () => {
    await upgrade()
    await fleet.stop('web-3')
    const observed = await target.observe(signal)
    expect(observed.summary).toBe('v1.3.0 on 2 of 3 hosts, web-3 unreachable')
    expect(observed.state).toMatchObject({ hosts: { 'web-3': { unreachable: true } } })
    const proposal = await proposed(target, good)
    expect({ codes: codes(proposal), steps: proposal.steps }).toEqual({
      codes: ['blocker host_unreachable'],
      steps: [],
    })
  })

  it('C1: goes on without a host where the settings allow it, fences it, and lists it still', async () => {
    await upgrade()
    await fleet.stop('web-1')
    await reopen({ maxFailures: 1, fence: `echo {host} >>${shop.dir}/fenced` })
    const proposal = await proposed(target, good)
    expect(codes(proposal)).toEqual(['warning host_unreachable'])
    const order = ordered(proposal).map(s => s.id)
    expect(order.slice(-2)).toEqual(['shop/switch/web-1', 'shop/restart/web-1'])
    const step = stepOf(proposal, 'shop/switch/web-1')
    expect(step.onUnknown).toBe('fence')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'host_unreachable' })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'unknown' })
    await target.fence?.(step, stepAct(step))
    expect(readFileSync(join(shop.dir, 'fenced'), 'utf8')).toBe('web-1\n')
    const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
    expect(codes(await proposed(target, good, { needs }))).toEqual(['blocker host_unreachable'])
  })

  it('says so where a host must be fenced and there is no command, or it fails', async () => {
    await upgrade()
    const step = stepOf(await proposed(target, good), 'shop/switch/web-2')
    await expect(target.fence?.(step, stepAct(step))).rejects.toMatchObject({ code: 'fence_missing' })
    await reopen({ fence: 'echo no such backend >&2; exit 3' })
    await expect(target.fence?.(step, stepAct(step))).rejects.toMatchObject({
      code: 'fence_failed',
      why: expect.stringContaining('no such backend'),
    })
  })

  it('loses a host in the middle, finds it with the bad version later, and brings it back', async () => {
    await upgrade()
    const { steps } = await proposed(target, good)
    await run(of(steps, 'web-1'))
    await fleet.stop('web-2')
    const [lost] = of(steps, 'web-2')
    if (lost === undefined) throw new Error('no step')
    await expect(target.apply(lost, stepAct(lost))).rejects.toMatchObject({ code: 'host_unreachable' })
    expect(await target.verify(lost, stepAct(lost))).toMatchObject({ is: 'unknown' })
    await run(of(steps, 'web-3'))
    expect(running()).toEqual(['v1.2.9', 'v1.3.0', 'v1.2.9'])
    await fleet.start('web-2')
    expect(await target.verify(lost, stepAct(lost))).toMatchObject({ is: 'not-done' })
    expect((await target.observe(signal)).summary).toBe('v1.2.9 on 2 of 3 hosts, v1.3.0 on web-2')
    await expect(captured(target)).rejects.toMatchObject({ code: 'release_unclear' })
    const again = await proposed(target, good)
    expect(codes(again)).toEqual(['warning versions_mixed'])
    expect(again.steps.map(s => s.id)).toEqual(['shop/switch/web-2', 'shop/restart/web-2'])
    await run(again.steps)
    expect(running()).toEqual(['v1.2.9', 'v1.2.9', 'v1.2.9'])
  })

  it('goes back to a departure of mixed versions, each host to its own', async () => {
    await upgrade(['web-2'])
    const departure = await captured(target, 'departure')
    expect(departure.release).toBeNull()
    await upgrade()
    const { steps } = await proposed(target, departure)
    await run(steps)
    expect(running()).toEqual(['v1.2.9', 'v1.3.0', 'v1.2.9'])
  })

  it('gives a host that was out of reach at the capture what the others had', async () => {
    await fleet.stop('web-3')
    const partial = await captured(target)
    expect(partial).toMatchObject({ release: 'v1.2.9', hosts: { 'web-3': null } })
    await fleet.start('web-3')
    await upgrade(['web-3'])
    const proposal = await proposed(target, partial)
    expect(codes(proposal)).toEqual(['warning host_not_pinned', 'warning versions_mixed'])
    await run(proposal.steps)
    expect(running()).toEqual(['v1.2.9', 'v1.2.9', 'v1.2.9'])
  })

  it('blocks where the release was altered on one of the hosts', async () => {
    await upgrade()
    await shop.unpack('web-2', 'releases/v1.2.9', 'v1.2.9-other')
    const { findings } = await proposed(target, good)
    expect(findings).toMatchObject([
      { level: 'blocker', code: 'artefact_altered', what: expect.stringContaining('web-2') },
    ])
  })

  it('counts a host whose way back is gone like one that does not answer, and tries it last', async () => {
    await upgrade()
    await reopen({ maxFailures: 1, fence: `echo {host} >>${shop.dir}/fenced` })
    await rm(shop.path('web-1', 'current'))
    await mkdir(shop.path('web-1', 'current'))
    const proposal = await proposed(target, good)
    expect(codes(proposal)).toEqual(['warning link_is_no_link', 'warning versions_mixed'])
    const order = ordered(proposal).map(s => s.id)
    expect(order.slice(-2)).toEqual(['shop/switch/web-1', 'shop/restart/web-1'])
    const step = stepOf(proposal, 'shop/switch/web-1')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'not_a_link' })
    expect((await target.verify(step, stepAct(step))).is).toBe('not-done')
    await rm(shop.path('web-2', 'releases/v1.2.9'), { recursive: true })
    const { findings, steps } = await proposed(target, good)
    expect(steps).toEqual([])
    expect(findings.filter(f => f.code !== 'versions_mixed')).toMatchObject([
      { level: 'warning', code: 'link_is_no_link' },
      { level: 'blocker', code: 'release_gone', remedy: expect.stringContaining('take it out of `hosts`') },
    ])
  })

  it('runs down-scripts from the release that is left where hosts have several, and guesses none', async () => {
    await upgrade(['web-3'])
    const act = { ...stepAct(), release: 'v1.2.9' }
    const needs = [{ of: 'shop', what: 'exec-from' as const, by: 'db' }]
    const left = async () => (await target.exec?.('from', ['cat', 'VERSION'], act))?.stdout
    expect(await left()).toBe('v1.3.0')
    expect(codes(await proposed(target, good, { release: 'v1.2.9', needs }))).toEqual(['warning versions_mixed'])
    await shop.unpack('web-2', 'releases/v1.3.1', 'v1.3.1')
    await shop.link('web-2', 'current', 'releases/v1.3.1')
    await expect(left()).rejects.toMatchObject({
      code: 'exec_unclear',
      message: expect.stringMatching(/v1\.3\.1 \(on web-2\), v1\.3\.0 \(on web-3\)/),
    })
    expect(codes(await proposed(target, good, { release: 'v1.2.9', needs }))).toContain('blocker exec_unclear')
    await rm(shop.path('web-1', 'releases/v1.3.0'), { recursive: true })
    expect(await target.execLeft?.('r1.db.down', signal)).toBeNull()
    await fleet.stop('web-2')
    await expect(target.execLeft?.('r1.db.down', signal)).rejects.toThrow(/web-2/)
    for (const [host, code, why] of [
      ['web-9', 'exec_host_unknown', 'names web-9, which is none of its hosts'],
      ['web-2', 'exec_host_silent', 'web-2, which `exec` of shop names, does not answer'],
      ['web-1', 'exec_unclear', 'web-1, which `exec` of shop names, is on v1.2.9 already'],
    ]) {
      await reopen({ exec: host, maxFailures: 1 })
      const { findings } = await proposed(target, good, { release: 'v1.2.9', needs })
      expect(findings.find(f => f.level === 'blocker')).toMatchObject({
        code,
        what: expect.stringContaining(why ?? ''),
      })
      await expect(left()).rejects.toMatchObject({ code })
    }
    await fleet.start('web-2')
    await reopen({ exec: 'web-3' })
    expect(await left()).toBe('v1.3.0')
    const script = `until [ -e ${shop.dir}/over ]; do sleep 0.1; done`
    const slow = target.exec?.('from', ['sh', '-c', script], { ...act, idem: 'r1.db.down' })
    const found = { what: 'what this step began on web-3', alive: true }
    await expect.poll(() => target.execLeft?.('r1.db.down', signal), { timeout: 60_000 }).toMatchObject(found)
    await writeFile(`${shop.dir}/over`, '')
    await slow
    expect(codes(await proposed(target, good, { release: 'v1.2.9', needs }))).not.toContain('blocker exec_unclear')
  })

  it('takes hosts that were added or removed, and refuses a pin of wholly other ones', async () => {
    await upgrade()
    await reopen({ hosts: ['web-1', 'web-2'] })
    const fewer = await proposed(target, good)
    expect(codes(fewer)).toEqual(['warning hosts_changed'])
    expect(fewer.steps).toHaveLength(4)
    await reopen({ hosts: [{ name: 'strange', address: 'web-3' }] })
    expect(codes(await proposed(target, good))).toEqual(['blocker other_identity'])
  })

  it('C16: leaves no orphan on a host when the process is killed in the middle of a step', async () => {
    await upgrade()
    await shop.toggle('slow-stop', true)
    const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
    const step = stepOf(await proposed(target, good, { needs }), 'shop/stop/web-1')
    const holder = killable(shop.dir, settings, step)
    await until('it is at it', () => existsSync(`${shop.dir}/at-it`))
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'running' })
    holder.kill('SIGKILL')
    const seen = new Set<string>()
    await until('it is decided', async () => {
      seen.add((await target.verify(step, stepAct(step))).is)
      return seen.has('not-done')
    })
    expect([...seen].filter(v => v !== 'running')).toEqual(['not-done'])
    expect(shop.running('web-1')).toBe('v1.3.0')
    await shop.toggle('slow-stop', false)
    await run([step])
    expect(shop.running('web-1')).toBeNull()
  })

  it('does not speak to a host that shows another key', async () => {
    await upgrade()
    await fleet.changeKey('web-3')
    const { findings } = await proposed(target, good)
    expect(findings).toMatchObject([{ code: 'host_unreachable', what: expect.stringContaining('host_key_changed') }])
  })
})
