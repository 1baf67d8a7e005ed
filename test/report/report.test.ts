import { afterEach, describe, expect, it } from 'vitest'
import type { Event } from '../../src/core/engine.ts'
import { defineRollback, ROLLBACK } from '../../src/core/executor/rollback.ts'
import { toJson } from '../../src/core/json.ts'
import { assess, overrule } from '../../src/decide/assessment.ts'
import { NOTHING_KNOWN } from '../../src/decide/matrix.ts'
import { memoryStore } from '../../src/engine/memory/store.ts'
import { Runtime } from '../../src/engine/runtime.ts'
import type { Store } from '../../src/engine/store.ts'
import { markdownOf } from '../../src/report/markdown.ts'
import { buildReport } from '../../src/report/model.ts'
import type { MemorySystem } from '../conformance/memory.ts'
import { fail, type MemoryEnvironment, type MemoryTraffic, memoryWorld, pass } from '../support/memory-world.ts'

const engines: Runtime[] = []
afterEach(() => Promise.all(engines.splice(0).map(e => e.close())))

function system(name: string, more: Partial<MemorySystem> = {}): MemorySystem {
  return { name, version: 'B', applied: {}, ...more }
}

const withTraffic = (gate = 'healthy'): MemoryTraffic => ({ live: 100, log: [], gate })

async function all(events: AsyncIterable<Event>): Promise<Event[]> {
  const out: Event[] = []
  for await (const event of events) out.push(event)
  return out
}

/** A real run over a world of variables, and the report made of what it journalled. */
async function start(env: MemoryEnvironment, store: Store = memoryStore(), planned = () => {}) {
  const { world, plan } = memoryWorld(env)
  const made = await plan()
  planned()
  const open = async () => {
    const engine = new Runtime({ ...store, close: async () => {} }, { pollMs: 5 })
    engines.push(engine)
    await engine.open({ worker: true })
    defineRollback(engine, world)
    return engine
  }
  let engine = await open()
  const input = toJson({ plan: made, by: 'me', reason: 'it is broken', confirmed: '--yes' })
  const go = () => engine.start(ROLLBACK, 'r1', input, { exclusive: 'test' })
  await go()
  const report = async () => {
    const run = await engine.get('r1')
    if (run === null) throw new Error('no run')
    const extra = (await all(engine.events('*'))).filter(e => e.run === '-')
    const events = await all(engine.events('r1'))
    const now = Date.now()
    const made = buildReport({ run, events, extra, head: await engine.head(), now })
    expect(made.timeline).toHaveLength(events.length + extra.length)
    expect(made.timeline.filter(t => t.text.startsWith(`${t.type} {`))).toEqual([])
    return { ...made, text: markdownOf(made) }
  }
  const answer = async (say: string) => {
    const asked = (await all(engine.events('r1'))).findLast(e => e.type === 'asked')
    const token = (asked?.data as { token?: string } | undefined)?.token ?? 'none'
    await engine.signal('r1', `answer:${token}`, { do: say, by: 'bob', reason: 'looked' }, `${token}-${say}`)
  }
  return {
    report,
    answer,
    engine: () => engine,
    settled: () => engine.settled('r1'),
    reopen: async () => {
      engine = await open()
      await go()
    },
  }
}

