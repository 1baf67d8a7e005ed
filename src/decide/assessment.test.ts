import { describe, expect, it } from 'vitest'
import { BackoutError } from '../core/errors.ts'
import type { GateResult } from '../core/gate.ts'
import { toJson } from '../core/json.ts'
import { answerOf, assess, assessmentLines, evidenceOf, type Judgement, overrule, weighedBy } from './assessment.ts'

const AT = '2026-01-02T03:04:05.000Z'
const sample = { ok: false, value: 503, ms: 3, text: '503 instead of 200' }
const gate: GateResult = {
  gate: 'healthy',
  outcome: 'fail',
  attempts: 3,
  ms: 12,
  at: Date.parse(AT),
  samples: { api: sample, orders: { ok: null, value: null, ms: 9, text: 'no data' } },
}
const judgement: Judgement = {
  id: 'a1',
  at: AT,
  by: 'ann',
  severity: 'critical',
  dataImpact: 'none',
  timeToFixMs: 45 * 60_000,
  affected: { systems: ['shop'], users: ['all'], functions: ['pay'] },
  note: 'since 03:00',
  evidence: evidenceOf(gate),
  migrationsBetween: 0,
  rollbackMs: 120_000,
  loss: [],
  blockers: [],
}

function codeOf(act: () => unknown): string | null {
  try {
    act()
  } catch (error) {
    return error instanceof BackoutError ? error.code : 'other'
  }
  return null
}

describe('B2: an assessment', () => {
  it('keeps a measured gate and its probes as evidence with their times; no data is not well', () => {
    const measured = { at: AT, by: null }
    expect(evidenceOf(gate)).toEqual([
      { ...measured, what: 'gate healthy', ok: false, text: 'fail after 3 attempts' },
      { ...measured, what: 'probe healthy/api', ok: false, text: '503 instead of 200' },
      { ...measured, what: 'probe healthy/orders', ok: null, text: 'no data' },
    ])
    expect(evidenceOf({ ...gate, outcome: 'inconclusive', attempts: 1, samples: {} })).toEqual([
      { ...measured, what: 'gate healthy', ok: null, text: 'inconclusive' },
    ])
  })

  it('B1: leads to a decision that names what was measured', () => {
    const { decision } = assess(judgement, null)
    expect(decision.answer).toBe('roll-back')
    expect(decision.reasons).toContain(
      `measured and not well: probe healthy/orders: inconclusive, no data (measured, ${AT})`,
    )
    expect(decision.reasons).toContain('for going back: it takes about 2 min by the plan, a fix 45 min')
  })

  it('survives the journal unchanged', () => {
    const assessment = assess(judgement, null)
    expect(toJson(assessment)).toEqual(assessment)
  })

  it('takes what is to be weighed from a plan', () => {
    const blocker = { level: 'blocker', code: 'x', component: null, what: 'no image', remedy: 'y' } as const
    const impact = { downtimeMs: 1, loss: [], staysBehind: [], disappears: [] }
    const plan = { estimateMs: 9, impact, findings: [blocker] } as unknown as Parameters<typeof weighedBy>[0]
    expect(weighedBy(plan)).toEqual({ rollbackMs: 9, loss: [], blockers: ['no image'] })
  })

  it('refuses what cannot be meant', () => {
    for (const wrong of [{ by: ' ' }, { timeToFixMs: -1 }, { timeToFixMs: Number.NaN }, { rollbackMs: Infinity }]) {
      expect(codeOf(() => assess({ ...judgement, ...wrong }, null))).toBe('assessment_invalid')
    }
  })
})

describe('B3: overruling', () => {
  const assessment = assess(judgement, null)
  const overruling = { at: AT, by: 'bob', why: 'the fix is in review', answer: 'fix-forward' } as const

  it('keeps who and why beside the answer of the matrix', () => {
    const overruled = overrule(assessment, overruling)
    expect(answerOf(assessment)).toBe('roll-back')
    expect(answerOf(overruled)).toBe('fix-forward')
    expect(overruled.decision).toEqual(assessment.decision)
    expect(overruled.overruled).toEqual(overruling)
  })

  it.each([{ by: '' }, { why: ' ' }, { answer: 'roll-back' as const }])('is refused with %j', wrong => {
    expect(codeOf(() => overrule(assessment, { ...overruling, ...wrong }))).toBe('overrule_invalid')
  })

  it('can be overruled back to what the matrix said', () => {
    const back = overrule(overrule(assessment, overruling), {
      ...overruling,
      answer: 'roll-back',
      why: 'review failed',
    })
    expect(answerOf(back)).toBe('roll-back')
  })

  it('shows in the lines for people', () => {
    const lines = assessmentLines(overrule(assessment, overruling))
    expect(lines).toContain(`Assessed: critical, data impact none, a fix takes 45 min (ann, ${AT})`)
    expect(lines).toContain('Functions: pay')
    expect(lines).toContain(`Evidence: probe healthy/api: not well: 503 instead of 200 (measured, ${AT})`)
    expect(lines).toContain('The matrix says: roll back')
    expect(lines.at(-1)).toBe(`Overruled by bob (${AT}): fix forward, because the fix is in review`)
  })

  it('shows what comes after going offline', () => {
    const corrupt = assess({ ...judgement, dataImpact: 'corruption' }, null)
    expect(assessmentLines(corrupt)).toContain('The matrix says: take it offline at once, then roll back')
  })
})
