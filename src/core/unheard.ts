import type { Verdict } from './contract.ts'
import { BackoutError, messageOf } from './errors.ts'

/** What an adapter says of a step where asking met this error. What does not answer may be starting anew, and is asked again. */
export function unknownFor(error: unknown): Verdict {
  const unheard = error instanceof BackoutError && error.code.endsWith('_unreachable')
  return { is: 'unknown', why: messageOf(error), ...(unheard ? { unheard } : {}) }
}
