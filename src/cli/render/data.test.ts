import { expect, it } from 'vitest'
import { conflictLines } from './data.ts'

it('says of a cell that a word on its row leaves what it waits as', () => {
  const cells = {
    who: { base: 'ann', ours: 'bob', theirs: 'cid' },
    total: { base: '10', ours: '10', theirs: '1000' },
  }
  const there = { base: true, ours: true, theirs: true }
  const row = { table: 'orders', action: 'update', kind: 'changed', key: { id: '1' }, there, cells } as const
  expect(conflictLines([{ ...row, left: { total: 'ambiguous' } }], true)).toEqual([
    '',
    '  orders id 1: update, changed',
    '    who: at the release ann, ours bob, theirs cid',
    '    total: at the release 10, ours 10, theirs 1000 (a word on changed leaves it: it waits as ambiguous)',
    '    settle: ours, theirs',
  ])
})
