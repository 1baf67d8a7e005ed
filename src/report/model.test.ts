import { describe, expect, it } from 'vitest'
import type { Json } from '../core/json.ts'
import { toJson } from '../core/json.ts'
import { markdownOf } from './markdown.ts'
import { buildReport, type Report } from './model.ts'
import { at, eventful, Story, shop } from './report.fixture.ts'

const reported = buildReport(eventful())
const started = () => new Story().tell(0, 'run-started', { pid: 1 })
const phase = (story: Story, name: string, seconds: number) =>
  story.tell(seconds, 'phase-begun', { phase: name, plan: 'plan-1', estimateMs: 1 })
const failed = (story: Story, more: Parameters<Story['input']>[1] = {}) =>
  buildReport(story.tell(60, 'run-ended', { state: 'failed', error: null }).input('failed', more))

describe('E3: the report of an eventful run', () => {
  it('says which run it was, who started it, how it was confirmed and why', () => {
    expect(reported).toMatchObject({
      format: 1,
      run: 'r1',
      environment: 'production',
      from: 'v1.3.0',
      to: 'v1.2.9',
      state: 'succeeded',
      started: at(0),
      ended: at(166),
      durationMs: 166_000,
      estimateMs: 50_000,
      startedBy: { by: 'ann', confirmed: "typed the environment's name", reason: 'checkout | pays twice' },
      departure: { release: 'departure-r1', revert: 'backout revert r1' },
    })
  })

  it('survives a trip through JSON unchanged', () => {
    expect(JSON.parse(JSON.stringify(reported))).toEqual(reported)
  })

  it('counts the time of phases, what of it nobody worked, and their estimates', () => {
    const rows = reported.phases.map(p => [p.phase, p.state, p.tookMs, p.idleMs, p.estimateMs, p.failures.length])
    expect(rows).toEqual([
      ['drain', 'done', 10_000, 0, 10_000, 0],
      ['backup', 'done', 12_000, 9_000, 10_000, 0],
      ['data', 'done', 64_000, 60_000, 10_000, 0],
      ['code', 'done', 2_000, 0, 10_000, 0],
      ['return', 'done', 45_000, 30_000, 10_000, 1],
    ])
  })

  it('tells of each step its time, retries, what was found done, and who said so', () => {
    const step = (id: string) => reported.steps.find(s => s.id === id)
    expect(step('db/backup')).toMatchObject({ state: 'done', found: true, tookMs: 12_000, retries: 0 })
    expect(step('db/down')).toMatchObject({
      state: 'done',
      retries: 1,
      destructive: true,
      phase: 'data',
      said: { did: 'done', by: 'bob', why: 'I counted the columns' },
    })
    expect(reported.steps.filter(s => s.id === 'traffic/return/100')).toHaveLength(2)
  })

  it('tells a crash from a pause', () => {
    expect(reported.resumes).toEqual([{ at: at(20), after: 'interrupted', goneMs: 9_000 }])
    expect(reported.pauses).toEqual([
      { asked: at(88), by: 'ann', stood: at(88), resumed: at(118), resumedBy: 'ann', ms: 30_000 },
    ])
  })

  it('counts how long its process was gone from what that journalled last, not from the word that took it up again', () => {
    const story = phase(started(), 'code', 1)
      .tell(2, 'step-begun', { step: 'app/apply', title: 'x', estimateMs: 1 })
      .tell(39, 'signal', { name: '$pause', value: { by: 'ann' } })
      .tell(40, 'signal', { name: '$resume', value: { by: 'bob' } })
      .tell(40, 'run-resumed', { pid: 2 })
      .tell(50, 'step-done', { step: 'app/apply', ms: 1, found: false, why: '' })
      .tell(50, 'phase-ended', { phase: 'code' })
    const { resumes, phases } = failed(story)
    expect(resumes).toEqual([{ at: at(40), after: 'interrupted', goneMs: 38_000 }])
    expect(phases.map(p => [p.tookMs, p.idleMs])).toEqual([[49_000, 38_000]])
  })

  it('counts what a retried step told twice once', () => {
    expect(reported.facts.map(f => f.kind)).toEqual(['kept', 'lost'])
  })

  it('does not call lost what went with a restore and was carried forward after it', () => {
    const gone = (component: string) => ({
      step: `${component}/restore/swap`,
      component,
      kind: 'lost',
      text: `3 rows of ${component} went with the restore`,
      data: { what: component, count: 3, unit: 'rows', returns: true },
    })
    const carried = { step: 'a/restore/carry', component: 'a', kind: 'note', text: '3 rows were carried into a' }
    const story = started()
      .tell(1, 'fact', gone('a'))
      .tell(2, 'fact', gone('b'))
      .tell(3, 'fact', { ...carried, data: { carried: 3, proven: true } })
    const report = buildReport(story.input('running'))
    expect(report.facts.map(f => f.kind)).toEqual(['note', 'lost', 'note'])
    expect(report.sideEffects.map(s => s.text)).toEqual(['3 rows of b went with the restore'])
    expect(markdownOf(report)).toContain('Data: lost: 3 rows of b went with the restore; 3 rows were carried into a;')
  })

  it('E7: holds who decided what, when and why, in order', () => {
    expect(reported.decisions.map(d => [d.kind, d.who, d.why])).toEqual([
      ['assessment', 'ann', 'since the release'],
      ['overrule', 'bob', 'it is payday'],
      ['start', 'ann', 'checkout | pays twice'],
      ['answer', 'bob', 'I counted the columns'],
      ['pause', 'ann', null],
      ['resume', 'ann', null],
      ['answer', 'bob', null],
    ])
  })

  it('E7: carries the head of the chain, so that a cut journal shows', () => {
    expect(reported.chain).toMatchObject({ length: 155, mac: 'cd'.repeat(32), events: 53, first: 103, last: 155 })
    expect(markdownOf(reported)).toContain(`backout audit verify --head 155:${'cd'.repeat(32)}`)
  })

  it('shows an event of a type that it does not know as it is', () => {
    expect(reported.timeline.find(t => t.type === 'weather')?.text).toBe('weather {"sky":"blue | <i>clear</i>"}')
    const long = buildReport(started().tell(1, 'long', 'x'.repeat(5000)).input('running')).timeline.at(-1)
    expect(long?.text).toHaveLength('long '.length + 401)
  })

  it('puts what happened before the run into the timeline, with negative offsets', () => {
    expect(reported.timeline.slice(0, 3).map(t => [t.type, t.offsetMs])).toEqual([
      ['upgrade-begun', -7_200_000],
      ['assessment', -300_000],
      ['run-started', 0],
    ])
    expect(reported.timeline).toHaveLength(55)
  })
})

