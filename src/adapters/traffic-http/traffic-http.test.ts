import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { memoryBackups, memoryVault } from '../../../test/conformance/stores.ts'
import { conformance } from '../../../test/conformance/suite.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Need, OpenContext, Proposal, Question, Step, StepAct, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { Secret } from '../../core/secret.ts'
import { config, type Pin } from './config.ts'
import { trafficHttp } from './index.ts'
import { TestSwitch } from './switch.fixture.ts'
import { between, sameShares } from './weights.ts'

const [vault, backups] = [memoryVault(), memoryBackups()]
const drained: Need = { of: 'traffic', what: 'drained', by: 'app' }

function open(server: TestSwitch, more: Record<string, unknown> = {}): Promise<Target<Pin>> {
  const settings = config.parse({
    read: {
      url: `${server.url}/admin/state`,
      weights: '/weights',
      headers: { authorization: new Secret('${env:T}', 'Bearer t0p-s3cret') },
    },
    write: { url: `${server.url}/admin/weights` },
    maintenance: 'maintenance',
    live: ['live', 'canary'],
    return: [10, 50, 100],
    gate: 'healthy',
    settle: '1s',
    drained: { open: '/active', within: '400ms' },
    timeout: '2s',
    ...more,
  })
  const ctx = {
    environment: 'test',
    component: 'traffic',
    baseDir: '/',
    stateDir: '/tmp',
    backups,
    vault,
  }
  return trafficHttp.open(settings, ctx satisfies OpenContext)
}

for (const needs of [[], [drained]]) {
  conformance(`traffic-http, ${needs.length === 0 ? 'not asked for anything' : 'asked to drain'}`, {
    adapter: trafficHttp,
    rungs: ['weights'],
    make: async () => {
      const server = await new TestSwitch().start()
      const other = await new TestSwitch().start()
      return {
        open: () => open(server),
        openOther: () => open(other),
        needs,
        secrets: ['t0p-s3cret'],
        upgrade: async () => server.set({ canary: 100 }),
        serves: async () => {
          const side = await (await fetch(server.url)).text()
          return side === 'live' ? 'A' : side === 'canary' ? 'B' : 'other'
        },
        dispose: async () => {
          await server.stop()
          await other.stop()
        },
      }
    },
  })
}

let server: TestSwitch
let pin: Pin
beforeEach(async () => {
  server = await new TestSwitch().start()
  const target = await open(server)
  const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
  pin = await target.capture(await target.observe(act.signal), act)
})
afterEach(() => server.stop())

async function ask(target: Target<Pin>, more: Partial<Question<Pin>> = {}): Promise<Proposal> {
  const { signal } = new AbortController()
  const from = await target.observe(signal)
  const rest = {
    rung: 'weights',
    needs: [drained],
    dependents: [],
    dependencies: [],
    upgradedAt: null,
    mode: 'full' as const,
    signal,
  }
  return target.propose({ from, to: pin, release: 'v1', ...rest, ...more })
}

function stepOf(proposal: Proposal, id: string): Step {
  const step = proposal.steps.find(s => s.id === `traffic/${id}`)
  if (step === undefined) throw new Error(`no step ${id} among ${proposal.steps.map(s => s.id).join(', ')}`)
  return step
}

const ids = (proposal: Proposal) => ordered(proposal).map(s => s.id.replace('traffic/', ''))

