import { expect, it } from 'vitest'
import type { Event, RunInfo } from '../core/engine.ts'
import type { Json } from '../core/json.ts'
import { chainKey } from './chain.ts'
import { alteredIn, isSealed, sealOf } from './seals.ts'

const key = chainKey(Buffer.alloc(32, 7))
const run = (more: Partial<RunInfo> = {}): RunInfo => ({
  id: 'r1',
  workflow: 'w',
  version: 1,
  exclusive: 'env',
  state: 'succeeded',
  input: { by: 'ann' },
  output: { state: 'succeeded' },
  error: null,
  createdAt: '',
  updatedAt: '',
  ...more,
})
const event = (type: string, data: Json): Event => ({ seq: 1, run: 'r1', at: '', type, data, mac: '' })
const started = (input: Json, id = 'r1') => event('run-started', { pid: 1, input: sealOf(key, id, 'input', input) })
const ended = event('run-ended', {
  state: 'succeeded',
  error: null,
  output: sealOf(key, 'r1', 'output', { state: 'succeeded' }),
})

it('E7: a run is as its events tell, or it is altered', () => {
  expect(alteredIn(key, run(), [started({ by: 'ann' }), ended])).toBeNull()
  expect(alteredIn(key, run({ input: { by: 'bob' } }), [started({ by: 'ann' }), ended])).toContain('who began it')
  expect(alteredIn(key, run(), [started({ by: 'ann' }, 'r2'), ended])).toContain('who began it')
  expect(alteredIn(chainKey(Buffer.alloc(32, 8)), run(), [started({ by: 'ann' }), ended])).toContain('who began it')
  expect(alteredIn(key, run({ output: null }), [started({ by: 'ann' }), ended])).toContain('its output')
  expect(alteredIn(key, run({ state: 'failed' }), [started({ by: 'ann' }), ended])).toContain('ended succeeded')
  expect(alteredIn(key, run({ error: 'x' }), [started({ by: 'ann' }), ended])).toContain('its error')
  expect(alteredIn(key, run(), [started({ by: 'ann' })])).toContain('tells of no end')
  expect(alteredIn(key, run(), [ended])).toContain('was begun')
})

it('E7: a run of an older Backout has no seals: said, and only its state is compared', () => {
  const old = [event('run-started', { pid: 1 }), event('run-ended', { state: 'succeeded', error: null })]
  expect(isSealed(old)).toBe(false)
  expect(isSealed([started({ by: 'ann' })])).toBe(true)
  expect(alteredIn(key, run({ input: null, output: null }), old)).toBeNull()
  expect(alteredIn(key, run({ state: 'aborted' }), old)).toContain('ended succeeded')
})
