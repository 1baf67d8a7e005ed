import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, codes, openHosts, proposed, stepOf } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import type { Target } from '../../core/contract.ts'
import { Secret } from '../../core/secret.ts'
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

  it('is the same state, with the same steps, whether what dies again and again runs at this moment or not', async () => {
    await upgrade()
    const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
    const looked = async () => {
      const { state, summary } = await target.observe(signal)
      const steps = [await proposed(target, good), await proposed(target, good, { needs })].map(p => p.steps)
      return { summary, covered: { state, steps } }
    }
    const up = await looked()
    shop.call('local', 'stop', 'current')
    const down = await looked()
    expect(down.summary).toBe(`${up.summary}, local not running`)
    expect(down.covered).toEqual(up.covered)
    await shop.link('local', 'current', 'releases/v1.2.9')
    expect((await looked()).covered.state).not.toEqual(up.covered.state)
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

  it.each([
    ['the root is given by a symbolic link, and the link by the real path', 'alias', 'local'],
    ['the link was written by way of a symbolic link', 'local', 'alias'],
  ])('captures and goes back where %s', async (_, root, written) => {
    await symlink(shop.path('local'), shop.path('alias'))
    await reopen({ root: shop.path(root) })
    await shop.link('local', 'current', shop.path(written, 'releases/v1.2.9'))
    const pin = await captured(target)
    expect(pin.release).toBe('v1.2.9')
    await shop.link('local', 'current', shop.path(written, 'releases/v1.3.0'))
    shop.call('local', 'stop', 'current')
    shop.call('local', 'start', 'current')
    for (const step of ordered(await proposed(target, pin))) await target.apply(step, stepAct(step))
    expect([await shop.linked('local', 'current'), shop.running('local')]).toEqual([
      shop.path(root, 'releases/v1.2.9'),
      'v1.2.9',
    ])
  })

  it('says where a link leads that leads to no release', async () => {
    await mkdir(shop.path('elsewhere/v1.2.9'), { recursive: true })
    await shop.link('local', 'current', shop.path('elsewhere/v1.2.9'))
    await expect(captured(target)).rejects.toMatchObject({
      code: 'release_unclear',
      message: expect.stringContaining(shop.path('elsewhere/v1.2.9')) as string,
      next: expect.stringContaining(`in \`root\` (${shop.root})`) as string,
    })
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

  it('finds a command that was begun for a step, for as long as it is at work', async () => {
    const left = (idem: string) => target.execLeft?.(idem, signal)
    expect(await left('r1.db.slow')).toBeNull()
    const act = { ...stepAct(), env: {}, idem: 'r1.db.slow' }
    const slow = target.exec?.('from', ['sh', '-c', `until [ -e ${shop.dir}/over ]; do sleep 0.1; done`], act)
    const found = { what: 'what this step began on local', alive: true, code: null }
    await expect.poll(() => left('r1.db.slow'), { timeout: 60_000 }).toEqual(found)
    expect(await left('r1.db.other')).toBeNull()
    await writeFile(`${shop.dir}/over`, '')
    await slow
    expect(await left('r1.db.slow')).toBeNull()
  })

  it('takes what an earlier run to another release brought for what is left, and not what that one left', async () => {
    await shop.unpack('local', 'releases/v1.2.8', 'v1.2.8')
    await shop.link('local', 'current', 'releases/v1.2.8')
    shop.call('local', 'stop', 'current')
    shop.call('local', 'start', 'current')
    const older = await captured(target)
    await upgrade()
    const back = async (pin: HostsPin, run: string, release: string) => {
      for (const step of ordered(await proposed(target, pin, { release })))
        await target.apply(step, { ...stepAct(step, run), release })
    }
    const left = async (release: string) =>
      (await target.exec?.('from', ['cat', 'VERSION'], { ...stepAct(), release }))?.stdout
    await back(good, 'r1', 'v1.2.9')
    expect(await left('v1.2.9')).toBe('v1.3.0')
    // Found bad as well: what is left now is v1.2.9, before its link is switched and afterwards.
    expect(await left('v1.2.8')).toBe('v1.2.9')
    await back(older, 'r2', 'v1.2.8')
    expect(await left('v1.2.8')).toBe('v1.2.9')
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
    const step = stepOf(again, 'shop/restart/local')
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await target.apply(step, stepAct(step))
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    expect(shop.calls('local')).toEqual(['start', 'stop', 'start'])
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
