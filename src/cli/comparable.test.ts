import { describe, expect, it } from 'vitest'
import { differences } from '../core/differences.ts'
import { comparable } from './comparable.ts'

describe('two pins', () => {
  it('are the same whenever they were made, and whatever their backups are called', () => {
    const one = comparable({ at: '2026-01-01', backup: 'b-1', level: { applied: ['1'] } }, ['b-1'])
    const two = comparable({ at: '2026-02-02', backup: null, level: { applied: ['1'] } }, [])
    expect(differences(one, two)).toEqual([])
    expect(differences(comparable({ backup: 'b-1' }, []), comparable({ backup: 'b-2' }, []))).toEqual(['backup'])
  })

  it('differ where something is another, missing, or of another kind', () => {
    const a = { level: { applied: ['1', '2'] }, tables: { orders: { rows: 2 }, old: {} }, mode: 'x' }
    const b = { level: { applied: ['1'] }, tables: { orders: { rows: 3 } }, mode: { is: 'x' } }
    expect(differences(a, b)).toEqual(['level.applied', 'tables.orders.rows', 'tables.old', 'mode'])
    expect(differences('v1', 'v2')).toEqual(['all of it'])
  })
})