describe('E3: reports of real runs', () => {
  it('a straight one', async () => {
    const systems = { app: system('app'), db: system('db') }
    const run = await start({
      systems,
      dependsOn: { app: ['db'], traffic: ['app'] },
      traffic: withTraffic(),
      verify: ['smoke'],
    })
    expect((await run.settled()).state).toBe('succeeded')
    const report = await run.report()
    expect(report).toMatchObject({
      state: 'succeeded',
      from: 'B',
      to: 'A',
      left: [],
      falls: [],
      pauses: [],
      resumes: [],
    })
    expect(report.phases.map(p => [p.phase, p.state])).toEqual(
      ['drain', 'code', 'verify', 'return'].map(p => [p, 'done']),
    )
    expect(report.steps.map(s => [s.id, s.phase, s.state])).toEqual([
      ['traffic/drain', 'drain', 'done'],
      ['db/set', 'code', 'done'],
      ['app/set', 'code', 'done'],
      ['traffic/return/50', 'return', 'done'],
      ['traffic/return/100', 'return', 'done'],
    ])
    expect(report.gates.map(g => [g.gate, g.phase, g.outcome])).toEqual([
      ['smoke', 'verify', 'pass'],
      ['healthy', 'return', 'pass'],
      ['healthy', 'return', 'pass'],
    ])
    expect(report.downtime.traffic).toMatchObject({ from: report.steps[0]?.begun, until: report.steps[4]?.ended })
    expect(report.downtime.gates.how).toBe('not measured: no gate was seen failing')
    expect(report.departure?.release).toBe('departure')
    expect(report.chain).toMatchObject({ length: report.chain.last, first: 1 })
    expect(report.text).toContain('**test was taken back** from B to A.')
  })

  it('one whose gate failed, until somebody said to try again', async () => {
    let asked = 0
    const run = await start({
      systems: { app: system('app') },
      dependsOn: { traffic: ['app'] },
      traffic: withTraffic(),
      gates: { healthy: () => (++asked === 2 ? fail : pass) },
    })
    expect((await run.settled()).state).toBe('waiting')
    const during = await run.report()
    expect(during).toMatchObject({ state: 'waiting', ended: null })
    expect(during.downtime.traffic).toMatchObject({ ms: null, until: null })
    expect(during.idle.at(-1)).toMatchObject({ kind: 'waiting', until: null })
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
    const report = await run.report()
    expect(report.gates.map(g => g.outcome)).toEqual(['pass', 'fail', 'pass', 'pass'])
    expect(report.phases.find(p => p.phase === 'return')?.failures).toMatchObject([
      { what: 'healthy', why: 'failed: healthy: broken' },
    ])
    expect(report.decisions.at(-1)).toMatchObject({ kind: 'answer', who: 'bob', why: 'looked' })
    expect(report.downtime.traffic.until).toBe(report.steps.at(-1)?.ended)
    expect(report.downtime.gates.ms).not.toBeNull()
    expect(report.left).toEqual([])
  })

  it('C12: one that fell to the next rung, with an approval', async () => {
    const onApply = (step: { id: string }) => {
      if (step.id === 'app/set') throw new Error('image gone')
    }
    const run = await start({ systems: { app: system('app', { onApply }) }, onFailure: 'take' })
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('approve')
    expect((await run.settled()).state).toBe('succeeded')
    const report = await run.report()
    expect(report.falls).toMatchObject([
      {
        component: 'app',
        from: 'set',
        to: 'rebuild',
        by: 'policy',
        approvedBy: 'bob',
        taken: true,
        beyond: ['app would be taken back by "rebuild"'],
      },
    ])
    expect(report.falls[0]?.why).toContain('image gone')
    expect(report.text).toMatch(/## Not as planned\n\n\|.*\n\|.*\n\| app +\| fell to /)
    expect(report.plans.map(p => [p.run, p.parent])).toEqual([
      [true, null],
      [true, report.plans[0]?.hash],
    ])
    expect(report.steps.map(s => [s.id, s.state, s.retries])).toEqual([
      ['app/set', 'failed', 1],
      ['app/rebuild', 'done', 0],
    ])
    expect(report.left).toEqual([])
    expect(report.decisions.map(d => d.kind)).toEqual(['start', 'approval'])
  })

  it('C12: one where a person chose the next rung', async () => {
    const onApply = (step: { id: string }) => {
      if (step.id === 'app/set') throw new Error('image gone')
    }
    const run = await start({ systems: { app: system('app', { onApply }) } })
    await run.settled()
    await run.answer('next-rung')
    await run.settled()
    await run.answer('stop')
    expect((await run.settled()).state).toBe('failed')
    const report = await run.report()
    expect(report.falls).toMatchObject([{ by: 'bob', approvedBy: null, taken: false }])
    expect(report.plans.map(p => p.run)).toEqual([true, false])
    expect(report.left).toMatchObject([{ what: 'app/set', is: 'failed' }])
    expect(report.text).toContain('**test was NOT taken back**')
  })

  it('an aborted one, with users sent to safety', async () => {
    const app = system('app')
    const db = system('db')
    const dependsOn = { app: ['db'], traffic: ['app'] }
    const run = await start({ systems: { db, app }, dependsOn, traffic: withTraffic() })
    db.onApply = () => run.engine().signal('r1', '$cancel', { by: 'ann', reason: 'wrong release' }, 'c1')
    expect((await run.settled()).state).toBe('aborted')
    const report = await run.report()
    expect(report.decisions.at(-1)).toMatchObject({ kind: 'abort', who: 'ann', why: 'wrong release' })
    expect(report.downtime.traffic).toMatchObject({ ms: null, until: null })
    expect(report.left.map(l => [l.what, l.is])).toEqual([
      ...['app/set', 'traffic/return/50', 'traffic/return/100'].map(s => [s, 'not begun']),
      ['gate healthy', 'not asked'],
    ])
    expect(report.components.map(c => [c.component, c.is])).toEqual([
      ['db', 'done'],
      ['app', 'not begun'],
      ['traffic', 'partly done'],
    ])
    expect(report.text).toContain('**was aborted** by ann: wrong release')
    expect(report.text).toContain('**was aborted**')
  })

  it('C16: one whose process went away in the middle of a step', async () => {
    const app = system('app')
    let closing: Promise<void> | undefined
    const run = await start({ systems: { app, db: system('db') }, dependsOn: { app: ['db'] } })
    app.onApply = () => {
      closing ??= run.engine().close()
      app.version = 'A'
    }
    await run.settled()
    await closing
    const between = await run.report()
    expect(between).toMatchObject({ state: 'running', ended: null })
    expect(between.steps.at(-1)).toMatchObject({ id: 'app/set', state: 'unfinished', tookMs: null })
    await run.reopen()
    expect((await run.settled()).state).toBe('succeeded')
    const report = await run.report()
    expect(report.resumes).toMatchObject([{ after: 'interrupted' }])
    expect(report.idle).toMatchObject([{ kind: 'gone', until: report.resumes[0]?.at }])
    expect(report.steps.map(s => [s.id, s.state, s.found])).toEqual([
      ['db/set', 'done', false],
      ['app/set', 'done', true],
    ])
    expect(report.left).toEqual([])
    expect(report.text).toContain('taken up again after its process was gone')
  })

  it('a paused one, taken up by another process and let go on', async () => {
    const db = system('db')
    const run = await start({ systems: { app: system('app'), db }, dependsOn: { app: ['db'] } })
    db.onApply = () => run.engine().signal('r1', '$pause', { by: 'ann' }, 'p1')
    expect((await run.settled()).state).toBe('paused')
    const during = await run.report()
    expect(during.pauses).toMatchObject([{ by: 'ann', resumed: null, ms: null }])
    expect(during.pauses[0]?.stood).not.toBeNull()
    await run.engine().close()
    await run.reopen()
    await run.settled()
    await run.engine().signal('r1', '$resume', { by: 'bob' }, 'g1')
    expect((await run.settled()).state).toBe('succeeded')
    const report = await run.report()
    expect(report.pauses).toMatchObject([{ by: 'ann', resumedBy: 'bob' }])
    expect(report.resumes).toMatchObject([{ after: 'paused' }])
    expect(report.decisions.map(d => d.kind)).toEqual(['start', 'pause', 'resume'])
  })

  it('one that skipped a step', async () => {
    const onApply = () => {
      throw new Error('never')
    }
    const run = await start({ systems: { app: system('app', { onApply }) } })
    await run.settled()
    await run.answer('skip')
    expect((await run.settled()).state).toBe('succeeded')
    const report = await run.report()
    expect(report.left).toEqual([{ what: 'app/set', is: 'skipped', why: 'looked', by: 'bob' }])
    expect(report.text).toContain('Not as planned: app/set skipped.')
  })

  it('one where a person spoke for a target that could not', async () => {
    const app = system('app', { onVerify: () => ({ is: 'unknown', why: 'connection refused' }) })
    const run = await start({ systems: { app } })
    await run.settled()
    await run.answer('done')
    await run.settled()
    const report = await run.report()
    expect(report.steps).toMatchObject([{ state: 'done', said: { did: 'done', by: 'bob', why: 'looked' } }])
  })

  it('one that touched nothing, because the world had moved', async () => {
    const app = system('app')
    const run = await start({ systems: { app } }, memoryStore(), () => void (app.version = 'C'))
    expect((await run.settled()).state).toBe('failed')
    const report = await run.report()
    expect(report).toMatchObject({
      moved: ['app changed: it was "B", now "C"'],
      steps: [],
      left: [],
      sideEffects: [],
      departure: null,
    })
    expect(report.text).toContain('**test was not touched**')
  })

  it('B2, B3: tells an assessment as it was journalled, with who overruled it', async () => {
    const store = memoryStore()
    const recorder = new Runtime({ ...store, close: async () => {} })
    const { blockers, loss, rollbackMs, migrationsBetween } = NOTHING_KNOWN
    const assessment = assess(
      {
        id: null,
        at: '2026-01-02T03:04:05.000Z',
        by: 'ann',
        severity: 'critical',
        dataImpact: 'corruption',
        timeToFixMs: 60_000,
        affected: { systems: ['shop'], users: [], functions: ['pay'] },
        note: null,
        evidence: [{ at: '2026-01-02T03:04:00.000Z', what: 'gate healthy', ok: false, text: 'fail', by: null }],
        migrationsBetween,
        rollbackMs,
        loss,
        blockers: [...blockers],
      },
      null,
    )
    const at = '2026-01-02T03:05:00.000Z'
    const kept = overrule(assessment, { at, by: 'bob', why: 'payday', answer: 'roll-back' })
    await recorder.record('assessment', toJson(kept))
    const run = await start({ systems: { app: system('app') }, verify: ['healthy'] }, store)
    await run.settled()
    const report = await run.report()
    expect(report.assessments).toMatchObject([
      {
        by: 'ann',
        severity: 'critical',
        timeToFixMs: 60_000,
        affected: { systems: ['shop'], functions: ['pay'] },
        answer: 'offline-first',
        then: null,
        reasons: assessment.decision.reasons,
        overruled: { by: 'bob', why: 'payday', answer: 'roll-back' },
      },
    ])
    expect(report.downtime.gates).toMatchObject({ from: '2026-01-02T03:04:00.000Z', until: report.gates[0]?.last })
    expect(report.decisions.slice(0, 2).map(d => d.kind)).toEqual(['assessment', 'overrule'])
  })
})
