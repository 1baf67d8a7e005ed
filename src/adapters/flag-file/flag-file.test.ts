import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Proposal } from '../../core/contract.ts'
import type { FlagFilePin } from './config.ts'
import { flagFile } from './index.ts'

const signal = new AbortController().signal
const flag = (defaultVariant: string, more = {}) => ({
  state: 'ENABLED',
  variants: { on: true, off: false },
  defaultVariant,
  ...more,
})
const A = `${JSON.stringify({ $schema: 'https://flagd.dev/schema/v0/flags.json', flags: { search: flag('on') } })}\n`
const aimed = { targeting: { if: [{ ends_with: [{ var: 'email' }, '@private.example'] }, 'on'] } }
const B = JSON.stringify({ flags: { search: flag('off'), checkout: flag('on', aimed) } })

async function folder(name: string, content: string) {
  const dir = await mkdtemp(join(tmpdir(), 'backout-flags-'))
  const file = join(dir, name)
  await writeFile(file, content)
  const { vault, backups } = stepAct()
  const ctx = { environment: 'test', component: 'flags', baseDir: dir, stateDir: join(dir, 'state'), vault, backups }
  const open = (more = {}) => flagFile.open(flagFile.config.parse({ path: name, format: 'flagd', ...more }), ctx)
  return { dir, file, open, dispose: () => rm(dir, { recursive: true, force: true }) }
}

conformance('flag-file', {
  adapter: flagFile,
  rungs: ['write'],
  make: async () => {
    const [it, other] = [await folder('flags.json', A), await folder('flags.json', A)]
    return {
      open: () => it.open(),
      openOther: () => other.open(),
      upgrade: () => writeFile(it.file, B),
      serves: async () => {
        const now = await readFile(it.file, 'utf8')
        return now === A ? 'A' : now === B ? 'B' : 'other'
      },
      secrets: ['private.example'],
      dispose: async () => {
        await it.dispose()
        await other.dispose()
      },
    }
  },
})