describe('E3: downtime', () => {
  it('is counted from the first drain to the last return, and from the gates, each with how', () => {
    const { plannedMs, traffic, gates } = reported.downtime
    expect(plannedMs).toBe(50_000)
    expect(traffic).toMatchObject({ ms: 153_000, from: at(1), until: at(154) })
    expect(traffic.how).toContain('first drain step begun (traffic/drain) to the last return step done')
    expect(gates).toMatchObject({ ms: 455_000, from: at(-300), until: at(155) })
  })

  it('says not measured where nothing measured it', () => {
    const { downtime } = buildReport(started().input('running'))
    expect(downtime.traffic).toMatchObject({ ms: null, from: null })
    expect(downtime.traffic.how).toContain('not measured')
    expect(downtime.gates.how).toBe('not measured: no gate was asked')
  })

  it('is not over while users are not back', () => {
    const story = phase(started(), 'drain', 1).step(1, 2, 'traffic/drain')
    expect(failed(story).downtime.traffic).toMatchObject({ ms: null, from: at(1), until: null })
    expect(markdownOf(failed(story))).toContain('Users away by the traffic steps: since 2026-03-04T10:00:01Z, not back')
  })

  it('is not over where they were sent away again', () => {
    const story = phase(phase(started(), 'drain', 1).step(1, 2, 'traffic/drain'), 'return', 3)
    const { traffic } = failed(story.step(3, 4, 'traffic/return/100').step(5, 6, 'traffic/away')).downtime
    expect(traffic).toMatchObject({ ms: null, until: null })
    expect(traffic.how).toContain('sent away again by traffic/away')
  })

  it('goes by the order of the journal where all happens within one millisecond', () => {
    const story = phase(phase(started(), 'drain', 1).step(1, 1, 'traffic/drain'), 'return', 1)
    story.step(1, 1, 'traffic/return/100').step(1, 1, 'traffic/away')
    expect(failed(story).downtime.traffic.until).toBeNull()
    expect(failed(story.step(1, 1, 'traffic/return/100')).downtime.traffic).toMatchObject({ ms: 0, until: at(1) })
  })

  it('begins with the stop where nothing is drained', () => {
    const story = phase(phase(started(), 'stop', 1).step(1, 2, 'app/stop'), 'return', 3).step(
      3,
      4,
      'traffic/return/100',
    )
    expect(failed(story).downtime.traffic).toMatchObject({ ms: 3000, from: at(1), until: at(4) })
  })

  it('is open where a gate was not seen passing again; inconclusive is no pass', () => {
    const story = started().gate(1, 'pass', 'ok').gate(2, 'fail', 'no').gate(3, 'inconclusive', 'no data')
    expect(failed(story).downtime.gates).toMatchObject({ ms: null, from: at(2), until: null })
    const never = started().gate(1, 'inconclusive', 'no data')
    expect(failed(never).downtime.gates.how).toContain('some measurements were inconclusive')
  })
})

