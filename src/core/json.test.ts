import { describe, expect, it } from 'vitest'
import { canonical, sameJson, toJson } from './json.ts'
import { Secret } from './secret.ts'

/** What it must be the same as: a trip through JSON, with every object's keys in order. */
function slowly(value: unknown): string {
  const ordered = (v: unknown): unknown => {
    if (v === null || typeof v !== 'object') return v
    if (Array.isArray(v)) return v.map(ordered)
    const entries = Object.entries(v).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    return Object.fromEntries(entries.map(([k, inner]) => [k, ordered(inner)]))
  }
  return JSON.stringify(ordered(toJson(value)))
}

describe('one text for one content', () => {
  it.each([
    ['nothing', undefined],
    ['null', null],
    ['numbers', [0, -0, 1.5, 1e21, Number.NaN, Infinity]],
    ['texts', ['', 'a"b\\', '\u2028', '\ud800', '😀']],
    ['keys in any order', { b: 1, a: { z: [], y: {} }, '10': 1, '9': 2, '01': 3, __proto__x: 1 }],
    ['what JSON leaves out', { a: undefined, b: [undefined, () => 1, Symbol('s')], c: () => 1, d: 1 }],
    ['what says itself how it is written', { at: new Date(0), secret: new Secret('${env:A}', 'hunter22') }],
    ['a list with holes', [1, , 3]], // oxlint-disable-line no-sparse-arrays
  ])('%s', (_, value) => {
    expect(canonical(value)).toBe(slowly(value))
  })

  it('tells no order of keys apart, and every other difference', () => {
    expect(sameJson({ a: 1, b: [1, 2] }, { b: [1, 2], a: 1 })).toBe(true)
    expect(sameJson({ a: [1, 2] }, { a: [2, 1] })).toBe(false)
  })

  it('writes no value of a secret', () => {
    expect(canonical(new Secret('${env:A}', 'hunter22'))).toBe('"[secret]"')
  })
})
