import { expect, it } from 'vitest'
import type { Event } from '../core/engine.ts'
import { around } from './around.ts'

const journal = (...types: string[]): Event[] =>
  types.map((text, i) => {
    const [run = '-', type = ''] = text.split(' ')
    return { seq: i + 1, run, at: '2026-01-01T00:00:00.000Z', type, data: null, mac: '' }
  })
const picked = (events: Event[], run = 'r1') => around(events, run).extra.map(e => e.seq)

it('E3: takes what happened outside the run from the upgrade on, until something else begins', () => {
  const events = journal(
    '- assessment',
    '- upgrade-begun',
    '- assessment',
    'r1 run-started',
    '- marked',
    'r1 run-ended',
    '- marked',
    '- upgrade-begun',
    '- assessment',
  )
  expect(picked(events)).toEqual([2, 3, 5, 7])
  expect(around(events, 'r1').events.map(e => e.seq)).toEqual([4, 6])
})

it('E3: without an upgrade, begins after the run before; and with it, spans the runs that followed it', () => {
  const two = ['r0 run-started', '- marked', 'r0 run-ended', '- assessment', 'r1 run-started', 'r1 run-ended']
  expect(picked(journal('- assessment', ...two))).toEqual([5])
  expect(picked(journal('- upgrade-begun', ...two))).toEqual([1, 3, 5])
  expect(picked(journal('- upgrade-begun', ...two), 'r0')).toEqual([1, 3, 5])
  expect(picked(journal('- marked', 'r1 run-started', '- marked', 'r2 run-started', '- marked'))).toEqual([1, 3])
})

it('bears a run without events', () => {
  expect(around(journal('- marked'), 'r9')).toMatchObject({ events: [], extra: [{ seq: 1 }] })
})
