import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Target } from '../../core/contract.ts'
import { Secret } from '../../core/secret.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, codes, openHosts, proposed, stepOf, until } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import type { HostsPin } from './pin.ts'

const signal = new AbortController().signal
const LIMITS = { settle: '0s', start: '1s', stop: '4s' }

describe('C7: hosts on this machine', () => {
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

  it('says in one line what is there, and restarts after the switch', async () => {
    await upgrade()
    expect((await target.observe(signal)).summary).toBe('v1.3.0 on 1 of 1 host')
    const proposal = await proposed(target, good)
    expect(proposal.change).toEqual({ from: 'v1.3.0 on 1 of 1 host', to: 'v1.2.9' })
    expect(ordered(proposal).map(s => s.id)).toEqual(['shop/switch/local', 'shop/restart/local'])
    expect(codes(proposal)).toEqual([])
  })

  it('blocks where the release folder was deleted, and refuses the switch where that came later', async () => {
    await upgrade()
    const proposal = await proposed(target, good)
    await rm(shop.path('local', 'releases/v1.2.9'), { recursive: true })
    const step = stepOf(proposal, 'shop/switch/local')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'release_gone' })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    expect(await shop.linked('local', 'current')).toBe('releases/v1.3.0')
    const again = await proposed(target, good)
    expect({ codes: codes(again), steps: again.steps }).toEqual({ codes: ['blocker release_gone'], steps: [] })
  })

  it('blocks where a file was altered and names it, and refuses the switch where that came later', async () => {
    await upgrade()
    const proposal = await proposed(target, good)
    await writeFile(shop.path('local', 'releases/v1.2.9/lib/app.js'), 'export const version = "evil"\n')
    const step = stepOf(proposal, 'shop/switch/local')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({
      code: 'artefact_altered',
      message: expect.stringContaining('lib/app.js'),
    })
    expect(await shop.linked('local', 'current')).toBe('releases/v1.3.0')
    const [finding] = (await proposed(target, good)).findings
    expect(finding).toMatchObject({
      level: 'blocker',
      code: 'artefact_altered',
      what: expect.stringContaining('lib/app.js'),
    })
  })

  it('blocks where the file and its manifest were altered together', async () => {
    await upgrade()
    await shop.unpack('local', 'releases/v1.2.9', 'v1.2.9-evil')
    expect(codes(await proposed(target, good))).toEqual(['blocker artefact_altered'])
    await rm(shop.path('local', 'releases/v1.2.9/MANIFEST.sha256'))
    expect(codes(await proposed(target, good))).toEqual(['blocker artefact_altered'])
  })

  it('keeps checksums of its own where there is no manifest, and leaves logs out of them', async () => {
    for (const v of ['v1.2.9', 'v1.3.0']) await rm(shop.path('local', `releases/${v}/MANIFEST.sha256`))
    const own = await captured(target)
    expect(own.hosts.local?.sums).toMatchObject({ how: 'own', files: 3 })
    await upgrade()
    await mkdir(shop.path('local', 'releases/v1.2.9/log'))
    await writeFile(shop.path('local', 'releases/v1.2.9/log/out'), 'x')
    await writeFile(shop.path('local', 'releases/v1.2.9/app.log'), 'x')
    expect(codes(await proposed(target, own))).toEqual([])
    const step = stepOf(await proposed(target, own), 'shop/switch/local')
    await writeFile(shop.path('local', 'releases/v1.2.9/added.js'), 'x')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'artefact_altered' })
    const emergency = await proposed(target, own, { mode: 'emergency' })
    expect(emergency.omits[0]).toContain('checksums')
    expect(codes(await proposed(target, own))).toEqual(['blocker artefact_altered'])
  })

  it('does not overwrite a link that somebody else moved since the plan', async () => {
    await upgrade()
    await shop.unpack('local', 'releases/v1.3.1', 'v1.3.1')
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    await shop.link('local', 'current', 'releases/v1.3.1')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({
      code: 'link_moved',
      message: expect.stringContaining('v1.3.1'),
    })
    expect(await shop.linked('local', 'current')).toBe('releases/v1.3.1')
  })

  it('keeps an absolute link absolute, and blocks where a folder stands in its place', async () => {
    await shop.link('local', 'current', shop.path('local', 'releases/v1.3.0'))
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    await target.apply(step, stepAct(step))
    expect(await shop.linked('local', 'current')).toBe(shop.path('local', 'releases/v1.2.9'))
    await rm(shop.path('local', 'current'))
    await mkdir(shop.path('local', 'current'))
    expect(codes(await proposed(target, good))).toEqual(['blocker link_is_no_link'])
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'not_a_link' })
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
    const holder = killable(shop, settings, step)
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

  it('shows a deployment that is under way', async () => {
    await writeFile(shop.path('local', '.deploying'), 'v1.3.1 by ci\n')
    expect((await target.observe(signal)).inFlight).toEqual([{ what: 'v1.3.1 by ci on local', since: null }])
    await rm(shop.path('local', '.deploying'))
    await reopen({ inFlight: 'test -e migrating && echo "a migration"' })
    expect((await target.observe(signal)).inFlight).toEqual([])
    await writeFile(shop.path('local', 'migrating'), '')
    expect((await target.observe(signal)).inFlight).toEqual([{ what: 'a migration on local', since: null }])
  })

  it('runs commands from the release that is left, before and after the switch, and from the one gone back to', async () => {
    await upgrade()
    const act = { ...stepAct(), env: {} }
    const version = async (side: 'from' | 'to', env: Record<string, string> = {}) =>
      (await target.exec?.(side, ['cat', 'VERSION'], { ...act, env }))?.stdout
    expect(await version('from')).toBe('v1.3.0')
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    await target.apply(step, stepAct(step))
    expect(await version('from')).toBe('v1.3.0')
    expect(await version('from', { BACKOUT_FROM: 'v1.2.9' })).toBe('v1.2.9')
    expect(await version('to', { BACKOUT_TO: 'v1.2.9' })).toBe('v1.2.9')
    await expect(version('to')).rejects.toMatchObject({ code: 'exec_release_unknown' })
    await shop.unpack('local', 'releases/v1.3.1', 'v1.3.1')
    await shop.link('local', 'current', 'releases/v1.3.1')
    expect(await version('from')).toBe('v1.3.1')
  })

  it('finds release folders to go back to where nothing was captured', async () => {
    await shop.unpack('local', 'releases/v1.1.0', 'v1.1.0')
    execFileSync('touch', ['-d', '2020-01-01', shop.path('local', 'releases/v1.1.0')])
    await upgrade()
    const found = (await target.remembered?.(signal)) ?? []
    expect(found.map(r => r.release)).toEqual(['v1.2.9', 'v1.1.0'])
    expect(found[1]?.at).toMatch(/^20(19|20)-/)
    const pin = found[0]?.pin
    if (pin === undefined) throw new Error('nothing found')
    expect((await proposed(target, pin)).steps.map(s => s.id)).toEqual(['shop/switch/local', 'shop/restart/local'])
    await writeFile(shop.path('local', 'releases/v1.2.9/VERSION'), 'other')
    expect(codes(await proposed(target, pin))).toEqual(['blocker artefact_altered'])
  })

  it('C4: asks those who send it users to drain before it stops, and starts again what it stopped', async () => {
    const dependents = [
      { id: 'lb', serves: ['drained' as const] },
      { id: 'cron', serves: [] },
    ]
    const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
    const same = await proposed(target, good, { needs, dependents })
    expect(same).toMatchObject({ change: null, serves: needs, needs: [{ of: 'lb', what: 'drained' }] })
    expect(ordered(same).map(s => s.id)).toEqual(['shop/stop/local', 'shop/start/local'])
    expect(same.impact.downtimeMs).toBeGreaterThan(0)
    expect((await proposed(target, good, { needs: [], dependents })).needs).toEqual([])
    const again = await proposed(target, good, { needs: [{ of: 'shop', what: 'redeployed', by: 'db' }], dependents })
    expect({ ids: again.steps.map(s => s.id), needs: again.needs }).toEqual({ ids: ['shop/restart/local'], needs: [] })
  })

  it('passes secrets of commands to the host without showing them', async () => {
    const key = new Secret('${env:KEY}', 'very-secret-word')
    await upgrade()
    await reopen({ reload: ['sh', '-c', 'echo "$1" >reloaded; echo "$1" >&2; exit 7', 'x', key] })
    const proposal = await proposed(target, good)
    const step = stepOf(proposal, 'shop/switch/local')
    const failure: unknown = await target.apply(step, stepAct(step)).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'command_failed', why: '[secret]' })
    expect(readFileSync(shop.path('local', 'current/reloaded'), 'utf8')).toBe('very-secret-word\n')
    expect(JSON.stringify([proposal, good])).not.toContain('very-secret-word')
  })

  it('captures no release where what runs is unclear', async () => {
    await rm(shop.path('local', 'current'))
    await expect(captured(target)).rejects.toMatchObject({ code: 'release_unclear' })
    expect((await captured(target, 'departure')).hosts).toEqual({ local: null })
  })
})

/** Another process that applies one step, to be killed in the middle. */
function killable(shop: Releases, settings: object, step: object) {
  const code = `
    import { openHosts } from ${JSON.stringify(import.meta.resolve('../../../test/support/hosts.ts'))}
    import { stepAct } from ${JSON.stringify(import.meta.resolve('../../../test/conformance/walk.ts'))}
    const target = await openHosts(${JSON.stringify(shop.dir)}, ${JSON.stringify(settings)})
    const step = ${JSON.stringify(step)}
    await target.apply(step, stepAct(step))`
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore' })
}
