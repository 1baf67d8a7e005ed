import { describe, expect, it } from 'vitest'
import { does, type Part, planOf } from '../../test/support/planning.ts'
import type { Finding } from './contract.ts'
import { differencesOf, type Plan } from './plan.ts'

const app = (version: string): Part => ({
  id: 'app',
  state: { version },
  propose: ask => does('app', 'code', ask),
})
const reads = (plan: Plan, summary: string): Plan => ({
  ...plan,
  components: plan.components.map(c => ({ ...c, observed: { ...c.observed, summary } })),
})
const finding = (code: string, more: Partial<Finding> = {}): Finding => ({
  level: 'warning',
  code,
  component: null,
  what: `it is ${code}`,
  remedy: 'none',
  ...more,
})
const found = (plan: Plan, ...findings: Finding[]): Plan => ({ ...plan, findings: [...plan.findings, ...findings] })

describe('what differs between two plans', () => {
  it('is said by what was and is there, and where both read the same that something else of it differs', async () => {
    const was = reads(await planOf([app('B')]), 'two of two')
    const now = await planOf([app('C')])
    expect(differencesOf(was, reads(now, 'one of two'))).toEqual(['app changed: it was "two of two", now "one of two"'])
    expect(differencesOf(was, reads(now, 'two of two'))).toEqual([
      'app changed: it reads "two of two" as it did then, and something else of it differs (its files, its settings)',
    ])
  })

  it('is what was found, or is found no longer: never that the steps alone differ', async () => {
    const plan = await planOf([app('B')])
    expect(differencesOf(plan, found(plan, finding('upgraded')))).toEqual(['by now it is upgraded'])
    expect(differencesOf(found(plan, finding('upgraded')), plan)).toEqual(['no longer so: it is upgraded'])
    expect(differencesOf(plan, found(plan, finding('shut', { level: 'blocker' })))).toEqual(['it is shut'])
  })

  it('is none of what moves by itself', async () => {
    const plan = await planOf([app('B')])
    const moved = found(plan, finding('slow', { moves: true }))
    expect(differencesOf(plan, moved)).toEqual(['the steps are no longer the same'])
  })
})
