import { describe, expect, it } from 'vitest'
import type { Backup } from '../core/contract.ts'
import { judge, type Need } from './retention.ts'

const DAY = 86_400_000
const NOW = Date.parse('2026-03-01T00:00:00Z')

function backup(age: number, reason: Backup['reason'] = 'capture', component = 'db'): Backup {
  const createdAt = new Date(NOW - age * DAY).toISOString()
  const id = `${component}-${reason}-${age}`
  return {
    id,
    component,
    reason,
    createdAt,
    dir: '',
    release: null,
    idem: null,
    bytes: 1,
    files: [],
    facts: {},
    proof: null,
  }
}

const going = (backups: readonly Backup[], needed = new Map<string, Need>(), last = 2) =>
  judge(backups, needed, { last, for: 10 * DAY }, NOW).flatMap(j => (j.stays === null ? [j.backup.id] : []))

describe('A1: a backup may go', () => {
  it('where it is old, and none of the newest of its component and reason', () => {
    const all = [1, 5, 9, 11, 30].map(age => backup(age))
    expect(going(all)).toEqual(['db-capture-11', 'db-capture-30'])
    expect(going([...all, backup(40, 'migrated'), backup(50, 'migrated'), backup(60, 'migrated')])).toEqual([
      'db-capture-11',
      'db-capture-30',
      'db-migrated-60',
    ])
    expect(going([...all, backup(99, 'capture', 'other')])).toEqual(['db-capture-11', 'db-capture-30'])
  })

  it('never where something relies on it, and the newest never', () => {
    const all = [20, 30, 40].map(age => backup(age))
    expect(going(all, new Map([['db-capture-40', { why: 'v1 goes back by it', firm: true }]]), 1)).toEqual([
      'db-capture-30',
    ])
    expect(judge(all, new Map(), { last: 1, for: 0 }, NOW)[0]?.stays).toBe('the newest')
  })

  it('not where nobody can tell how old it is', () => {
    const odd = { ...backup(99), createdAt: '0 no time' }
    expect(going([backup(1), backup(2), odd])).toEqual([])
  })
})
