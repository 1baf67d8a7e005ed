import { describe, expect, it } from 'vitest'
import { table, wrap } from './text.ts'

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