describe('E3: what is not as planned', () => {
  const left = (report: Report) => report.left.map(l => [l.what, l.is])

  it('names steps that failed, were left unfinished or never begun, and gates that do not pass', () => {
    const story = phase(started(), 'drain', 1).step(1, 2, 'traffic/drain')
    phase(story, 'backup', 2).tell(2, 'step-begun', { step: 'db/backup' })
    phase(story, 'data', 3)
      .tell(3, 'step-begun', { step: 'db/down' })
      .tell(4, 'step-failed', { step: 'db/down', why: 'no' })
    expect(left(failed(story.gate(5, 'fail', '503')))).toEqual([
      ['gate healthy', 'failed'],
      ['db/backup', 'unfinished'],
      ['db/down', 'failed'],
      ['app/switch', 'not begun'],
      ['traffic/return/100', 'not begun'],
    ])
  })

  it('does not call undone what is yet to come', () => {
    const story = phase(started(), 'drain', 1).tell(1, 'step-begun', { step: 'traffic/drain' })
    const report = buildReport(story.input('running'))
    expect(report.left).toEqual([])
    expect([report.ended, report.durationMs]).toEqual([null, 3_600_000])
    expect(markdownOf(report)).toContain(
      '**production is being taken back** from v1.3.0 to v1.2.9: the run is running.',
    )
  })

  it('keeps fenced, unfenced and tolerated targets apart', () => {
    const fence = (step: string, fenced: boolean) => ({
      step,
      component: 'app',
      fenced,
      why: 'timeout',
      fence: 'no route',
    })
    const story = phase(started(), 'code', 1)
      .tell(1, 'step-begun', { step: 'app/switch' })
      .tell(2, 'fenced', fence('app/switch', true))
      .tell(3, 'step-begun', { step: 'db/down' })
      .tell(4, 'fenced', fence('db/down', false))
      .tell(5, 'tolerated', { what: 'app/switch', why: 'timeout; kept away from users' })
      .tell(5, 'tolerated', { what: 'db/backup', why: 'disk full' })
    const rows = left(buildReport(story.input('running')))
    expect(rows).toEqual([
      ['app/switch', 'fenced'],
      ['db/down', 'not fenced'],
      ['db/backup', 'tolerated'],
    ])
    expect(buildReport(story.input('running')).timeline.at(-3)?.text).toContain(
      'could NOT be kept away from users (no route)',
    )
  })

  it('says who skipped a step or a gate, and why, and does not call such a run clean', () => {
    const story = phase(started(), 'code', 1)
      .tell(1, 'step-begun', { step: 'app/switch' })
      .tell(2, 'step-failed', { step: 'app/switch', why: 'image gone' })
      .tell(3, 'asked', { token: 't', about: 'failure', step: 'app/switch', why: 'image gone', answers: ['skip'] })
      .tell(4, 'answered', { token: 't', do: 'skip', by: 'bob', reason: 'by hand' })
      .gate(5, 'fail', '503')
      .tell(6, 'asked', { token: 'g', about: 'gate', step: 'healthy', why: '503', answers: ['skip'] })
      .tell(7, 'answered', { token: 'g', do: 'skip', by: 'ann', reason: 'flaky' })
      .tell(8, 'run-ended', { state: 'succeeded', error: null })
    const report = buildReport(story.input('succeeded'))
    expect(report.left.slice(0, 2)).toEqual([
      { what: 'gate healthy', is: 'skipped', why: 'flaky', by: 'ann' },
      { what: 'app/switch', is: 'skipped', why: 'by hand', by: 'bob' },
    ])
    expect(report.decisions.filter(d => d.kind === 'skip').map(d => d.who)).toEqual(['bob', 'ann'])
    expect(markdownOf(report)).toContain('Not as planned: gate healthy skipped, app/switch skipped,')
  })
})

