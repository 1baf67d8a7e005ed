import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blocked, does, losing, need, type Part, planOf } from '../../test/support/planning.ts'
import { stepOf } from '../../test/support/scripted.ts'
import type { Node } from './contract.ts'
import { measured } from './estimate.ts'
import { type AcceptedLoss, acceptedFrom, accepts, beyond, blockersOf, isEmpty, type Plan, planHash } from './plan.ts'
import { PHASES, type Phase, REVERSED } from './words.ts'

const db = (count = 100, more: Partial<Part> = {}): Part => ({
  id: 'db',
  rungs: ['down', 'restore'],
  state: { level: 3 },
  propose: ask => ({ ...does('db', 'data', ask, { destructive: true }), ...losing('orders.discount', count) }),
  ...more,
})
const app = (more: Partial<Part> = {}): Part => ({
  id: 'app',
  dependsOn: ['db'],
  state: { version: 'B' },
  propose: ask => does(more.id ?? 'app', 'code', ask),
  ...more,
})

describe('A6: the hash', () => {
  const base = async () => (await planOf([db(), app()])).hash

  it('is the same for the same world, however the plan was kept meanwhile', async () => {
    const plan = await planOf([db(), app()])
    expect(plan.hash).toBe(await base())
    expect(planHash(JSON.parse(JSON.stringify(plan)) as Plan)).toBe(plan.hash)
    const entries = Object.entries(plan).toReversed()
    expect(planHash(Object.fromEntries(entries) as unknown as Plan)).toBe(plan.hash)
  })

  const changed: [string, () => Promise<Plan>][] = [
    ['the observed state', () => planOf([db(100, { state: { level: 4 } }), app()])],
    [
      'the rung',
      () =>
        planOf([db(100, { propose: a => (a.rung === 'down' ? blocked('db', 'no') : does('db', 'data', a)) }), app()]),
    ],
    ['a step', () => planOf([db(), app({ propose: ask => does('app', 'code', ask, { args: { to: 'C' } }) })])],
    ['how a step is retried', () => planOf([db(), app({ propose: ask => does('app', 'code', ask, { retries: 9 }) })])],
    ['the phase of a step', () => planOf([db(), app({ propose: ask => does('app', 'config', ask) })])],
    ['the accepted loss', () => planOf([db(1000), app()])],
    [
      'what is lost',
      () => planOf([db(100, { propose: a => ({ ...does('db', 'data', a), ...losing('orders', 100) }) }), app()]),
    ],
    [
      'its unit',
      () =>
        planOf([
          db(100, { propose: a => ({ ...does('db', 'data', a), ...losing('orders.discount', 100, 'tables') }) }),
          app(),
        ]),
    ],
    ['a component more', () => planOf([db(), app(), app({ id: 'other' })])],
    [
      'a finding more',
      () => planOf([db(), app()], { findings: [{ level: 'note', code: 'n', component: null, what: 'w', remedy: '' }] }),
    ],
    ['the mode', () => planOf([db(), app()], { mode: 'emergency' })],
    ['the configuration', () => planOf([db(), app()], { configHash: 'other' })],
    ['the policy', () => planOf([db(), app()], { onFailure: 'take' })],
    ['the release', () => planOf([db(), app()], { to: { release: 'A2', capture: 'c1' } })],
    ['the capture', () => planOf([db(), app()], { to: { release: 'A', capture: 'c2' } })],
    ['the environment', () => planOf([db(), app()], { environment: 'staging' })],
    ['the plan that it goes on from', () => planOf([db(), app()], { parent: 'p' })],
    ['a gate', () => planOf([db(), app()], { verify: ['healthy'] })],
    ['the watch', () => planOf([db(), app()], { watch: { gates: ['healthy'], forMs: 1000 } })],
    ['how much at once', () => planOf([db(), app()], { concurrency: 3 })],
  ]
  it.each(changed)('is another one for %s', async (_, make) => {
    expect((await make()).hash).not.toBe(await base())
  })

  it('is another one for what depends on what', async () => {
    const both = (dependsOn: string[]) => planOf([db(), app({ dependsOn, propose: ask => does('app', 'data', ask) })])
    expect((await both(['db'])).hash).not.toBe((await both([])).hash)
  })

  it('does not move with counts, estimates, titles and times', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(10_000), fc.nat(1_000_000), fc.string(), fc.string(), async (grown, ms, text, by) => {
        const accepted = (await planOf([db(10_000), app()])).envelope.loss
        const same = (count: number, estimateMs: number, title: string) =>
          planOf(
            [
              db(count, {
                propose: a => ({
                  ...does('db', 'data', a, { estimateMs, title }),
                  ...losing('orders.discount', count),
                  findings: [{ level: 'warning', code: 'slow', component: 'db', what: `${count}`, remedy: title }],
                }),
              }),
              app(),
            ],
            { accepted, made: { at: text, by, version: title } },
          )
        expect((await same(grown, ms, text)).hash).toBe((await same(10_000, 7, 'as it was')).hash)
      }),
      { numRuns: 50 },
    )
  })

  it('does not move with a finding about what moves by itself, unless that is a blocker', async () => {
    const finding = { code: 'clock', component: null, what: 'w', remedy: 'r', moves: true }
    const plain = await planOf([db(), app()])
    const said = await planOf([db(), app()], { findings: [{ ...finding, level: 'warning' }] })
    const blocked = await planOf([db(), app()], { findings: [{ ...finding, level: 'blocker' }] })
    expect([said.hash === plain.hash, blocked.hash === plain.hash]).toEqual([true, false])
  })
})

