import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { folder, setClock } from '../../test/support/ledger.ts'
import { type Capture, Releases, type Upgrade } from './releases.ts'

const chain = Buffer.alloc(32, 7)

function ledger() {
  const home = folder()
  const clock = setClock()
  const again = (environment = 'production') => new Releases(home, environment, clock, chain)
  const releases = again()
  const add = (
    release: string,
    more: Partial<Pick<Capture, 'purpose' | 'components' | 'missing'>> = {},
    by = releases,
  ) =>
    by.add({
      release,
      environment: 'production',
      purpose: 'release',
      commit: null,
      components: {
        app: { adapter: 'memory', pinVersion: 1, identity: 'app', summary: release, pin: { version: release } },
      },
      backups: [],
      baseline: [],
      ...more,
    })
  return { home, clock, releases, add, again }
}

const upgrade = (from: string, to: string, begunAt: string, more: Partial<Upgrade> = {}): Upgrade => ({
  id: `${from}-${to}-${begunAt}`,
  from,
  to,
  begunAt,
  migratedAt: null,
  endedAt: null,
  undoneAt: null,
  ...more,
})

describe('A3: a release', () => {
  it('is what was captured, for every process', async () => {
    const l = ledger()
    const capture = await l.add('v1')
    expect(await l.again().get('v1')).toMatchObject({ name: 'v1', state: 'captured', captures: [capture] })
    expect(await l.releases.find('v2')).toBeNull()
    await expect(l.releases.get('v2')).rejects.toMatchObject({ code: 'release_unknown', why: 'captured are: v1' })
  })

  const NAMES = [
    'feature/login',
    'v1.2.9+build.7',
    '100%',
    '%2e%2e',
    'a b',
    '版本一点二点九',
    'ü'.repeat(120),
    'x'.repeat(128),
    '~tilde',
    '%-0',
    'CON',
    '.hidden',
    "it's",
    '🚀',
    '-rf',
    'a.json',
    '*',
  ]
  it('may be called what people call it', async () => {
    const l = ledger()
    for (const name of NAMES) await l.add(name)
    for (const name of NAMES) expect((await l.again().get(name)).captures[0]?.release).toBe(name)
    expect((await l.releases.list()).map(r => r.name).toSorted()).toEqual(NAMES.toSorted())
    expect(readdirSync(l.home)).toEqual(['ledger.lock', 'releases'])
    for (const file of readdirSync(join(l.home, 'releases'))) expect(Buffer.byteLength(file)).toBeLessThan(256)
  })

  it.each(['', '.', '..', ' v1', 'v1 ', '/etc', '\\x', 'v1\n', 'v\u001b[2J', 'a\0b', 'x'.repeat(129), '\ud800'])(
    'cannot be called %j',
    async name => {
      const l = ledger()
      await expect(l.add(name)).rejects.toMatchObject({ code: 'release_name', exit: 'usage' })
      expect(readdirSync(l.home)).toEqual([])
    },
  )

  it('stays inside of its folder, whatever it is called', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), async name => {
        const l = ledger()
        const made = await l.add(name).catch((error: { code?: string }) => error.code)
        if (made === 'release_name') return
        expect(readdirSync(l.home)).toEqual(['ledger.lock', 'releases'])
        expect((await l.releases.get(name)).name).toBe(name)
        expect((await l.releases.list()).map(r => r.name)).toEqual([name])
      }),
      { numRuns: 60 },
    )
  })

  it('is listed by its last capture; departures only where they are asked for', async () => {
    const l = ledger()
    for (const [i, name] of ['v1', 'v2', 'departure-r1', 'v3'].entries()) {
      l.clock.set(`2026-03-0${i + 1}T00:00:00Z`)
      await l.add(name, { purpose: name.startsWith('departure') ? 'departure' : 'release' })
    }
    l.clock.set('2026-03-09T00:00:00Z')
    await l.add('v1')
    expect((await l.releases.list()).map(r => r.name)).toEqual(['v1', 'v3', 'v2'])
    expect((await l.releases.list({ departures: true })).map(r => r.name)).toEqual(['v1', 'v3', 'departure-r1', 'v2'])
  })

  it('has the state that was said last, and all that was said before', async () => {
    const l = ledger()
    await l.add('v1')
    await l.releases.mark('v1', 'known-good', 'its gates held')
    await l.releases.mark('v1', 'bad', 'loses orders')
    await l.add('v1')
    const { state, marks } = await l.again().get('v1')
    expect(state).toBe('bad')
    expect(marks.map(m => [m.state, m.why])).toEqual([
      ['captured', null],
      ['known-good', 'its gates held'],
      ['bad', 'loses orders'],
    ])
  })
})

