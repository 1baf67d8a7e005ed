import type { Observation, Question } from '../../src/core/contract.ts'
import type { DatabasePin } from '../../src/data/flow/settings.ts'

/** What uses a database, and can be stopped, sent away from, and run things in. */
export const APP = [{ id: 'shop', serves: ['stopped', 'drained', 'exec-from'] as const }]

/** How the planner asks a database for one of its rungs. */
export function ask(
  from: Observation,
  to: DatabasePin,
  rung: string,
  more: Partial<Question<DatabasePin>> = {},
): Question<DatabasePin> {
  return {
    from,
    to,
    release: 'v1',
    rung,
    needs: [],
    dependents: APP,
    dependencies: [],
    upgradedAt: null,
    mode: 'full',
    signal: new AbortController().signal,
    ...more,
  }
}
