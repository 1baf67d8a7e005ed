import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { folder } from '../../../test/support/ledger.ts'
import type { Json } from '../../core/json.ts'
import { blockersOf } from '../../core/plan.ts'
import { sqliteStore } from '../../engine/sqlite/store.ts'
import { captureAll } from './capture.ts'
import { durationsOf } from './durations.ts'
import { type Environment, openEnvironment } from './environment.ts'
import { makePlan } from './planning.ts'
import { Targets } from './targets.ts'

const before = process.env['BACKOUT_KEYS']
let dir = ''
beforeEach(() => {
  dir = folder()
  process.env['BACKOUT_KEYS'] = join(dir, 'keys')
  writeFileSync(join(dir, 'flags.json'), '{"checkout": false}\n')
})
afterEach(() => {
  if (before === undefined) delete process.env['BACKOUT_KEYS']
  else process.env['BACKOUT_KEYS'] = before
})

async function environment(name: string): Promise<Environment> {
  const file = join(dir, `${name}.yaml`)
  const component = { adapter: 'flag-file', settings: { path: 'flags.json', format: 'json' } }
  writeFileSync(file, JSON.stringify({ environment: name, components: { flags: component } }))
  return openEnvironment(file)
}

const { signal } = new AbortController()

describe('A6: a plan', () => {
  it('never goes back to what was captured in another environment', async () => {
    await using production = await environment('production')
    await using staging = await environment('staging')
    await using targets = new Targets(production)
    const capture = await captureAll(staging, targets, { release: 'v1', purpose: 'release', signal })
    expect(await production.ledger.releases.find('v1')).toBeNull()
    // As an import from there does.
    await production.ledger.releases.keep(capture)
    const release = await production.ledger.releases.get('v1')
    const request = { release, capture, mode: 'full', parent: null, exclude: [], accepted: null, signal } as const
    expect(blockersOf(await makePlan(production, targets, request))).toMatchObject([
      { code: 'other_environment', what: 'v1 was captured in staging, and this is production' },
    ])
    expect(blockersOf(await makePlan(staging, targets, request))).toEqual([])
  })
})

describe('C14: a plan asks with the time of the upgrade', () => {
  it('that put another release in the place of the target, where one was told and was not undone', async () => {
    await using production = await environment('production')
    await using targets = new Targets(production)
    const seen: (string | null)[] = []
    const heard = {
      get: async (id: string) => {
        const target = await targets.get(id)
        const propose: typeof target.propose = question => (seen.push(question.upgradedAt), target.propose(question))
        return { ...target, propose }
      },
    } as unknown as Targets
    const capture = await captureAll(production, targets, { release: 'v1', purpose: 'release', signal })
    const { releases } = production.ledger
    const release = await releases.get('v1')
    const plan = () =>
      makePlan(production, heard, { release, capture, mode: 'full', parent: null, exclude: [], accepted: null, signal })
    const times = { migratedAt: null, endedAt: null, undoneAt: null }
    const told = { id: 'u1', from: 'v1', to: 'v2', begunAt: '2026-03-02T00:00:00.000Z', ...times }
    await plan()
    await releases.keepUpgrade(told)
    await plan()
    await releases.keepUpgrade({ ...told, undoneAt: '2026-03-03T00:00:00.000Z' })
    await plan()
    await releases.keepUpgrade({ ...told, id: 'u2', from: 'v2', to: 'v1' })
    await plan()
    expect(seen).toEqual([null, '2026-03-02T00:00:00.000Z', null, null])
  })
})

describe('A6: what steps took in earlier runs', () => {
  it('is read from the journal: of this environment, of the newest runs, and only what was really applied', async () => {
    await using production = await environment('production')
    const { home, ledger } = production
    expect([...(await durationsOf(production))]).toEqual([])
    const store = sqliteStore({ home, key: ledger.keys.chain })
    const done = (n: number, exclusive: string, all: Record<string, Json>[]) => {
      const at = `2026-03-02T00:00:${String(n).padStart(2, '0')}.000Z`
      const ended = {
        state: 'succeeded' as const,
        input: null,
        output: null,
        error: null,
        createdAt: at,
        updatedAt: at,
      }
      const id = `r${n}`
      return store.write(tx => {
        tx.putRun({ id, root: id, workflow: 'rollback', version: 1, exclusive, ...ended })
        for (const data of all) tx.addEvent({ run: id, at, type: 'step-done', data: { found: false, ...data } })
        tx.addEvent({ run: id, at, type: 'step-failed', data: { step: 'app/go', ms: 9999, found: false } })
      })
    }
    await done(0, 'production', [{ step: 'app/old', ms: 7 }])
    for (let n = 1; n <= 10; n++) await done(n, 'production', [{ step: 'app/go', ms: n }])
    await done(20, 'staging', [{ step: 'app/go', ms: 500 }])
    const unmeasured = [
      { step: 'app/found', ms: 1, found: true },
      { step: 'app/said', ms: 1, by: 'ann' },
    ]
    await done(30, 'production', [...unmeasured, { step: 'app/go', ms: 40 }, { step: 'app/go', ms: 30 }])
    await store.close()
    expect([...(await durationsOf(production))]).toEqual([['app/go', [30, 10, 9, 8, 7, 6, 5, 4, 3, 2]]])
  })

  it('is not known from a journal that cannot be read, and stops no plan', async () => {
    await using production = await environment('production')
    writeFileSync(join(production.home, 'journal.db'), 'this is no database, and never was one, however long it is')
    expect([...(await durationsOf(production))]).toEqual([])
  })
})

describe('the components of a process', () => {
  /** An environment whose components open, fail and close as the test says. */
  async function odd(open: Record<string, () => Promise<unknown>>) {
    const real = await environment('production')
    const components = Object.fromEntries(
      Object.entries(open).map(([id, make]) => [
        id,
        { adapter: { open: make }, settings: {}, limits: {}, dependsOn: [] },
      ]),
    )
    return new Targets({ ...real, config: { ...real.config, components } } as unknown as Environment)
  }

  it('are opened once, and again where that failed', async () => {
    let opened = 0
    const targets = await odd({
      app: async () => {
        if (++opened === 1) throw new Error('its key file is gone')
        return { [Symbol.asyncDispose]: async () => {} }
      },
    })
    await expect(targets.get('app')).rejects.toThrow('its key file is gone')
    const [one, two] = await Promise.all([targets.get('app'), targets.get('app')])
    expect(one).toBe(two)
    expect(opened).toBe(2)
    await expect(targets.get('gone')).rejects.toMatchObject({ code: 'component_unknown' })
  })

  it('are all closed at the end, though one never opened and one does not close', async () => {
    const closed: string[] = []
    const good = (id: string) => async () => ({ [Symbol.asyncDispose]: async () => void closed.push(id) })
    const targets = await odd({
      never: () => Promise.reject(new Error('refused')),
      a: good('a'),
      stuck: async () => ({ [Symbol.asyncDispose]: () => Promise.reject(new Error('socket is gone')) }),
      b: good('b'),
    })
    for (const id of ['never', 'a', 'stuck', 'b']) await targets.get(id).catch(() => {})
    await expect(targets[Symbol.asyncDispose]()).rejects.toThrow('socket is gone')
    expect(closed).toEqual(['a', 'b'])
  })
})
