import { expect, it } from 'vitest'
import { BackoutError, first, messageOf } from './errors.ts'

it('says what was thrown first, where closing what it left open threw as well', async () => {
  const lost = new BackoutError({ code: 'lost', what: 'the connection is gone', cause: 'the server restarts' })
  const work = async () => {
    await using _ = { [Symbol.asyncDispose]: () => Promise.reject(new Error('not open any more')) }
    await using _second = { [Symbol.asyncDispose]: () => Promise.reject(new Error('nor is this')) }
    throw lost
  }
  const error = await work().catch((e: unknown) => e)
  expect(error).not.toBe(lost)
  expect(first(error)).toBe(lost)
  expect(messageOf(error)).toBe('the connection is gone: the server restarts')
})
