import { BackoutError } from '../../core/errors.ts'
import type { CarrySource } from './source.ts'

/** Ours was written to between comparing and carrying: what is left is to be compared again. */
export class Moved extends Error {}

/** Behind what says that a restored database is another one by now. */
export const ROLLED =
  'it was rolled forward or changed since; after a roll-forward what was archived goes back by `backout data replay`'

export function planMoved(then: string, now: string): BackoutError {
  return new BackoutError({
    code: 'plan_moved',
    what: 'What carrying forward would do is not what the plan said',
    cause: `plan ${then.slice(0, 12)}, now ${now.slice(0, 12)}`,
    next: 'backout data plan',
    exit: 'moved',
  })
}

export function moved({ component }: CarrySource, error: Error): BackoutError {
  return new BackoutError({
    code: 'written_meanwhile',
    what: `${component} is written to while data is carried into it`,
    cause: error.message,
    next: 'stop who writes, then: backout data apply (what was carried stays carried)',
    exit: 'failed',
    from: error,
  })
}

export function noArchive(component: string, run: string): BackoutError {
  return new BackoutError({
    code: 'archive_missing',
    what: `Nothing of ${component} was archived in the run ${run}`,
    next: 'backout data status; backout data apply makes the archive',
    exit: 'usage',
  })
}

export function notCarried(component: string, run: string): BackoutError {
  return new BackoutError({
    code: 'not_carried',
    what: `Carrying ${component} forward in the run ${run} did not come to its end, so nobody can tell which rows are back`,
    next: 'first: backout data apply; then replay',
    exit: 'usage',
  })
}

export function notProven(component: string, problems: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'carry_unproven',
    what: `Data was carried into ${component}, and comparing everything again does not bear it out`,
    cause: problems.slice(0, 10).join('\n'),
    next: 'see who wrote there (a trigger?) and mend it, then: backout data apply. It stays unproven until all is as it was, or a person has looked and says: backout data apply --as-it-is REASON',
    exit: 'failed',
  })
}

export function movedOn({ component }: CarrySource, moved: string): BackoutError {
  return new BackoutError({
    code: 'database_moved_on',
    what: `Nothing was carried into ${component}, which is not what was restored any more`,
    cause: moved,
    next: 'go back first; or, where all values that wait mean the same there, which a person has looked at: backout data apply --as-it-is REASON',
    exit: 'blocked',
  })
}
