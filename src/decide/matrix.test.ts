import { describe, expect, it } from 'vitest'
import type { MatrixRow } from '../config/schema.ts'
import { type Answer, type DataImpact, decide, NOTHING_KNOWN, type Severity, SHIPPED } from './matrix.ts'

const MIN = 60_000
const judged = (severity: Severity, dataImpact: DataImpact, timeToFixMs: number | null) => ({
  severity,
  dataImpact,
  timeToFixMs,
})

type Case = [Severity, DataImpact, number | null, Answer, number | null]

describe('B3: the shipped matrix', () => {
  it.each<Case>([
    ['critical', 'none', 30 * MIN + 1, 'roll-back', 1],
    ['critical', 'none', 30 * MIN, 'fix-forward', null],
    ['critical', 'none', 0, 'fix-forward', null],
    ['critical', 'none', null, 'roll-back', 1],
    ['critical', 'minor', 90 * MIN, 'fix-forward', null],
    ['critical', 'major', null, 'fix-forward', null],
    ['high', 'minor', 60 * MIN + 1, 'roll-back', 2],
    ['high', 'minor', 60 * MIN, 'fix-forward', null],
    ['high', 'minor', null, 'roll-back', 2],
    ['high', 'none', 90 * MIN, 'fix-forward', null],
    ['medium', 'none', 120 * MIN + 1, 'consider', 3],
    ['medium', 'none', 120 * MIN, 'fix-forward', null],
    ['medium', 'none', null, 'consider', 3],
    ['low', 'none', 0, 'fix-forward', 4],
    ['low', 'none', 1e9, 'fix-forward', 4],
    ['low', 'none', null, 'fix-forward', 4],
    ['low', 'major', null, 'fix-forward', null],
  ])('%s, data impact %s, fix %s ms: %s by row %s', (severity, impact, fix, answer, row) => {
    const decision = decide(judged(severity, impact, fix), null, NOTHING_KNOWN)
    expect([decision.answer, decision.row?.number ?? null, decision.then]).toEqual([answer, row, null])
    expect(decision.reasons.length).toBeGreaterThan(0)
    if (row !== null) expect(decision.reasons[0]).toContain(`row ${row} of the shipped matrix`)
    if (row !== null) expect(decision.row?.rule).toBe(SHIPPED[row - 1])
  })

  it('names the row and what it was held against', () => {
    const { reasons } = decide(judged('critical', 'none', 45 * MIN), null, NOTHING_KNOWN)
    expect(reasons).toEqual([
      'row 1 of the shipped matrix (critical, data impact none, fix longer than 30 min) says roll back; it is critical, data impact none, a fix takes 45 min',
      'no plan says how long going back would take',
      'how many migrations lie between the releases is not known',
      'no plan says what data going back would lose',
    ])
  })

  it('says that an unknown time to fix counts as longer than every limit', () => {
    const { reasons } = decide(judged('critical', 'none', null), null, NOTHING_KNOWN)
    expect(reasons).toContain('the time to fix is not known: it counts as longer than every limit')
  })

  it('where no row fits, fixes forward and says what kept the nearest rows from fitting', () => {
    const decision = decide(judged('high', 'none', 60 * MIN), null, { ...NOTHING_KNOWN, migrationsBetween: 2 })
    expect(decision.row).toBeNull()
    expect(decision.reasons).toEqual([
      'no row of the shipped matrix fits: high, data impact none, a fix takes 1 h',
      'row 2 of the shipped matrix (high, data impact minor, fix longer than 1 h) says roll back, but the data impact is none and a fix takes 1 h, which is not longer than 1 h',
      'where no row fits, fixing forward comes first and going back is the last resort, the more so as 2 migrations lie between the releases',
    ])
  })

  it.each<[number | null, string]>([
    [0, 'where no row fits, fixing forward comes first and going back is the last resort'],
    [1, 'the more so as 1 migration lies between the releases'],
    [null, 'how many migrations lie between is not known'],
  ])('weighs %s migrations between', (migrationsBetween, text) => {
    const { reasons } = decide(judged('critical', 'major', MIN), null, { ...NOTHING_KNOWN, migrationsBetween })
    expect(reasons.at(-1)).toContain(text)
  })
})