describe('C10: a flag file taken back', () => {
  let place: Awaited<ReturnType<typeof folder>>
  afterEach(() => place.dispose())

  async function back(
    name: string,
    then: string,
    now: string,
    settings = {},
  ): Promise<{ after: string; proposal: Proposal }> {
    place = await folder(name, then)
    const target = await place.open(settings)
    const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
    const pin: FlagFilePin = await target.capture(await target.observe(signal), act)
    await writeFile(place.file, now)
    const question = {
      to: pin,
      release: 'v1',
      rung: 'write',
      upgradedAt: null,
      needs: [],
      dependents: [],
      dependencies: [],
      signal,
    }
    const proposal = await target.propose({
      ...question,
      from: await target.observe(signal),
      upgradedAt: null,
      mode: 'full',
    })
    if (proposal.findings.some(f => f.level === 'blocker')) return { after: now, proposal }
    for (const step of ordered(proposal)) {
      await target.apply(step, stepAct(step))
      expect((await target.verify(step, stepAct(step))).is).toBe('done')
    }
    const again = await target.propose({
      ...question,
      from: await target.observe(signal),
      upgradedAt: null,
      mode: 'full',
    })
    expect(again.steps).toEqual([])
    return { after: await readFile(place.file, 'utf8'), proposal }
  }
  const notes = (p: Proposal, code: string) => p.findings.filter(f => f.code === code).map(f => f.what)

  it('puts the whole file back, byte by byte, and says by name what changes', async () => {
    const { after, proposal } = await back('flags.json', A, B)
    expect(after).toBe(A)
    expect(notes(proposal, 'flags_change')).toEqual(['checkout: on, with targeting -> not there; search: off -> on'])
  })

  it('is reloaded by the next run where the reload of the one before did not end well', async () => {
    place = await folder('flags.json', A)
    const target = await place.open({ reload: 'test -e go && cp flags.json loaded' })
    const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
    const to: FlagFilePin = await target.capture(await target.observe(signal), act)
    const propose = async () =>
      target.propose({
        to,
        release: 'v1',
        rung: 'write',
        mode: 'full',
        upgradedAt: null,
        needs: [],
        dependents: [],
        dependencies: [],
        from: await target.observe(signal),
        signal,
      })
    await writeFile(place.file, B)
    const [write, reload] = ordered(await propose())
    if (write === undefined || reload === undefined) throw new Error('two steps expected')
    await target.apply(write, stepAct(write, 'r1'))
    await expect(target.apply(reload, stepAct(reload, 'r1'))).rejects.toMatchObject({ code: 'command_failed' })
    expect((await target.observe(signal)).summary).toBe('1 flags, not reloaded')
    await writeFile(place.file, B)
    expect((await target.observe(signal)).summary).toContain('not reloaded')
    await writeFile(place.file, A)
    await writeFile(join(place.dir, 'go'), '')
    const again = ordered(await propose())
    expect(again.map(s => s.id)).toEqual(['flags/reload'])
    for (const step of again) await target.apply(step, stepAct(step, 'r2'))
    expect(await readFile(join(place.dir, 'loaded'), 'utf8')).toBe(A)
    expect((await propose()).steps).toEqual([])
  })

  it('turns new features off in flagd with their off variant, never by DISABLED', async () => {
    const { after } = await back('flags.json', A, B, { off: ['checkout', 'nobody-knows-it'] })
    expect(JSON.parse(after)).toEqual({
      $schema: 'https://flagd.dev/schema/v0/flags.json',
      flags: { search: flag('on'), checkout: flag('off') },
    })
  })

  it('takes the variant that is false where none is named off, and blocks where none is', async () => {
    const odd = (variants: object) => JSON.stringify({ flags: { x: { ...flag('yes'), variants, state: 'DISABLED' } } })
    const good = await back('flags.json', odd({ yes: true, no: false }), A, { off: ['x'] })
    expect(JSON.parse(good.after).flags.x).toMatchObject({ state: 'ENABLED', defaultVariant: 'no' })
    await place.dispose()
    const bad = await back('flags.json', odd({ yes: 1, maybe: 2 }), A, { off: ['x'] })
    expect(notes(bad.proposal, 'flag_not_off')).toEqual(['Cannot turn off x: no variant is named "off" or is false'])
  })

  it('says which flag it cannot find to turn off, or cannot reach', async () => {
    const said = async (then: string, off: string) => {
      const { proposal } = await back('flags.yaml', then, `${then}more: true\n`, { format: 'yaml', off: [off] }).catch(
        (error: unknown) => ({ proposal: { findings: [String(error)] } }),
      )
      return proposal.findings
    }
    expect(await said('new-checkout: true\n', 'new-chekout')).toMatchObject([
      { level: 'warning', code: 'flag_unknown', what: expect.stringMatching(/no flag new-chekout/) },
      { code: 'flags_change' },
    ])
    await place.dispose()
    for (const inside of ['  <<: *d\n', ' *d\n']) {
      const then = `defaults: &d\n  new-checkout: true\nproduction:${inside.startsWith('  ') ? '\n' : ''}${inside}`
      expect(JSON.stringify(await said(then, 'production.new-checkout'))).toContain('an alias or a merge key')
      await place.dispose()
    }
  })

  it('keeps the comments of YAML', async () => {
    const then =
      '# for support\nflags:\n  # the box\n  search:\n    state: ENABLED\n    variants: { on: true, off: false }\n    defaultVariant: on\n'
    const { after } = await back('flags.yaml', then, 'flags: {}\n', { off: ['search'] })
    expect(after).toBe(then.replace('defaultVariant: on', 'defaultVariant: off'))
  })

  it.each([
    [
      'json',
      'flags.json',
      '{"old": true}',
      '{"old": false, "new": true}',
      ['new'],
      '{\n  "old": true,\n  "new": false\n}\n',
    ],
    ['yaml', 'flags.yml', 'shop:\n  new: true # soon\n', 'shop: {}\n', ['shop.new'], 'shop:\n  new: false # soon\n'],
    [
      'yaml',
      'flags.yml',
      'new: { enabled: true, for: all }\n',
      'a: 1\n',
      ['new'],
      'new: { enabled: false, for: all }\n',
    ],
    ['yaml', 'flags.yml', 'old: true\n', 'new: { enabled: true }\n', ['new'], 'old: true\nnew:\n  enabled: false\n'],
  ])('turns flags off in plain %s (%s: %j)', async (format, name, then, now, off, expected) => {
    expect((await back(name, then, now, { format, off })).after).toBe(expected)
  })

  it('shows no values', async () => {
    const { proposal } = await back('f.json', '{"limit": 5, "a": {"b": true}}', '{"limit": 7717}', { format: 'json' })
    expect(JSON.stringify(proposal)).not.toContain('7717')
    expect(notes(proposal, 'flags_change')).toEqual(['a.b: not there -> on'])
  })

  it('replaces a broken file, but never captures one as a release', async () => {
    const { after, proposal } = await back('flags.json', A, '{"flags": {"search": ', { off: ['search'] })
    expect(JSON.parse(after).flags.search.defaultVariant).toBe('off')
    expect(notes(proposal, 'flags_unreadable')).toHaveLength(1)
    await writeFile(place.file, 'broken: [')
    const target = await place.open()
    const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
    await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({ code: 'flags_unreadable' })
    expect((await target.capture(await target.observe(signal), { ...act, purpose: 'departure' })).flags).toEqual({})
  })

  it('goes back to a departure whose file was broken, byte by byte, unless a flag of it must be turned off', async () => {
    const broken = Buffer.from('{"flags": "caf\xe9', 'latin1')
    place = await folder('flags.json', A)
    await writeFile(place.file, broken)
    const propose = async (settings: object) => {
      const target = await place.open(settings)
      const from = await target.observe(signal)
      const question = {
        rung: 'write',
        upgradedAt: null,
        needs: [],
        dependents: [],
        dependencies: [],
        mode: 'full' as const,
        signal,
      }
      return { target, proposal: await target.propose({ ...question, from, to: pin, release: 'departure' }) }
    }
    const opened = await place.open()
    const act = { ...stepAct(), purpose: 'departure' as const, release: 'departure' }
    const pin = await opened.capture(await opened.observe(signal), act)
    await writeFile(place.file, A)
    const off = await propose({ off: ['search'] })
    expect(off.proposal.findings).toMatchObject([{ level: 'blocker', code: 'flags_unreadable' }])
    const { target, proposal } = await propose({})
    expect(proposal.findings).toMatchObject([{ level: 'warning', code: 'flags_unreadable' }])
    for (const step of ordered(proposal)) await target.apply(step, stepAct(step))
    expect(await readFile(place.file)).toEqual(broken)
  })

  it('keeps numbers exact that are longer than a double, and reads JSON that is indented by tabs', async () => {
    const then = '{\n\t"limit": 12345678901234567890,\n\t"new": {\n\t\t"enabled": true\n\t}\n}\n'
    const { after } = await back('f.json', then, '{}', { format: 'json', off: ['new'] })
    expect(after).toBe('{\n  "limit": 12345678901234567890,\n  "new": {\n    "enabled": false\n  }\n}\n')
  })
})
