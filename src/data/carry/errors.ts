import { BackoutError } from '../../core/errors.ts'
import type { CarrySource } from './source.ts'

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
