import { describe, expect, it } from 'vitest'
import { NO_IMPACT, type Step } from './contract.ts'
import { amount, impactLines, span } from './impact-text.ts'

const step: Step = {
  id: 'db/down',
  component: 'db',
  title: 'undo 2 migrations of db',
  args: null,
  limitMs: 1,
  retries: 0,
  estimateMs: 1,
  onUnknown: 'ask',
  destructive: true,
}
const envelope = { rungs: {}, loss: [] }

describe('B4: the impact statement', () => {
  it('says downtime, loss with since when and what was accepted, what stays, disappears and is left out', () => {
    const note = 'kept in the pre-rollback backup; not brought back by itself'
    const lines = impactLines({
      impact: {
        downtimeMs: 125_000,
        loss: [
          { what: 'orders.discount', count: 14, unit: 'values', since: '2026-01-02T03:04:05.000Z', note },
          { what: 'vouchers', count: 1, unit: 'rows', since: null, note: '' },
          { what: 'carts', count: 0, unit: 'rows', since: null, note },
        ],
        staysBehind: ['table audit'],
        disappears: ['discount codes', 'fix of CVE-2026-1'],
      },
      envelope: { rungs: {}, loss: [{ what: 'orders.discount', unit: 'values', max: 16 }] },
      omitted: ['the watch of 3600 s after the return'],
      steps: { [step.id]: step },
    })
    expect(lines).toEqual([
      'Downtime: about 2 min 5 s in which users are not served',
      `Data lost: 14 values of orders.discount, written since 2026-01-02T03:04:05.000Z (accepted up to 16); ${note}`,
      'Data lost: 1 row of vouchers, written since a time that is not known (not accepted)',
      'Cannot be undone: undo 2 migrations of db',
      'Stays behind: table audit',
      'Disappears: discount codes',
      'Disappears: fix of CVE-2026-1',
      'Left out: the watch of 3600 s after the return',
    ])
  })

  it('says none where there is none, instead of nothing', () => {
    expect(impactLines({ impact: NO_IMPACT, envelope, omitted: [], steps: {} })).toEqual([
      'Downtime: none',
      'Data lost: none',
      'Stays behind: nothing',
      'Disappears: nothing that is known',
    ])
  })

  it('does not call a loss accepted that outgrew what was', () => {
    const loss = [{ what: 'orders', count: 20, unit: 'rows', since: null, note: '' }]
    const accepted = { rungs: {}, loss: [{ what: 'orders', unit: 'rows', max: 10 }] }
    const lines = impactLines({ impact: { ...NO_IMPACT, loss }, envelope: accepted, omitted: [], steps: {} })
    expect(lines[1]).toContain('(not accepted)')
  })
})

it.each([
  [0, '0 s'],
  [0.3, '1 ms'],
  [340, '340 ms'],
  [999.6, '1 s'],
  [4_230, '4.2 s'],
  [9_960, '10 s'],
  [59_600, '1 min'],
  [60_000, '1 min'],
  [125_400, '2 min 5 s'],
  [3_599_700, '1 h'],
  [3_660_000, '1 h 1 min'],
  [86_400_000, '1 d'],
  [90_000_000, '1 d 1 h'],
  [-61_000, '-1 min 1 s'],
])('says %d ms as %s', (ms, text) => {
  expect(span(ms)).toBe(text)
})

it('counts in the singular too', () => {
  expect([amount(1, 'rows'), amount(0, 'values')]).toEqual(['1 row', '0 values'])
})
