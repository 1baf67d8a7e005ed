import { z } from 'zod'
import { BackoutError } from '../../core/errors.ts'
import { parsed } from '../../exec/pointer.ts'
import type { Host } from './host.ts'

/**
 * Reads tab-separated JSON that docker was asked for; null where it printed something else. On a busy machine it was seen to
 * end well without a word.
 */
export function columns<T>(schema: z.ZodType<T>, line: string): T | null {
  const found = schema.safeParse(line.trim().split('\t').map(parsed))
  return found.success ? found.data : null
}

/** What was printed is not told: it may hold what containers are told in secret. */
export function unread({ place }: Host, what: string, printed: string): BackoutError {
  return new BackoutError({
    code: 'compose_output',
    what: `${place}: ${what} ended well, and did not print what it was asked for`,
    cause:
      printed.trim() === '' ? 'it printed nothing' : `it printed ${printed.length} characters that are something else`,
    next: 'run the command by hand there; where `docker` of the component names a wrapper, see that it prints nothing of its own; then try again',
    exit: 'failed',
  })
}