describe('A3: what is not as Backout wrote it', () => {
  const path = (home: string, release: string) => {
    const dir = join(home, 'releases', release, 'captures')
    return join(dir, readdirSync(dir)[0] ?? '')
  }

  it.each<[string, (file: string, home: string) => void, string]>([
    [
      'altered by hand',
      file => writeFileSync(file, readFileSync(file, 'utf8').replaceAll('"v1"', '"v9"')),
      'release_altered',
    ],
    [
      'without its seal',
      file => writeFileSync(file, JSON.stringify(JSON.parse(readFileSync(file, 'utf8')).capture)),
      'release_altered',
    ],
    ['half of a file', file => writeFileSync(file, readFileSync(file, 'utf8').slice(0, 90)), 'ledger_unreadable'],
    ['empty', file => writeFileSync(file, ''), 'ledger_unreadable'],
    ['of another release', (file, home) => cpSync(path(home, 'v2'), file), 'release_altered'],
  ])('is refused, and hides no other release: a capture that is %s', async (_, harm, code) => {
    const l = ledger()
    await l.add('v1')
    await l.add('v2')
    harm(path(l.home, 'v1'), l.home)
    await expect(l.releases.get('v1')).rejects.toMatchObject({ code })
    const listed = new Map((await l.releases.list()).map(r => [r.name, r]))
    expect(listed.get('v1')?.captures).toEqual([])
    expect(listed.get('v1')?.altered).toEqual([expect.stringContaining(path(l.home, 'v1'))])
    expect(listed.get('v2')).toMatchObject({ altered: [], captures: [{ release: 'v2' }] })
    expect((await l.releases.get('v2')).name).toBe('v2')
  })

  it('is refused where another key wrote it', async () => {
    const l = ledger()
    await l.add('v1')
    const other = new Releases(l.home, 'production', l.clock, Buffer.alloc(32, 8))
    await expect(other.get('v1')).rejects.toMatchObject({ code: 'release_altered', exit: 'tampered' })
  })

  it('is refused where a folder was moved: the release would be another one', async () => {
    const l = ledger()
    await l.add('v1')
    renameSync(join(l.home, 'releases', 'v1'), join(l.home, 'releases', 'v2'))
    await expect(l.releases.get('v2')).rejects.toMatchObject({ code: 'release_altered' })
  })

  it('is left alone where a process died over it, or somebody put it there', async () => {
    const l = ledger()
    await l.add('v1')
    const dir = join(l.home, 'releases', 'v1')
    writeFileSync(join(dir, 'captures', 'x.json.12ab.new'), '{"mac":')
    writeFileSync(join(dir, 'marks.json.12ab.new'), '[{"sta')
    writeFileSync(join(l.home, 'releases', '.DS_Store'), 'x')
    mkdirSync(join(l.home, 'releases', '%zz'))
    mkdirSync(join(l.home, 'releases', 'empty', 'captures'), { recursive: true })
    expect((await l.releases.list()).map(r => [r.name, r.state])).toEqual([['v1', 'captured']])
    expect(await l.releases.find('empty')).toBeNull()
  })

  it('is no empty ledger where the folder cannot be read', async () => {
    const l = ledger()
    writeFileSync(join(l.home, 'upgrades.json'), '[{')
    await expect(l.releases.upgrades()).rejects.toMatchObject({ code: 'ledger_unreadable', exit: 'blocked' })
  })
})

describe('E7: what was said of a release', () => {
  const file = (home: string, release = 'v1') => join(home, 'releases', release, 'marks.json')
  const swap = (path: string, from: string, to: string) =>
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll(from, to))

  it.each<[string, (home: string) => void]>([
    ['bad made good', home => swap(file(home), '"bad"', '"known-good"')],
    ['its seal taken off', home => swap(file(home), '"mac"', '"mag"')],
    ['that of another release', home => cpSync(file(home, 'v2'), file(home))],
    ['taken away', home => rmSync(file(home))],
    ['cut in half', home => writeFileSync(file(home), readFileSync(file(home), 'utf8').slice(0, 100))],
  ])('is not believed once it was altered: %s', async (_, harm) => {
    const l = ledger()
    for (const name of ['v1', 'v2']) await l.add(name)
    await l.releases.mark('v1', 'bad', 'loses orders')
    await l.releases.mark('v2', 'known-good', null)
    harm(l.home)
    await expect(l.again().get('v1')).rejects.toMatchObject({ code: expect.stringMatching(/^ledger_/) as string })
    const [one, two] = (await l.again().list()).toSorted((a, b) => a.name.localeCompare(b.name))
    expect(one).toMatchObject({ name: 'v1', state: 'captured', marks: [] })
    expect(one?.altered).toHaveLength(1)
    expect(two).toMatchObject({ name: 'v2', state: 'known-good', altered: [] })
    await l.releases.mark('v1', 'bad', 'said again')
    expect(await l.again().get('v1')).toMatchObject({ state: 'bad', marks: [{ why: 'said again' }], altered: [] })
  })

  it('counts in its own environment alone, as everything else does', async () => {
    const l = ledger()
    await l.add('v1')
    await l.releases.mark('v1', 'known-good', null)
    await l.releases.keepUpgrade(upgrade('v1', 'v2', '2026-03-02T00:00:00.000Z'))
    const moved = l.again('staging')
    await expect(moved.get('v1')).rejects.toMatchObject({ code: 'ledger_altered' })
    await expect(moved.upgrades()).rejects.toMatchObject({ code: 'ledger_altered', exit: 'tampered' })
  })
})