describe('B4: the loss that is accepted', () => {
  it('stays what it was while counts grow within it, and makes another plan above', async () => {
    const first = await planOf([db(100), app()])
    expect(first.envelope.loss).toEqual([{ what: 'orders.discount', unit: 'rows', max: 110, component: 'db' }])
    const again = (count: number) => planOf([db(count), app()], { accepted: first.envelope.loss })
    for (const count of [0, 1, 99, 100, 110]) expect((await again(count)).hash).toBe(first.hash)
    for (const count of [111, 1000]) {
      expect((await again(count)).hash).not.toBe(first.hash)
      expect(beyond(first.envelope, await again(count))).toEqual([`${count} rows of orders.discount would be lost`])
    }
  })

  it('is as much as the headroom says, to the unit', () => {
    const loss = (count: number) => [{ what: 'w', unit: 'rows', count, since: null, note: '' }]
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(1000), (count, percent) => {
        const [accepted] = acceptedFrom(loss(count), percent)
        const exact = (BigInt(count) * BigInt(100 + percent) + 99n) / 100n
        expect(BigInt(accepted?.max ?? -1)).toBe(exact)
        expect(accepts(acceptedFrom(loss(count), percent), loss(count))).toBe(true)
      }),
    )
  })

  it('of one database is not that of another one with the same tables', async () => {
    const shard = (id: string, count: number): Part => ({
      id,
      propose: ask => ({ ...does(id, 'data', ask), ...losing('orders.discount', count) }),
    })
    const first = await planOf([shard('eu', 5), shard('us', 1000)])
    const grown = await planOf([shard('eu', 800), shard('us', 1000)], { accepted: first.envelope.loss })
    expect(grown.hash).not.toBe(first.hash)
    expect(beyond(first.envelope, grown)).toEqual(['800 rows of orders.discount would be lost'])
  })

  it('covers nothing that was not named', () => {
    const accepted: AcceptedLoss[] = [{ what: 'orders', unit: 'rows', max: 5 }]
    const loss = (what: string, count: number, unit = 'rows') => ({ what, unit, count, since: null, note: '' })
    expect(accepts(accepted, [loss('orders', 5)])).toBe(true)
    expect(accepts(accepted, [loss('orders', 6)])).toBe(false)
    expect(accepts(accepted, [loss('orders', 1, 'tables')])).toBe(false)
    expect(accepts(accepted, [loss('orders', 1), loss('users', 1)])).toBe(false)
    expect(accepts([], [loss('users', 0)])).toBe(true)
  })
})

describe('C12: the envelope', () => {
  it('is the chosen rungs, and where the policy takes the next one by itself those too, but never a restore', async () => {
    const three = app({ rungs: ['leave', 'undo', 'redeploy', 'module', 'restore'] })
    expect((await planOf([three])).envelope.rungs).toEqual({ app: ['leave'] })
    expect((await planOf([three], { onFailure: 'take' })).envelope.rungs).toEqual({
      app: ['leave', 'undo', 'redeploy', 'module'],
    })
  })

  it('says what goes beyond it: another component, another rung', async () => {
    const first = await planOf([app({ rungs: ['undo', 'redeploy'] })])
    const redeploy = app({
      rungs: ['undo', 'redeploy'],
      propose: a => (a.rung === 'undo' ? blocked('app', 'no') : does('app', 'code', a)),
    })
    expect(beyond(first.envelope, await planOf([redeploy]))).toEqual(['app would be taken back by "redeploy"'])
    expect(beyond(first.envelope, await planOf([app({ rungs: ['undo', 'redeploy'] }), db(0)]))).toEqual([
      'db would be touched',
    ])
  })
})

