import { describe, expect, it } from 'vitest'
import { defaultOf } from './schema.ts'

describe('A4: a default, as information_schema tells it', () => {
  it.each([
    ['of a number', '0', 'int', '', '0'],
    ['of a truth', '1', 'tinyint(1)', '', '1'],
    ['of bits', "b'101'", 'bit(3)', '', "b'101'"],
    ['of text with a quote', "it's", 'varchar(20)', '', "'it''s'"],
    ['of text that looks like digits', '0x61', 'varchar(20)', '', "'0x61'"],
    ['of bytes', '0x6100FF', 'varbinary(10)', '', '0x6100FF'],
    ['of no bytes', '0x', 'varbinary(10)', '', "''"],
    ['of a day', '2020-01-01', 'date', '', "'2020-01-01'"],
    ['of now', 'CURRENT_TIMESTAMP', 'timestamp', 'default_generated on update current_timestamp', 'CURRENT_TIMESTAMP'],
    ['that is an expression', 'uuid()', 'char(36)', 'default_generated', '(uuid())'],
    ['that is none', null, 'int', '', null],
  ])('%s, by MySQL', (_, told, type, extra, sql) => {
    expect(defaultOf(told, type, extra, false)).toBe(sql)
  })

  it.each([
    ['of text', "'a'", "'a'"],
    ['that is NULL', 'NULL', null],
    ['of now', 'current_timestamp()', 'current_timestamp()'],
  ])('%s, by MariaDB', (_, told, sql) => {
    expect(defaultOf(told, 'varchar(20)', '', true)).toBe(sql)
  })
})
