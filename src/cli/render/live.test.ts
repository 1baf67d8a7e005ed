import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Event } from '../../core/engine.ts'
import type { Plan } from '../../core/plan.ts'
import type { Out } from '../out.ts'
import { openView } from './live.ts'

const PLAN = {
  steps: { 'db/restore': {} },
  phases: [{ phase: 'data', node: { step: 'db/restore' }, estimateMs: 120_000 }],
  safe: [],
  estimateMs: 120_000,
} as unknown as Plan

function lines(): { out: Out; said: string[] } {
  const said: string[] = []
  const line = (text = '') => void said.push(text)
  return {
    said,
    out: {
      json: false,
      terminal: false,
      asks: false,
      width: 80,
      tableWidth: 80,
      line,
      raw: line,
      data: () => {},
      warn: line,
    },
  }
}

let seq = 0
function event(type: string, data: Event['data']): Event {
  return { seq: ++seq, run: 'r1', at: new Date().toISOString(), type, data, mac: '' } as Event
}

describe('a run in a CI log', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: Date.parse('2026-03-04T10:00:00Z') })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('says every half minute that a long step goes on, and stops saying so', () => {
    const { out, said } = lines()
    const view = openView(out, PLAN)
    view.event(event('phase-begun', { phase: 'data', estimateMs: 120_000 }))
    view.event(event('step-begun', { step: 'db/restore', title: 'restore db', estimateMs: 120_000 }))
    vi.advanceTimersByTime(65_000)
    expect(said).toEqual([
      '10:00:00Z == data, about 2 min',
      '10:00:30Z .. data (1 of 1) · 0 of 1 step · 30 s of about 2 min · restore db',
      '10:01:00Z .. data (1 of 1) · 0 of 1 step · 1 min of about 2 min · restore db',
    ])
    view.event(event('step-done', { step: 'db/restore', ms: 65_000 }))
    view.close()
    vi.advanceTimersByTime(120_000)
    expect(said.slice(3)).toEqual(['10:01:05Z ok db/restore 1 min 5 s'])
  })

  it('shows texts of other systems without what they would do to a terminal', () => {
    const { out, said } = lines()
    const view = openView(out, PLAN)
    view.event(event('step-failed', { step: 'db/restore', why: '\u001b[2J\u001b]0;owned\u0007no\r space\u009b1m' }))
    view.close()
    expect(said).toEqual(['10:00:00Z !! db/restore: no space'])
  })
})