describe('D7: traffic comes back gradually', () => {
  it('asks the gate after each step, and has a way to take traffic away again', async () => {
    const proposal = await ask(await open(server))
    const gate = { gate: 'healthy', forMs: 1000, onFail: { apply: ['traffic/away'], then: 'ask' } }
    expect(proposal.change).toBeNull()
    expect(proposal.serves).toEqual([drained])
    expect(proposal.phases).toEqual({
      drain: { seq: [{ step: 'traffic/drain' }] },
      return: {
        seq: [
          { step: 'traffic/return/10' },
          gate,
          { step: 'traffic/return/50' },
          gate,
          { step: 'traffic/return/100' },
          gate,
        ],
      },
    })
    expect(proposal.safe).toEqual(['traffic/away'])
  })

  it('sends the rest to the maintenance page, never to the side of the bad release', async () => {
    server.set({ canary: 100 })
    const target = await open(server)
    const proposal = await ask(target)
    for (const step of ordered(proposal)) await target.apply(step, stepAct(step))
    expect(server.writes).toEqual([
      { live: 0, canary: 0, maintenance: 100 },
      { live: 10, canary: 0, maintenance: 90 },
      { live: 50, canary: 0, maintenance: 50 },
      { live: 100, canary: 0, maintenance: 0 },
    ])
    const away = stepOf(proposal, 'away')
    const handles = new Map<string, Json>()
    await target.apply(away, stepAct(away, 'r1', handles))
    expect(await target.verify(away, stepAct(away, 'r1', handles))).toMatchObject({ is: 'done' })
    expect((await fetch(server.url)).status).toBe(503)
  })

  it('shifts from side to side where nobody asks for a drain', async () => {
    server.set({ live: 60, canary: 40 })
    const target = await open(server)
    const proposal = await ask(target, { needs: [] })
    expect(proposal.change).toEqual({ from: 'live 60 %, canary 40 %', to: 'live 100 %' })
    expect(ids(proposal)).toEqual(['return/10', 'return/50', 'return/100'])
    for (const step of ordered(proposal)) await target.apply(step, stepAct(step))
    expect(server.writes.map(w => w['canary'])).toEqual([36, 20, 0])
  })

  it('proposes the whole way again from the middle of a run: drained already, or partly back', async () => {
    server.set({ maintenance: 100 })
    const target = await open(server)
    const again = await ask(target)
    expect(ids(again)).toEqual(['drain', 'return/10', 'return/50', 'return/100'])
    const drain = stepOf(again, 'drain')
    expect(await target.verify(drain, stepAct(drain))).toMatchObject({ is: 'done' })
    expect(ids(await ask(target, { needs: [] }))).toEqual(['return/10', 'return/50', 'return/100'])
    server.set({ live: 50, maintenance: 50 })
    expect(ids(await ask(target))).toEqual(['drain', 'return/10', 'return/50', 'return/100'])
  })

  it('gives it back at once in an emergency, and says so; the gate is asked still', async () => {
    const proposal = await ask(await open(server), { mode: 'emergency' })
    expect(ids(proposal)).toEqual(['drain', 'return/100'])
    expect(JSON.stringify(proposal.phases.return)).toContain('healthy')
    expect(proposal.omits).toEqual([expect.stringContaining('gradual return')])
  })
})

describe('C4: draining', () => {
  async function drainWhileOpen(more: Record<string, unknown> = {}) {
    const target = await open(server, more)
    const step = stepOf(await ask(target), 'drain')
    const slow = await fetch(`${server.url}/slow`)
    return { target, step, slow }
  }

  it('waits until no request is open', async () => {
    const { target, step, slow } = await drainWhileOpen({ drained: { open: '/active', within: '10s' } })
    const texts: string[] = []
    const progress: StepAct['progress'] = p => {
      if (texts.push(p.text) === 1) server.release()
    }
    await target.apply(step, { ...stepAct(step), progress })
    expect(texts[0]).toBe('1 requests are still open')
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    expect(await slow.text()).toBe('')
  })

  it('goes on after the time that was set, and tells what was still open', async () => {
    const { target, step } = await drainWhileOpen()
    const handles = new Map<string, Json>()
    const told: string[] = []
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await target.apply(step, { ...stepAct(step, 'r1', handles), tell: async fact => void told.push(fact.text) })
    expect(told).toEqual([expect.stringContaining('1 requests of traffic were still open after 0.4 s')])
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'done' })
    const fresh = await target.verify(step, stepAct(step))
    expect(fresh).toEqual({ is: 'not-done', why: 'the switch has maintenance 100 %, but 1 requests are still open' })
  })

  it('fails instead, where that is set', async () => {
    const { target, step } = await drainWhileOpen({ drained: { open: '/active', within: '200ms', then: 'fail' } })
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'requests_still_open' })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
  })
})

