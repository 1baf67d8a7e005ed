import { expect, it } from 'vitest'

import { tell } from './events.ts'

const signal = (name: string) =>
  tell({ seq: 1, run: 'r1', at: '2026-03-04T10:00:00Z', type: 'signal', data: { name, value: { by: 'ann' } }, mac: '' })

it('says at once what somebody asked for at another terminal: it takes effect only after the step in progress', () => {
  expect(signal('$cancel')).toEqual({ mark: 'note', text: 'ann asked to abort' })
  expect(signal('$pause')).toEqual({ mark: 'note', text: 'ann asked for a pause' })
  expect([signal('$resume'), signal('constructor')]).toEqual([null, null])
})