describe('E5: side effects', () => {
  it('say what stays, what was kept and lost, and what that means', () => {
    expect(reported.sideEffects.map(s => [s.text, s.from])).toEqual([
      ['table audit', 'plan'],
      ['db as it was is kept as backup b-1', 'fact'],
      ['14 values of orders.discount', 'fact'],
      ['the data impact was assessed as minor', 'assessment'],
    ])
    expect(reported.sideEffects.every(s => s.means.length > 0)).toBe(true)
  })

  it('are none where nothing was touched', () => {
    const story = started().tell(1, 'plan-moved', { planned: 'a', now: 'b', differences: ['app changed'] })
    const report = failed(story, { output: { state: 'failed', why: 'moved: app changed' } })
    expect([report.moved, report.sideEffects, report.left, report.departure]).toEqual([['app changed'], [], [], null])
    expect(markdownOf(report)).toContain('**production was not touched**')
  })
})

describe('E3: what the events do not say', () => {
  it('is not known, where the input is of another kind', () => {
    const odd: Json[] = [null, 'text', { plan: 1 }, { plan: { hash: 'x', steps: {}, phases: 'no', components: [] } }]
    for (const input of odd) {
      const report = buildReport(started().input('running', { input }))
      expect(report).toMatchObject({ environment: 'production', from: null, to: null, estimateMs: null, plans: [] })
      expect(markdownOf(report)).toContain('The plan is not known.')
    }
  })

  it('is borne: every event may lack everything', () => {
    const types = [
      ...new Set(eventful().events.map(e => e.type)),
      'fenced',
      'tolerated',
      'plan-successor',
      'watch-superseded',
    ]
    for (const data of [null, {}, [], 'x', { samples: 3, exclude: [null], value: [] }] as Json[]) {
      const story = new Story().outside(-1, 'assessment', data).outside(-1, 'marked', data)
      for (const type of types) story.tell(1, type, data)
      expect(buildReport(story.input('failed')).timeline).toHaveLength(types.length + 2)
      expect(markdownOf(buildReport(story.input('failed')))).toContain('## Timeline')
    }
  })

  it('makes a report of a run without any event', () => {
    const report = buildReport(new Story().input('pending', { input: toJson({ plan: shop() }) }))
    expect(report).toMatchObject({ state: 'pending', started: at(0), ended: null, timeline: [], steps: [] })
    expect(report.chain).toMatchObject({ events: 0, first: null, last: null })
  })
})