describe('a switch that misbehaves', () => {
  async function drain(faults: TestSwitch['faults'], more: Record<string, unknown> = {}) {
    const target = await open(server, more)
    const step = stepOf(await ask(target), 'drain')
    server.faults = faults
    const error = await target.apply(step, stepAct(step)).then(
      () => null,
      (error: { code: string }) => error.code,
    )
    return { error, verdict: async () => (await target.verify(step, stepAct(step))).is, server }
  }
  const [read, write] = ['GET /admin/state', 'PUT /admin/weights']

  it('is read again where somebody changed it in between', async () => {
    const { error } = await drain([{ on: write, fault: 'move-between' }])
    expect(error).toBeNull()
    expect(server.writes).toHaveLength(1)
  })

  it('is given up where somebody changes it all the time', async () => {
    const { error, verdict } = await drain(
      Array.from({ length: 9 }, () => ({ on: write, fault: 'move-between' as const })),
    )
    expect(error).toBe('switch_not_taken')
    expect(server.writes).toEqual([])
    expect(await verdict()).toBe('not-done')
  })

  it('is believed when it lost its reply', async () => {
    const { error, verdict } = await drain([{ on: write, fault: 'lose-reply' }])
    expect(error).toBe('switch_unreachable')
    expect(await verdict()).toBe('done')
  })

  it('that takes effect late is waited for, and nobody else is sent back by it', async () => {
    server.lateMs = 400
    const target = await open(server, { drained: undefined, return: [100] })
    const proposal = await ask(target)
    const drain = stepOf(proposal, 'drain')
    await target.apply(drain, stepAct(drain))
    expect(await target.verify(drain, stepAct(drain))).toMatchObject({ is: 'done' })
    const hasty = await open(server, { drained: undefined, return: [100], takesEffectWithin: '50ms' })
    const [back, away] = [stepOf(proposal, 'return/100'), stepOf(proposal, 'away')]
    await expect(hasty.apply(back, stepAct(back))).rejects.toMatchObject({ code: 'switch_not_taken' })
    await target.apply(away, stepAct(away))
    await expect.poll(() => server.writes.length, { timeout: 10_000 }).toBe(3)
    expect(server.weights).toMatchObject({ live: 0, maintenance: 100 })
  })

  it('is asked again while what it accepted may still show, and only then', async () => {
    const target = await open(server)
    const step = stepOf(await ask(target), 'drain')
    const after = (ms: number) =>
      target.verify(step, stepAct(step, 'r1', new Map([[step.id, { accepted: Date.now() - ms }]])))
    expect(await after(0)).toMatchObject({ is: 'running' })
    expect(await after(60_000)).toMatchObject({ is: 'not-done' })
    expect(await after(-60_000)).toMatchObject({ is: 'not-done' })
  })

  it('that refuses a write is not-done', async () => {
    const { error, verdict } = await drain([{ on: write, fault: '500' }])
    expect(error).toBe('switch_refused')
    expect(await verdict()).toBe('not-done')
  })

  it('that does not answer, or not as agreed, is unknown', async () => {
    const { verdict } = await drain([])
    for (const fault of ['hang', 'reset', '500', 'garbage'] as const) {
      server.faults = [{ on: read, fault }]
      expect(await verdict(), fault).toBe('unknown')
    }
    expect(await verdict()).toBe('done')
  })

  it('cannot be observed, and the error names it without secrets', async () => {
    const target = await open(server)
    server.faults = [{ on: read, fault: 'hang' }]
    const error = await target.observe(new AbortController().signal).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'switch_unreachable', why: 'no answer within 2000 ms' })
    expect(server.authorization).toBe('Bearer t0p-s3cret')
    expect(JSON.stringify(error)).not.toContain('t0p-s3cret')
  })

  it('that counts no requests of a side that is named is unknown, not drained', async () => {
    const target = await open(server, { live: ['live', 'forgotten'] })
    const step = stepOf(await ask(await open(server)), 'drain')
    await expect(target.observe(new AbortController().signal)).rejects.toMatchObject({
      code: 'switch_answer',
      why: '/active does not count forgotten',
    })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'unknown' })
  })

  it('whose ETags cannot serve as a guard is named as that', async () => {
    server.weak = true
    const target = await open(server)
    const step = stepOf(await ask(target), 'drain')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({
      code: 'switch_not_taken',
      next: expect.stringContaining('ifMatch: false'),
    })
    expect(await drain([], { ifMatch: false })).toMatchObject({ error: null })
  })

  it('without ETags is written without a guard', async () => {
    server.etags = false
    expect(await drain([])).toMatchObject({ error: null })
  })
})

