import { z } from 'zod'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { type HttpAnswer, HttpError } from '../../exec/http.ts'
import { parsed } from '../../exec/pointer.ts'
import { lastLines } from '../../exec/words.ts'
import type { Call } from './client.ts'
import type { Config } from './config.ts'

/** The shape of every error of LifeTime. */
const exception = z.object({ Errors: z.array(z.string()).default([]) })

/** Why LifeTime refused, in its own words. */
export function saidIn({ body }: Pick<HttpAnswer, 'body'>): string {
  const read = exception.safeParse(parsed(body))
  const text = read.success && read.data.Errors.length > 0 ? read.data.Errors.join('; ') : body
  return lastLines(redact(text), 500)
}

export function refused(call: Call, answer: HttpAnswer, { url }: Config): BackoutError {
  const { status } = answer
  const said = saidIn(answer)
  const [code, next] = meaningOf(status)
  return new BackoutError({
    code,
    what: `LifeTime at ${url} answered ${status} to ${call.method} ${call.path}`,
    cause: said === '' ? undefined : said,
    next,
    exit: 'failed',
  })
}

function meaningOf(status: number): [string, string] {
  if (status === 401) return ['lifetime_token', 'give a valid token of a service account in `token`']
  if (status === 403) return ['lifetime_forbidden', 'give the service account the right to change and deploy there']
  if (status === 404)
    return ['lifetime_gone', 'look in LifeTime whether it was deleted, and whether this version has it']
  if (status === 409) return ['lifetime_conflict', 'look in LifeTime which deployment is going on, then go on']
  if (status === 429) return ['lifetime_busy', 'raise `limits.pace`, or wait, then go on']
  if (status >= 500) return ['lifetime_failed', 'look at the errors of LifeTime in its Service Center, then go on']
  return ['lifetime_refused', 'see what LifeTime says, correct it there, then go on']
}

export function unreachable(call: Call, origin: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'lifetime_unreachable',
    what: `LifeTime at ${origin} did not answer ${call.method} ${call.path}`,
    cause: error instanceof HttpError ? error.message : redact(messageOf(error)),
    next: 'look whether it is up and can be reached from here, then run the command again',
    exit: 'failed',
    from: error,
  })
}

export function strange(call: Call, why: string): BackoutError {
  return new BackoutError({
    code: 'lifetime_answer',
    what: `The answer of LifeTime to ${call.method} ${call.path} is not as published`,
    cause: why,
    next: 'see docs/adapters/outsystems.md for what was tried; tell us what your LifeTime answers',
    exit: 'failed',
  })
}
