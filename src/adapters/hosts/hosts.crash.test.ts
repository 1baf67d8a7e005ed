import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readlink, symlink } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, codes, killable, openHosts, proposed, stepOf, until } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import type { Target } from '../../core/contract.ts'
import type { HostsPin } from './pin.ts'

const signal = new AbortController().signal
const LIMITS = { settle: '0s', start: '1s', stop: '4s' }

describe('C16: hosts whose service or whose step misbehaves', () => {
  let shop: Releases
  let settings: { [key: string]: unknown }
  let target: Target<HostsPin>
  let good: HostsPin

  const reopen = async (more: object = {}) => {
    await target?.[Symbol.asyncDispose]()
    target = await openHosts(shop.dir, { ...settings, ...more })
  }
  const upgrade = async () => {
    await shop.link('local', 'current', 'releases/v1.3.0')
    shop.call('local', 'stop', 'current')
    shop.call('local', 'start', 'current')
  }

  beforeEach(async () => {
    shop = await releases(['local'])
    for (const v of ['v1.2.9', 'v1.3.0']) await shop.unpack('local', `releases/${v}`, v)
    await shop.link('local', 'current', 'releases/v1.2.9')
    shop.call('local', 'start', 'current')
    settings = { hosts: ['local'], root: shop.root, service: shop.service, version: shop.version, limits: LIMITS }
    target = await openHosts(shop.dir, settings)
    good = await captured(target)
  })
  afterEach(async () => {
    await target[Symbol.asyncDispose]()
    await shop.dispose()
  })

  it('believes neither a start that did nothing nor one that runs another version', async () => {
    await upgrade()
    const proposal = await proposed(target, good)
    const [first, second] = ordered(proposal)
    if (first === undefined || second === undefined) throw new Error('two steps expected')
    await target.apply(first, stepAct(first))
    await shop.toggle('lie', true)
    await expect(target.apply(second, stepAct(second))).rejects.toMatchObject({ code: 'not_running' })
    expect(await target.verify(second, stepAct(second))).toMatchObject({ is: 'not-done' })
    await shop.toggle('lie', false)
    await shop.toggle('wrong', true)
    await expect(target.apply(second, stepAct(second))).rejects.toMatchObject({
      code: 'wrong_version',
      message: expect.stringContaining('"wrong"'),
    })
    expect(await target.verify(second, stepAct(second))).toMatchObject({ is: 'not-done' })
    await shop.toggle('wrong', false)
    await target.apply(second, stepAct(second))
    expect(await target.verify(second, stepAct(second))).toMatchObject({ is: 'done' })
  })

  it('ends a start that hangs, leaves nothing of it, and starts again; a flood of output does no harm', async () => {
    shop.call('local', 'stop', 'current')
    await shop.link('local', 'current', 'releases/v1.3.0')
    const step = stepOf(await proposed(target, good), 'shop/restart/local')
    const change = stepOf(await proposed(target, good), 'shop/switch/local')
    await target.apply(change, stepAct(change))
    await shop.toggle('hang', true)
    await reopen({ limits: { settle: '0s', start: '200ms', stop: '200ms' } })
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'command_timed_out' })
    await until('nothing is at it', async () => (await target.verify(step, stepAct(step))).is === 'not-done')
    expect(execFileSync('ps', ['-e', '-o', 'args='], { encoding: 'utf8' })).not.toContain(shop.path('local', 'run'))
    await shop.toggle('hang', false)
    await shop.toggle('flood', true)
    await target.apply(step, stepAct(step))
    expect(shop.running('local')).toBe('v1.2.9')
  })

  it('cannot say where the status command says neither running nor stopped', async () => {
    await upgrade()
    const step = stepOf(await proposed(target, good), 'shop/restart/local')
    await reopen({ service: { ...shop.service, status: 'exit 1' } })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'unknown' })
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'status_unknown' })
    expect((await target.observe(signal)).summary).toContain('not running')
  })

  it('C16: follows a step that is still at work, and never starts it a second time', async () => {
    shop.call('local', 'stop', 'current')
    await shop.link('local', 'current', 'releases/v1.3.0')
    await reopen({ limits: { settle: '0s', start: '10s', stop: '4s' } })
    const proposal = await proposed(target, good)
    const change = stepOf(proposal, 'shop/switch/local')
    await target.apply(change, stepAct(change))
    const step = stepOf(proposal, 'shop/restart/local')
    await shop.toggle('slow', true)
    const first = target.apply(step, stepAct(step))
    await until('it is at it', () => existsSync(`${shop.dir}/at-it`))
    await using other = await openHosts(shop.dir, settings)
    expect(await other.verify(step, stepAct(step))).toMatchObject({ is: 'running' })
    expect((await other.observe(signal)).inFlight[0]?.what).toContain('a step of Backout')
    await expect(other.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'busy' })
    await first
    expect(await other.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    expect(shop.calls('local')).toEqual(['start', 'stop', 'start'])
  })

  it('C16: leaves no orphan and no double when the process is killed in the middle of a step', async () => {
    await upgrade()
    await shop.toggle('slow-stop', true)
    const step = stepOf(
      await proposed(target, good, { needs: [{ of: 'shop', what: 'stopped', by: 'db' }] }),
      'shop/stop/local',
    )
    const holder = killable(shop.dir, settings, step)
    await until('it is at it', () => existsSync(`${shop.dir}/at-it`))
    holder.kill('SIGKILL')
    const seen = new Set<string>()
    await until('it is decided', async () => {
      seen.add((await target.verify(step, stepAct(step))).is)
      return seen.has('not-done')
    })
    expect([...seen].filter(v => v !== 'running')).toEqual(['not-done'])
    const pid = readFileSync(`${shop.dir}/at-it`, 'utf8').trim()
    expect(existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '').toBe('')
    await shop.toggle('slow-stop', false)
    await target.apply(step, stepAct(step))
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    expect(shop.running('local')).toBeNull()
  })

  it('C16: finds what a step left at work after its own shell was killed', async () => {
    const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
    const step = stepOf(await proposed(target, good, { needs }), 'shop/stop/local')
    await shop.toggle('slow-stop', true)
    const first = target.apply(step, stepAct(step))
    first.catch(() => {})
    await until('it is at it', () => existsSync(`${shop.dir}/at-it`))
    const [shell] = (await readlink(shop.path('local', '.backout/lock.unit.main'))).split(':')
    process.kill(Number(shell), 'SIGKILL')
    await expect(first).rejects.toMatchObject({ code: 'host_answer_cut' })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'running' })
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'busy' })
    await until('it is decided', async () => (await target.verify(step, stepAct(step))).is === 'done')
    expect(shop.calls('local')).toEqual(['start', 'stop'])
  })

  it('sees a switch whose restart never came, without a version command too', async () => {
    await reopen({ version: undefined })
    good = await captured(target)
    await upgrade()
    const proposal = await proposed(target, good)
    expect(codes(proposal)).toEqual(['note version_unchecked'])
    const change = stepOf(proposal, 'shop/switch/local')
    await target.apply(change, stepAct(change))
    const next = await proposed(target, good)
    expect(next.change).not.toBeNull()
    expect(next.steps.map(s => s.id)).toEqual(['shop/restart/local'])
    const [step] = next.steps
    if (step === undefined) throw new Error('no step')
    await target.apply(step, stepAct(step))
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    expect((await proposed(target, good)).steps).toEqual([])
    expect(shop.running('local')).toBe('v1.2.9')
  })

  it('takes over what a dead process left locked', async () => {
    await upgrade()
    await mkdir(shop.path('local', '.backout'))
    await symlink('999999:123:old-run', shop.path('local', '.backout/lock.switch'))
    await symlink(`${process.pid}:123:recycled`, shop.path('local', '.backout/svc.switch'))
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await target.apply(step, stepAct(step))
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    await expect(readlink(shop.path('local', '.backout/lock.switch'))).rejects.toThrow('ENOENT')
  })
})