describe('a switch with a maintenance mode', () => {
  const mode = () => ({
    maintenance: {
      read: '/maintenance',
      on: { url: `${server.url}/admin/maintenance`, body: 'on' },
      off: { url: `${server.url}/admin/maintenance`, body: 'off' },
    },
  })

  it('is switched on, and off again once the weights are right', async () => {
    const target = await open(server, mode())
    pin = { ...pin, maintenance: false }
    server.set({ canary: 100 })
    const proposal = await ask(target)
    expect(ids(proposal)).toEqual(['drain', 'return/100'])
    const [away, back] = ordered(proposal)
    if (away === undefined || back === undefined) throw new Error('two steps expected')
    await target.apply(away, stepAct(away))
    expect((await fetch(server.url)).status).toBe(503)
    expect(await target.verify(back, stepAct(back))).toMatchObject({ is: 'not-done' })
    await target.apply(back, stepAct(back))
    expect(await (await fetch(server.url)).text()).toBe('live')
    expect(ids(await ask(target, { needs: [] }))).toEqual([])
  })

  it('does not take a pin captured with other settings', async () => {
    const proposal = await ask(await open(server, mode()))
    expect(proposal.findings.map(f => f.code)).toEqual(['pin_of_other_settings'])
  })
})

describe('what is said before anything happens', () => {
  it('blocks where a side is gone', async () => {
    const target = await open(server)
    server.weights = { canary: 100, maintenance: 0 }
    expect((await ask(target)).findings).toMatchObject([{ level: 'blocker', code: 'side_gone' }])
    const other = await open(server, { maintenance: 'sorry', live: undefined })
    expect((await ask(other)).findings.map(f => f.code)).toContain('no_maintenance_side')
  })

  it('warns of a pin that holds the maintenance page, and of a return that nothing watches', async () => {
    const target = await open(server, { gate: undefined })
    pin = { ...pin, weights: { live: 0, canary: 0, maintenance: 100 } }
    const { findings } = await ask(target)
    expect(findings.map(f => f.code)).toEqual(['pin_is_maintenance', 'return_unwatched'])
  })

  it('refuses settings that do not add up', () => {
    const read = { url: 'http://a/', weights: '/w' }
    const bad = [
      { read, maintenance: 'm' },
      { read: { url: 'http://a/' }, maintenance: 'm' },
      { read, write: { url: 'http://a/' }, maintenance: 'm', return: [50, 10, 100] },
      { read, write: { url: 'http://a/' }, maintenance: 'm', return: [10, 50] },
    ]
    expect(bad.map(settings => config.safeParse(settings).success)).toEqual(bad.map(() => false))
  })
})

describe('weights', () => {
  it('are rounded so that the sum stays', () => {
    expect(between({ m: 1 }, { a: 1, b: 1, c: 1, m: 0 }, 50, 100)).toEqual({ a: 17, b: 17, c: 16, m: 50 })
    expect(between({ m: 1 }, { a: 1, m: 0 }, 10, 256)).toEqual({ a: 26, m: 230 })
    expect(between({ m: 1 }, { a: 1, m: 0 }, 25, 1)).toEqual({ a: 0.25, m: 0.75 })
  })

  it('are equal in any scale, but nothing is not a little', () => {
    expect(sameShares({ a: 1, b: 1 }, { a: 128, b: 128 })).toBe(true)
    expect(sameShares({ a: 26, b: 230 }, { a: 10, b: 90 })).toBe(true)
    expect(sameShares({ a: 255, b: 1 }, { a: 1, b: 0 })).toBe(false)
    expect(sameShares({}, { a: 0 })).toBe(true)
  })
})

it('has a page whose example is valid', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../docs/adapters/traffic-http.md'), 'utf8')
  const example = parse(/```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '') as {
    components: { traffic: { adapter: string; settings: unknown } }
  }
  expect(example.components.traffic.adapter).toBe(trafficHttp.kind)
  expect(config.safeParse(example.components.traffic.settings).error).toBeUndefined()
})