describe('B3: what is weighed for "consider"', () => {
  const loss = [{ what: 'orders.discount', count: 14, unit: 'values', since: null, note: '' }]

  it('names failing gates, the times, migrations and loss', () => {
    const { reasons } = decide(judged('medium', 'none', 180 * MIN), null, {
      rollbackMs: 5 * MIN,
      migrationsBetween: 1,
      loss,
      blockers: ['the image is gone'],
      failing: ['gate pay: fail'],
    })
    expect(reasons.slice(1)).toEqual([
      'measured and not well: gate pay: fail',
      'for going back: it takes about 5 min by the plan, a fix 3 h',
      'against going back: the plan is blocked now: the image is gone',
      'against going back: 1 migration lies between the releases',
      'against going back: by the plan 14 values of orders.discount would be lost',
    ])
  })

  it('turns each of them round where it speaks for the other side', () => {
    const { reasons } = decide(judged('medium', 'none', 180 * MIN), null, {
      ...NOTHING_KNOWN,
      rollbackMs: 240 * MIN,
      migrationsBetween: 0,
      loss: [{ what: 'carts', count: 0, unit: 'rows', since: null, note: '' }],
    })
    expect(reasons.slice(1)).toEqual([
      'against going back: it takes about 4 h by the plan, a fix 3 h',
      'for going back: no migration lies between the releases',
      'for going back: by the plan no data is lost',
    ])
  })
})

describe('B3: corruption that goes on', () => {
  type Smaller = [number | null, number | null, string[], 'roll-back' | 'fix-forward' | null, string]
  it.each<Smaller>([
    [5 * MIN, 60 * MIN, [], 'roll-back', 'the smaller: going back takes about 5 min by the plan, a fix 1 h'],
    [60 * MIN, 5 * MIN, [], 'fix-forward', 'the smaller: going back takes about 1 h by the plan, a fix 5 min'],
    [5 * MIN, 5 * MIN, [], 'fix-forward', 'neither is smaller'],
    [5 * MIN, null, [], 'roll-back', 'the time to fix is not known'],
    [null, 5 * MIN, [], null, 'cannot be told: a fix takes 5 min, going back is not known'],
    [null, null, [], null, 'cannot be told: neither time is known'],
    [1, 60 * MIN, ['no image'], 'fix-forward', 'the plan to go back is blocked'],
  ])('back %s ms, fix %s ms, blockers %j: offline first, then %s', (rollbackMs, fix, blockers, then, why) => {
    for (const severity of ['critical', 'low'] as const) {
      const decision = decide(judged(severity, 'corruption', fix), null, { ...NOTHING_KNOWN, rollbackMs, blockers })
      expect([decision.answer, decision.then, decision.row]).toEqual(['offline-first', then, null])
      expect(decision.reasons[0]).toContain('offline at once')
      expect(decision.reasons[1]).toContain(why)
    }
  })

  const own: MatrixRow[] = [{ severity: 'critical', fixLongerThan: 0, answer: 'fix-forward' }]

  it('goes offline first under a matrix of your own too, whose row decides what comes then', () => {
    const situation = judged('critical', 'corruption', 60 * MIN)
    const decision = decide(situation, own, { ...NOTHING_KNOWN, rollbackMs: MIN })
    expect([decision.answer, decision.then, decision.row?.number]).toEqual(['offline-first', 'fix-forward', 1])
    expect(decision.reasons[1]).toContain('row 1 of policy.matrix (critical, any data impact, any time to fix)')
  })

  it('takes the smaller where that row says "consider"', () => {
    const rows: MatrixRow[] = [{ ...own[0], severity: 'critical', fixLongerThan: 0, answer: 'consider' }]
    const weights = { ...NOTHING_KNOWN, rollbackMs: MIN }
    const decision = decide(judged('critical', 'corruption', 60 * MIN), rows, weights)
    expect([decision.answer, decision.then]).toEqual(['offline-first', 'roll-back'])
    expect(decision.reasons[1]).toContain('the smaller of the two is taken')
  })
})

describe('B3: a matrix of your own', () => {
  const rows: MatrixRow[] = [
    { severity: 'high', dataImpact: ['none', 'minor'], fixLongerThan: 10 * MIN, answer: 'roll-back' },
    { severity: 'high', fixLongerThan: 0, answer: 'consider' },
  ]

  it.each<[DataImpact, number, Answer, number]>([
    ['none', 11 * MIN, 'roll-back', 1],
    ['minor', 11 * MIN, 'roll-back', 1],
    ['none', 10 * MIN, 'consider', 2],
    ['major', 11 * MIN, 'consider', 2],
    ['major', 0, 'consider', 2],
  ])('the first row that fits answers: %s, %s ms: %s', (impact, fix, answer, row) => {
    const decision = decide(judged('high', impact, fix), rows, NOTHING_KNOWN)
    expect([decision.answer, decision.row?.number, decision.row?.matrix]).toEqual([answer, row, 'policy.matrix'])
  })

  it('replaces the shipped one whole: what it does not name is fixed forward', () => {
    const decision = decide(judged('critical', 'none', null), rows, NOTHING_KNOWN)
    expect([decision.answer, decision.row]).toEqual(['fix-forward', null])
    expect(decision.reasons[0]).toBe('no row of policy.matrix fits: critical, data impact none, time to fix unknown')
  })
})