describe('C18: an emergency', () => {
  const parts = (): Part[] => [
    db(1, {
      propose: ask => ({
        ...does('db', 'data', ask),
        steps: [stepOf('db', 'backup'), stepOf('db', 'down')],
        phases: { backup: { step: 'db/backup' }, data: { step: 'db/down' } },
        omits: ask.mode === 'emergency' ? ['the fingerprint of db'] : [],
      }),
    }),
    app(),
  ]
  const more = {
    mode: 'emergency',
    hooks: [{ phase: 'code', when: 'before', step: stepOf('$hooks', 'before/code') }],
    verify: ['healthy'],
    watch: { gates: ['healthy'], forMs: 3_600_000 },
  } as const

  it('leaves out hooks and the watch, and says so; never the backup or the verification', async () => {
    const plan = await planOf(parts(), more)
    expect(plan.omitted).toEqual([
      'the fingerprint of db',
      'your hooks (before code)',
      'the watch of 3600 s after the return',
    ])
    expect(plan.phases.map(p => p.phase)).toEqual(['backup', 'data', 'code', 'verify'])
    expect(Object.keys(plan.steps)).toEqual(['db/backup', 'db/down', 'app/only'])
    expect(plan.phases.at(-1)?.node).toMatchObject({ gate: 'healthy' })
  })

  it('leaves out nothing where there is nothing, and no other run leaves anything out', async () => {
    expect((await planOf([app()], { mode: 'emergency' })).omitted).toEqual([])
    expect((await planOf(parts(), { ...more, mode: 'full' })).omitted).toEqual([])
  })
})

describe('A6: estimates', () => {
  const took = (...ms: number[]) => new Map([['app/only', ms]])

  it('are what the step took in earlier runs, where that is known, and are said to be', async () => {
    const plain = await planOf([db(), app()])
    const plan = await planOf([db(), app()], { durations: took(4000, 1000, 2000) })
    expect(plan.steps['app/only']?.estimateMs).toBe(2000)
    expect(plan.steps['db/down']?.estimateMs).toBe(plain.steps['db/down']?.estimateMs)
    expect(plan.estimateMs - plain.estimateMs).toBe(2000 - (plain.steps['app/only']?.estimateMs ?? 0))
    expect([plain.measured, plan.measured]).toEqual([{}, { 'app/only': 3 }])
    expect(plan.hash).toBe(plain.hash)
  })

  it('forget what was long ago, and are not led astray by one bad day', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100_000), { minLength: 1, maxLength: 9 }), fc.nat(100_000), (ms, old) => {
        const known = measured(ms)
        const newest = ms.slice(0, 5).toSorted((a, b) => a - b)
        expect(known?.of).toBe(newest.length)
        expect(newest.filter(one => one <= (known?.ms ?? -1) + 1).length).toBeGreaterThanOrEqual(newest.length / 2)
        expect(newest.filter(one => one >= (known?.ms ?? Infinity) - 1).length).toBeGreaterThanOrEqual(
          newest.length / 2,
        )
        if (ms.length >= 5) expect(measured([...ms, old])).toEqual(known)
      }),
    )
    expect([measured([]), measured(undefined)]).toEqual([null, null])
    expect(measured([100, 90_000, 110])?.ms).toBe(110)
  })
})

describe('C1: findings', () => {
  it('stop a rollback while something else is at work on a component', async () => {
    const plan = await planOf([app({ inFlight: [{ what: 'a deployment', since: 'noon' }] })])
    expect(blockersOf(plan)).toMatchObject([
      { code: 'in_flight', what: 'app: a deployment is still going on since noon' },
    ])
  })

  it('C2: tell of what the plan itself stops or waits for first, and block by what it does not', async () => {
    const inFlight = ['a deployment', 'a migration'].map(what => ({ what, since: null }))
    const settles = ['a deployment']
    const plan = await planOf([app({ inFlight, propose: ask => ({ ...does('app', 'code', ask), settles }) })])
    expect(plan.findings.map(f => [f.level, f.code, f.what])).toEqual([
      ['warning', 'in_flight_settled', 'app: a deployment is still going on'],
      ['blocker', 'in_flight', 'app: a migration is still going on'],
    ])
  })

  it('say what is left as it is, because it was never captured', async () => {
    const plan = await planOf([app(), db(0, { captured: false })])
    expect(plan.findings).toMatchObject([{ level: 'warning', code: 'not_captured', component: 'db' }])
    expect(Object.keys(plan.steps)).toEqual(['app/only'])
  })

  it('stop a plan with a gate that nobody defined, wherever it stands', async () => {
    const gate = (name: string): Node => ({ gate: name, with: ['quikc'], forMs: 1, onFail: { apply: [], then: 'ask' } })
    const odd = app({
      propose: a => ({ ...does('app', 'code', a), phases: { code: { seq: [{ step: 'app/only' }, gate('helthy')] } } }),
    })
    expect(blockersOf(await planOf([odd])).map(f => f.code)).toEqual(['gate_unknown', 'gate_unknown'])
  })

  it('name nothing to do as nothing to do', async () => {
    const plan = await planOf([app({ propose: () => ({}) })], { verify: ['healthy'] })
    expect(isEmpty(plan)).toBe(true)
    expect(plan.phases).toEqual([])
  })

  it('refuse two components that propose the same step', async () => {
    const same = (id: string): Part => ({ id, propose: ask => does('app', 'code', ask) })
    await expect(planOf([same('a'), same('b')])).rejects.toMatchObject({ code: 'step_twice' })
  })
})