describe('A3: the capture that counts', () => {
  it('is the newest that was finished before the upgrade that left the release', async () => {
    const l = ledger()
    const at = async (time: string) => {
      l.clock.set(time)
      return l.add('v1')
    }
    const old = await at('2026-03-01T00:00:00Z')
    const right = await at('2026-03-02T00:00:00Z')
    await l.releases.keepUpgrade(upgrade('v1', 'v2', '2026-03-02T00:00:00.000Z'))
    const late = await at('2026-03-03T00:00:00Z')
    const counting = async () => (await l.releases.counting(await l.releases.get('v1'), ['app'])).id
    expect(await counting()).toBe(right.id)
    await l.releases.keepUpgrade(upgrade('v1', 'v2', '2026-03-02T00:00:00.000Z', { undoneAt: '2026-03-04T00:00:00Z' }))
    expect(await counting()).toBe(late.id)
    await l.releases.keepUpgrade(upgrade('v1', 'v3', '2026-03-01T12:00:00.000Z'))
    expect(await counting()).toBe(old.id)
    await l.releases.keepUpgrade(upgrade('v9', 'v1', '2026-02-01T00:00:00.000Z'))
    expect(await counting()).toBe(old.id)
  })

  it('is one that has all components rather than a newer one in part; where all are in part, one that has most', async () => {
    const l = ledger()
    let day = 1
    const pin = (id: string) => [id, { adapter: 'memory', pinVersion: 1, identity: id, summary: id, pin: {} }]
    const add = (has: string[], missing: string[] = []) => {
      l.clock.set(`2026-03-0${day++}T00:00:00Z`)
      const told = missing.length === 0 ? {} : { missing: Object.fromEntries(missing.map(id => [id, 'down'])) }
      return l.add('v1', { components: Object.fromEntries(has.map(pin)), ...told })
    }
    const counting = async (...components: string[]) =>
      (await l.releases.counting(await l.releases.get('v1'), components)).id
    const whole = await add(['a', 'b'])
    expect(await counting('a', 'b')).toBe(whole.id)
    const partial = await add(['a'], ['b'])
    expect(await counting('a', 'b')).toBe(whole.id)
    expect(await counting('a')).toBe(partial.id)
    await add([], ['a', 'b'])
    expect(await counting('b', 'c')).toBe(whole.id)
    await add(['a', 'c'], ['b'])
    expect(await counting('a', 'b', 'c')).toBe(whole.id)
    const most = await add(['a', 'c', 'd'], ['b'])
    expect(await counting('a', 'b', 'c', 'd')).toBe(most.id)
    const anew = await add(['a', 'b', 'c', 'd'])
    expect(await counting('a', 'b', 'c', 'd')).toBe(anew.id)
  })

  it('keeps every time that was told of an upgrade, whoever tells the next one', async () => {
    const l = ledger()
    const told = upgrade('v1', 'v2', '2026-03-02T00:00:00.000Z')
    await l.releases.keepUpgrade(told)
    await l.releases.keepUpgrade({ ...told, migratedAt: '2026-03-02T00:01:00.000Z' })
    await l.releases.keepUpgrade({ ...told, endedAt: '2026-03-02T00:02:00.000Z' })
    expect(await l.again().upgrades()).toEqual([
      { ...told, migratedAt: '2026-03-02T00:01:00.000Z', endedAt: '2026-03-02T00:02:00.000Z' },
    ])
    expect(await l.releases.leftBy('v1')).toMatchObject({ begunAt: told.begunAt })
    expect(await l.releases.leftBy('v2')).toBeNull()
  })

  it('is the newest where none was captured before, or no upgrade left it', async () => {
    const l = ledger()
    l.clock.set('2026-03-05T00:00:00Z')
    const only = await l.add('v1')
    expect((await l.releases.counting(await l.releases.get('v1'), ['app'])).id).toBe(only.id)
    await l.releases.keepUpgrade(upgrade('v1', 'v2', '2026-03-02T00:00:00.000Z'))
    expect((await l.releases.counting(await l.releases.get('v1'), ['app'])).id).toBe(only.id)
  })
})

describe('A3: several at once', () => {
  it('capture the same release, and all captures are kept', async () => {
    const l = ledger()
    const all = await Promise.all(Array.from({ length: 12 }, () => l.add('v1', {}, l.again())))
    const { captures, marks } = await l.releases.get('v1')
    expect(captures.map(c => c.id).toSorted()).toEqual(all.map(c => c.id).toSorted())
    expect(marks).toHaveLength(1)
  })

  it('never lose the word that it is bad to a capture that is kept at that moment', async () => {
    for (let i = 0; i < 20; i++) {
      const l = ledger()
      await Promise.all([
        l.add('v1', {}, l.again()),
        l.again().mark('v1', 'bad', 'loses orders'),
        l.add('v1', {}, l.again()),
      ])
      expect((await l.releases.get('v1')).state).toBe('bad')
    }
  })
})
