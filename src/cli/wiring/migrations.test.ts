import { describe, expect, it } from 'vitest'
import type { Plan, PlanComponent } from '../../core/plan.ts'
import { migrationsIn } from './migrations.ts'

function planOf(
  components: [adapter: string, rung: string, changes: boolean][],
  steps: string[],
  stays: string[] = [],
) {
  return {
    components: components.map(([adapter, rung, changes]) => {
      return { adapter, rung, change: changes ? { from: 'a', to: 'b' } : null } as PlanComponent
    }),
    steps: Object.fromEntries(steps.map(id => [id, {}])),
    impact: { staysBehind: stays },
  } as unknown as Plan
}

describe('migrations between the releases', () => {
  it('are those that are undone, and those that stay', () => {
    expect(migrationsIn(planOf([['sqlite', 'migrate-down', true]], ['db/migrate-down/2', 'db/migrate-down/1']))).toBe(2)
    const left = planOf([['sqlite', 'leave', false]], [], ['table audit was added', 'migration 2 stays applied'])
    expect(migrationsIn(left)).toBe(1)
  })

  it('are none where every database is as it was', () => {
    expect(
      migrationsIn(
        planOf(
          [
            ['sqlite', 'leave', false],
            ['hosts', 'switch', true],
          ],
          ['app/switch'],
        ),
      ),
    ).toBe(0)
  })

  it('are not known where a database is restored, or none stands in the plan', () => {
    expect(migrationsIn(planOf([['sqlite', 'restore', true]], ['db/restore']))).toBeNull()
    expect(migrationsIn(planOf([['command', 'command', true]], ['db/apply']))).toBeNull()
  })
})
