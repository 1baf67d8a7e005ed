import { describe, expect, it } from 'vitest'
import { harmless, table, wrap } from './text.ts'

describe('wrapped text', () => {
  it('keeps the blanks that a line begins with, and hangs what follows', () => {
    expect(wrap('  because the gate is not well', 16, '', '  ')).toEqual([
      '  because the',
      '    gate is not',
      '    well',
    ])
    expect(wrap('one two', 80, '  ')).toEqual(['  one two'])
    expect(wrap('', 80)).toEqual([''])
  })

  it('breaks no word, and counts no colour', () => {
    expect(wrap('see /a/path/that/is/long', 8)).toEqual(['see', '/a/path/that/is/long'])
    expect(wrap('\u001b[1mbold\u001b[22m and', 8)).toEqual(['\u001b[1mbold\u001b[22m and'])
  })
})

describe('what others printed', () => {
  const bad = 'a\u001b[2J\u001b[1A\u001b]0;title\u0007b\rc\u009b2J\u202ed\n\te'

  it('moves no cursor, sets no title and reorders nothing', () => {
    expect(harmless(bad)).toBe('a[2J[1A]0;titlebc2Jd\n\te')
    expect(harmless(bad, true)).toBe(harmless(bad))
  })

  it('keeps the colours of Backout, and none where there are none', () => {
    const text = '\u001b[1mbold\u001b[22m \u001b[8mhidden'
    expect(harmless(text, true)).toBe('\u001b[1mbold\u001b[22m [8mhidden')
    expect(harmless(text)).toBe('[1mbold[22m [8mhidden')
  })
})

describe('a table', () => {
  const rows = [
    ['db', 'migrate-down', 'migration 20251104101500 -> migration 20250602140000'],
    ['app', '', 'v1.3.0 -> v1.2.9'],
  ]

  it('breaks its last column and cuts nothing off', () => {
    expect(table(rows, 50, '  ')).toEqual([
      '  db   migrate-down  migration 20251104101500 ->',
      '                     migration 20250602140000',
      '  app                v1.3.0 -> v1.2.9',
    ])
  })

  it('stands its rows below one another where there is no room beside', () => {
    const long = [['departure-r20261126T011544Z-375c', 'captured', '2026-11-26T01:15:44.123Z', '1 captured']]
    expect(table(long, 50)).toEqual([
      'departure-r20261126T011544Z-375c',
      '    captured  2026-11-26T01:15:44.123Z  1 captured',
    ])
  })

  it('may have rows of fewer cells', () => {
    expect(table([['a', 'b', 'c'], ['longer']], 80)).toEqual(['a       b  c', 'longer'])
  })
})
