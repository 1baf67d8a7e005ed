import type { Node, Step } from '../core/contract.ts'
import type { Event, RunInfo } from '../core/engine.ts'
import type { Json } from '../core/json.ts'
import { toJson } from '../core/json.ts'
import type { Plan } from '../core/plan.ts'
import type { ReportInput } from './model.ts'

const DAY = Date.parse('2026-03-04T10:00:00.000Z')

/** Writes events one after the other; times are seconds since the run was started. */
export class Story {
  readonly events: Event[] = []
  readonly extra: Event[] = []
  #seq = 100

  tell(seconds: number, type: string, data: Json = null): this {
    this.events.push(this.#event('r1', seconds, type, data))
    return this
  }

  outside(seconds: number, type: string, data: Json): this {
    this.extra.push(this.#event('-', seconds, type, data))
    return this
  }

  step(from: number, until: number, id: string, more: { title?: string; found?: boolean } = {}): this {
    this.tell(from, 'step-begun', { step: id, title: more.title ?? id, estimateMs: 10_000 })
    const ms = (until - from) * 1000
    return this.tell(until, 'step-done', { step: id, ms, found: more.found ?? false, why: 'as wanted' })
  }

  gate(seconds: number, outcome: 'pass' | 'fail' | 'inconclusive', text: string, gate = 'healthy'): this {
    const ok = { pass: true, fail: false, inconclusive: null }[outcome]
    const samples = { api: { ok, value: null, ms: 4, text } }
    return this.tell(seconds, 'gate', { gate, outcome, attempts: 3, ms: 40, at: DAY + seconds * 1000, samples })
  }

  #event(run: string, seconds: number, type: string, data: Json): Event {
    return { seq: ++this.#seq, run, at: at(seconds), type, data, mac: 'ab'.repeat(32) }
  }

  input(state: RunInfo['state'], more: Partial<RunInfo> = {}, plan: Plan = shop()): ReportInput {
    const ended = this.events.findLast(e => e.type === 'run-ended')
    const last = this.events.at(-1)?.at ?? at(0)
    const run: RunInfo = {
      id: 'r1',
      workflow: 'rollback',
      version: 1,
      exclusive: plan.environment,
      state,
      input: toJson({ plan, by: 'ann', reason: 'checkout | pays twice', confirmed: "typed the environment's name" }),
      output: null,
      error: null,
      createdAt: at(0),
      updatedAt: ended?.at ?? last,
      ...more,
    }
    const head = { length: this.#seq, mac: 'cd'.repeat(32) }
    return { run, events: this.events, extra: this.extra, head, now: DAY + 3_600_000 }
  }
}

export function at(seconds: number): string {
  return new Date(DAY + seconds * 1000).toISOString()
}

function step(id: string, title: string, more: Partial<Step> = {}): Step {
  const component = id.split('/')[0] ?? id
  const times = { limitMs: 60_000, retries: 1, estimateMs: 10_000 }
  return { id, component, title, args: null, ...times, onUnknown: 'ask', ...more }
}

/** A plan for a shop: users away, migrations down, the app back, users back. */
export function shop(more: Partial<Plan> = {}): Plan {
  const steps = [
    step('traffic/drain', 'send users to the maintenance page'),
    step('db/backup', 'back up db'),
    step('db/down', 'undo 2 migrations of db', { destructive: true }),
    step('app/switch', 'switch app to v1.2.9'),
    step('traffic/return/100', 'send all users to v1.2.9'),
    step('traffic/away', 'send users to the maintenance page again'),
  ]
  const node = (id: string): Node => ({ step: id })
  const component = (id: string, rung: string, title: string) => ({
    id,
    adapter: id,
    rung,
    tier: 'release' as const,
    title,
    change: { from: 'v1.3.0', to: 'v1.2.9' },
    dependsOn: [],
    fallbacks: ['restore'],
    rejected: [],
    observed: { identity: id, state: 'x', summary: 'v1.3.0' },
  })
  return {
    format: 1,
    hash: 'plan-1',
    parent: null,
    environment: 'production',
    mode: 'full',
    from: 'v1.3.0',
    to: { release: 'v1.2.9', capture: 'c1' },
    components: [component('db', 'down', 'undo the migrations'), component('app', 'switch', 'switch the symlink')],
    steps: Object.fromEntries(steps.map(s => [s.id, s])),
    phases: [
      { phase: 'drain', node: node('traffic/drain'), estimateMs: 10_000 },
      { phase: 'backup', node: node('db/backup'), estimateMs: 10_000 },
      { phase: 'data', node: node('db/down'), estimateMs: 10_000 },
      { phase: 'code', node: node('app/switch'), estimateMs: 10_000 },
      { phase: 'return', node: { seq: [node('traffic/return/100')] }, estimateMs: 10_000 },
    ],
    safe: ['traffic/away'],
    findings: [
      {
        level: 'warning',
        code: 'unproven_backup',
        component: 'db',
        what: 'The backup of db was never proven',
        remedy: 'backout capture v1.2.9',
      },
    ],
    impact: {
      downtimeMs: 50_000,
      loss: [
        {
          what: 'orders.discount',
          count: 14,
          unit: 'values',
          since: at(-7200),
          note: 'kept in the pre-rollback backup',
        },
      ],
      staysBehind: ['table audit'],
      disappears: ['discount codes'],
    },
    envelope: { rungs: {}, loss: [{ what: 'orders.discount', unit: 'values', max: 16 }] },
    estimateMs: 50_000,
    omitted: [],
    onFailure: 'ask',
    configHash: 'c',
    made: { at: at(-60), by: 'ann', version: '0.1.0' },
    ...more,
  }
}

const ASSESSMENT = {
  format: 1,
  id: 'a1',
  at: at(-300),
  by: 'ann',
  severity: 'high',
  dataImpact: 'minor',
  timeToFixMs: 7_200_000,
  affected: { systems: ['shop'], users: ['all of them'], functions: ['pay'] },
  note: 'since the release',
  evidence: [
    { at: at(-300), what: 'gate healthy', ok: false, text: 'fail after 3 attempts', by: null },
    { at: at(-300), what: 'probe healthy/api', ok: false, text: '503 <b>instead</b> of 200', by: null },
    { at: at(-310), what: 'gate healthy', ok: true, text: 'looked fine to me', by: 'bob' },
  ],
  decision: { answer: 'fix-forward', then: null, reasons: ['no row of the shipped matrix fits'], row: null },
  overruled: { at: at(-290), by: 'bob', why: 'it is payday', answer: 'roll-back' },
}

/** Much of what can happen, in one run: a retry, a question, a failed gate with users away again, a pause, a crash. */
export function eventful(): ReportInput {
  return new Story()
    .outside(-7200, 'upgrade-begun', { id: 'u1', from: 'v1.2.9', to: 'v1.3.0' })
    .outside(-300, 'assessment', ASSESSMENT)
    .tell(0, 'run-started', { pid: 41 })
    .tell(1, 'departure', { release: 'departure-r1' })
    .tell(1, 'phase-begun', { phase: 'drain', estimateMs: 10_000, plan: 'plan-1' })
    .step(1, 11, 'traffic/drain')
    .tell(11, 'phase-ended', { phase: 'drain' })
    .tell(11, 'phase-begun', { phase: 'backup', estimateMs: 10_000, plan: 'plan-1' })
    .tell(11, 'step-begun', { step: 'db/backup', title: 'back up db', estimateMs: 10_000 })
    .tell(20, 'run-resumed', { pid: 42 })
    .tell(22, 'fact', { step: 'db/backup', component: 'db', kind: 'kept', text: 'db as it was is kept as backup b-1' })
    .tell(22, 'fact', { step: 'db/backup', component: 'db', kind: 'kept', text: 'db as it was is kept as backup b-1' })
    .tell(23, 'step-done', { step: 'db/backup', ms: 2000, found: true, why: 'the backup is there' })
    .tell(23, 'phase-ended', { phase: 'backup' })
    .tell(23, 'phase-begun', { phase: 'data', estimateMs: 10_000, plan: 'plan-1' })
    .tell(23, 'step-begun', { step: 'db/down', title: 'undo 2 migrations of db', estimateMs: 10_000 })
    .tell(25, 'step-retry', { step: 'db/down', attempt: 1, why: 'SQLITE_BUSY: database is locked\nby 4711' })
    .tell(27, 'fact', { step: 'db/down', component: 'db', kind: 'lost', text: '14 values of orders.discount' })
    .tell(27, 'asked', {
      token: 't1',
      about: 'step',
      step: 'db/down',
      why: 'cannot tell',
      answers: ['done', 'not-done'],
    })
    .tell(27, 'run-state', { state: 'waiting' })
    .tell(87, 'signal', { name: 'answer:t1', value: { do: 'done', by: 'bob', reason: 'I counted the columns' } })
    .tell(87, 'run-state', { state: 'running' })
    .tell(87, 'answered', { token: 't1', step: 'db/down', do: 'done', by: 'bob', reason: 'I counted the columns' })
    .tell(87, 'step-done', { step: 'db/down', ms: 500, found: false, why: 'bob said so: I counted the columns' })
    .tell(87, 'phase-ended', { phase: 'data' })
    .tell(88, 'signal', { name: '$pause', value: { by: 'ann' } })
    .tell(88, 'run-state', { state: 'paused' })
    .tell(118, 'signal', { name: '$resume', value: { by: 'ann' } })
    .tell(118, 'run-state', { state: 'running' })
    .tell(118, 'phase-begun', { phase: 'code', estimateMs: 10_000, plan: 'plan-1' })
    .step(118, 120, 'app/switch')
    .tell(120, 'phase-ended', { phase: 'code' })
    .tell(120, 'phase-begun', { phase: 'return', estimateMs: 10_000, plan: 'plan-1' })
    .step(120, 121, 'traffic/return/100')
    .tell(121, 'gate-begun', { gate: 'healthy', forMs: 0 })
    .gate(122, 'fail', '503 instead of 200')
    .step(122, 123, 'traffic/away')
    .tell(123, 'phase-failed', { phase: 'return', kind: 'gate', what: 'healthy', why: 'failed: api: 503', then: 'ask' })
    .tell(123, 'asked', {
      token: 't2',
      about: 'gate',
      step: 'healthy',
      why: 'failed: api: 503',
      answers: ['retry', 'skip'],
    })
    .tell(123, 'run-state', { state: 'waiting' })
    .tell(153, 'run-state', { state: 'running' })
    .tell(153, 'answered', { token: 't2', do: 'retry', by: 'bob', reason: null })
    .step(153, 154, 'traffic/return/100')
    .tell(154, 'gate-begun', { gate: 'healthy', forMs: 10_000 })
    .gate(155, 'pass', '200')
    .gate(160, 'pass', '200')
    .gate(165, 'pass', '200')
    .tell(165, 'phase-ended', { phase: 'return' })
    .tell(165, 'weather', { sky: 'blue | <i>clear</i>' })
    .tell(166, 'run-ended', { state: 'succeeded', error: null })
    .input('succeeded', { output: { state: 'succeeded', why: null, departure: 'departure-r1', fenced: [] } })
}
