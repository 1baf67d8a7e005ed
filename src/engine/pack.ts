import { BackoutError, messageOf } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { redactJson } from '../core/secret.ts'

/** The value as the journal will hold it: without known secrets. */
export function scrub(value: unknown): Json {
  return redactJson(value)
}

/** An error in a form that the journal can hold and give back. */
export function packError(error: unknown): Json {
  if (error instanceof BackoutError) {
    const { code, message: what, why: cause, next, exit } = error
    return scrub({ code, what, cause, next, exit })
  }
  return scrub({ code: 'unexpected', what: messageOf(error) })
}

export function unpackError(packed: Json): BackoutError {
  return new BackoutError(packed as unknown as ConstructorParameters<typeof BackoutError>[0])
}