describe('A6: the order', () => {
  it('of phases is always the same, with hooks around what they belong to and gates after it', async () => {
    const every: Part = {
      id: 'app',
      propose: () => ({
        steps: PHASES.map(phase => stepOf('app', phase)),
        phases: Object.fromEntries(PHASES.toReversed().map(phase => [phase, { step: `app/${phase}` }])),
      }),
    }
    const hook = (when: 'before' | 'after') => ({ phase: 'verify' as const, when, step: stepOf('$hooks', when) })
    const hooks = [hook('after'), hook('before')]
    const plan = await planOf([every], { hooks, verify: ['healthy', 'quick'] })
    expect(plan.phases.map(p => p.phase)).toEqual(PHASES)
    const verify = plan.phases.find(p => p.phase === 'verify')?.node
    expect(flat(verify)).toEqual(['$hooks/before', 'app/verify', 'gate healthy', 'gate quick', '$hooks/after'])
  })

  it('within a phase follows what depends on what, and runs backwards in drain and stop, whatever the graph', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e', 'f']
    const edges = fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { maxLength: 12 })
    const silent = fc.subarray(ids)
    await fc.assert(
      fc.asyncProperty(edges, silent, fc.constantFrom(...PHASES), async (pairs, idle, phase) => {
        const on = (i: number) => pairs.filter(([x, y]) => x === i && y < i).map(([, y]) => ids[y] ?? '')
        const parts = ids.map((id, i): Part => {
          const propose: Part['propose'] = ask => (idle.includes(id) ? {} : does(id, phase, ask))
          return { id, dependsOn: [...new Set(on(i))], propose }
        })
        const plan = await planOf(parts)
        expectOrder(plan, phase, parts)
      }),
      { numRuns: 200 },
    )
  })

  it('adds up what users miss from drain to return, and no less than a component says', async () => {
    const ms = (phase: Phase, estimateMs: number): Part => ({
      id: phase,
      propose: () => ({ steps: [stepOf(phase, 'go', { estimateMs })], phases: { [phase]: { step: `${phase}/go` } } }),
    })
    const plan = await planOf([ms('preflight', 7), ms('drain', 10), ms('code', 20), ms('return', 40), ms('watch', 80)])
    expect(plan.impact.downtimeMs).toBe(30)
    expect(plan.estimateMs).toBe(157)
    expect((await planOf([ms('code', 20)])).impact.downtimeMs).toBe(0)
  })

  it('asks of others only what they serve: a need that is met stands in the plan before what needs it', async () => {
    const stops = app({
      serves: ['stopped'],
      propose: ask => (ask.needs.length > 0 ? does('app', 'stop', ask) : {}),
    })
    const plan = await planOf([
      stops,
      db(1, { propose: a => ({ ...does('db', 'data', a), needs: [need('app', 'stopped')] }) }),
    ])
    expect(plan.phases.map(p => [p.phase, flat(p.node)])).toEqual([
      ['stop', ['app/only']],
      ['data', ['db/down']],
    ])
  })
})

function flat(node: Node | undefined): string[] {
  if (node === undefined) return []
  if ('step' in node) return [node.step]
  if ('gate' in node) return [`gate ${node.gate}`]
  if ('seq' in node) return node.seq.flatMap(flat)
  return node.par.flatMap(item => flat(item.node))
}

/** Every item of the phase waits for exactly those, directly or not, that must go first. */
function expectOrder(plan: Plan, phase: Phase, parts: readonly Part[]): void {
  const node = plan.phases.find(p => p.phase === phase)?.node
  const items = node !== undefined && 'par' in node ? node.par : []
  const needs = (id: string): string[] => {
    const direct = parts.find(p => p.id === id)?.dependsOn ?? []
    return [...new Set([...direct, ...direct.flatMap(needs)])]
  }
  for (const { id, after } of items) {
    const first = REVERSED.has(phase)
      ? items.filter(i => needs(i.id).includes(id)).map(i => i.id)
      : items.filter(i => needs(id).includes(i.id)).map(i => i.id)
    expect(after.toSorted()).toEqual(first.toSorted())
  }
}
