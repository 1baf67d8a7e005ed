import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BackoutError, messageOf } from './errors.ts'
import { canonical, hashOf, type Json, sameJson, toJson } from './json.ts'
import { HIDDEN, redact, redactJson, remember, reveal, Secret, spare } from './secret.ts'

describe('a secret', () => {
  const secret = new Secret('postgres://app:${env:PW}@db/shop', 'postgres://app:hunter2hunter2@db/shop')

  it('shows nothing, whatever is done to it, but what is in the file', () => {
    // What a careless line would do: the types and the linter refuse it.
    const careless = secret as unknown as string
    const shown = [
      `${careless}!`,
      String(secret),
      ['a', careless].join('-'),
      JSON.stringify({ secret }),
      inspect(secret),
      inspect({ deep: { secret } }, { depth: 9, showHidden: true }),
      inspect(secret, { customInspect: false, showHidden: true }),
      inspect(new Map([[secret, new Set([secret])]])),
      canonical({ secret }),
      messageOf(new Error(`cannot connect to ${careless}`)),
      new BackoutError({ code: 'x', what: `no ${careless}`, cause: String(secret) }).format(),
      Object.values(secret).join(),
      JSON.stringify(structuredClone(Object.fromEntries(Object.entries(secret)))),
    ]
    for (const text of shown) expect(text).not.toContain('hunter2')
    expect(reveal(secret)).toBe('postgres://app:hunter2hunter2@db/shop')
    expect(reveal('plain')).toBe('plain')
  })

  it('cannot be used before it was read', () => {
    expect(() => new Secret('${env:X}').reveal()).toThrowError(expect.objectContaining({ code: 'secret_unresolved' }))
  })
})

describe('redaction', () => {
  it('hides a value as it is, in JSON, in a URL, and line by line', () => {
    const value = 'p"w\\ä/4711 $^.*+?'
    const key = '-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----'
    remember(value)
    remember(key)
    for (const text of [
      value,
      JSON.stringify(value),
      encodeURIComponent(value),
      key,
      'MIIEvQIBADANBg',
      key.replaceAll('\n', '\r\n'),
    ]) {
      const out = redact(`before ${text} after`)
      expect(out).toContain(HIDDEN)
      expect(out).toMatch(/^before .* after$/s)
      for (const part of ['4711', 'MIIEv', 'kqhk']) expect(out).not.toContain(part)
    }
  })

  it('leaves everything else, short values too', () => {
    remember('abc')
    remember('   ')
    remember('')
    expect(redact('abc, a  b, true')).toBe('abc, a  b, true')
  })

  it('hides the longer one of two that begin alike, and can hide any text', () => {
    remember('sesame')
    remember('sesame-open')
    expect(redact('sesame-open!')).toBe(`${HIDDEN}!`)
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 4, maxLength: 40 }), text => {
        // Whole words, of which it likes to make "apply" and the like, would be hidden in all tests after this one.
        fc.pre(text.trim().length >= 4 && !HIDDEN.includes(text.trim()) && !/^\w+$/.test(text.trim()))
        remember(text)
        expect(redact(text)).not.toContain(text.trim())
      }),
      { numRuns: 100 },
    )
  })
})

describe('a secret that is also part of a name', () => {
  it('is hidden everywhere but in what Backout made of the name', () => {
    remember('orders')
    spare(['orders'])
    spare(['orders/apply'], true)
    expect(redact('resolve orders/apply, or 0/code/orders/apply#1')).toBe(
      'resolve orders/apply, or 0/code/orders/apply#1',
    )
    for (const text of ['user orders', 'orders/other', 'my_orders/apply', 'orders/apply2', 'https://orders@db'])
      expect(redact(text)).toBe(text.replace('orders', HIDDEN))
    const value = { step: 'orders/apply', component: 'orders', why: 'orders said no', is: 'done' }
    expect(redactJson(value)).toEqual({ ...value, why: `${HIDDEN} said no` })
  })

  it('is hidden whole where it is longer than the name', () => {
    remember('cart/apply=hunter2')
    spare(['cart/apply'], true)
    expect(redact('cart/apply, cart/apply=hunter2')).toBe(`cart/apply, ${HIDDEN}`)
  })

  it('does not change what a run says to itself', () => {
    for (const word of ['running', 'retry', 'return']) remember(word)
    const value = { is: 'running', do: 'retry', phase: 'return' }
    expect(redactJson(value)).toEqual(value)
  })
})

describe('JSON of one content', () => {
  it('is one text whatever the order of keys, and another one for another content', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        const mixed = shuffled(a as Json)
        expect(canonical(mixed)).toBe(canonical(a))
        expect(hashOf(mixed)).toBe(hashOf(a))
        expect(JSON.parse(canonical(a))).toEqual(toJson(a))
        expect(sameJson(a, b)).toBe(canonical(a) === canonical(b))
      }),
    )
  })

  it('leaves out what is undefined, and keeps odd keys', () => {
    expect(canonical({ b: undefined, a: 1 })).toBe('{"a":1}')
    expect(canonical(undefined)).toBe('null')
    const odd = JSON.parse('{"__proto__": {"x": 1}, "10": 1, "9": 2, "constructor": 3}') as Json
    expect(JSON.parse(canonical(odd))).toEqual(odd)
    expect(sameJson(odd, {})).toBe(false)
    expect(() => toJson(10n)).toThrow()
  })
})

describe('a value with secrets in it', () => {
  it('keeps its shape, however common the secret is', () => {
    for (const secret of ['8080', 'true', 'null', 'done', '"},{"']) remember(secret)
    const value = {
      ms: 18080,
      found: true,
      step: null,
      done: 'is done on 8080',
      deep: [{ said: '"},{"', true: 'null' }],
    }
    expect(redactJson(value)).toEqual({
      ...value,
      done: 'is [secret] on [secret]',
      deep: [{ said: '[secret]', true: '[secret]' }],
    })
    expect(redactJson(undefined)).toBeNull()
  })
})

describe('an error', () => {
  it('names the thing, the cause and what to do, over lines too', () => {
    const error = new BackoutError({ code: 'step_undecided', what: 'Step web-3', cause: 'one\ntwo\n', next: 'look' })
    expect(error.format()).toBe('error [step_undecided]: Step web-3\ncause: one\n       two\nnext:  look')
    expect(error.exit).toBe('internal')
  })

  it('brings the causes of any error with it, once', () => {
    const inner = new Error('ECONNREFUSED')
    expect(messageOf(new Error('fetch failed', { cause: inner }))).toBe('fetch failed: ECONNREFUSED')
    expect(messageOf(new AggregateError([new Error('v4'), new Error('v6')], ''))).toBe('AggregateError: v4; v6')
    expect(messageOf(new Error('same', { cause: new Error('same') }))).toBe('same')
    expect([messageOf('text'), messageOf(undefined), messageOf(new Error(''))]).toEqual(['text', 'undefined', 'Error'])
  })
})

function shuffled(value: Json): Json {
  if (value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map(shuffled)
  const entries = Object.entries(value).toReversed()
  return Object.fromEntries(entries.map(([k, v]) => [k, shuffled(v)]))
}
