import { describe, expect, it } from 'vitest'
import { misfitBy } from './narrow.ts'
import type { ColumnShape } from './schema.ts'

const misfit = misfitBy((text, pattern) => `${text} ~ '${pattern}'`)
const column = (type: string): ColumnShape => ({ type, nullable: true, default: null, generated: false })
const WHOLE = '^[[:space:]]*[+-]?[0-9]+[[:space:]]*$'

describe('C11: which values a server refuses once a column is narrower again', () => {
  it.each([
    ['text', 'character varying(3)', 'char_length(v) > 3'],
    ['varchar(20)', 'varchar(3)', 'char_length(v) > 3'],
    ['bigint', 'integer', '(v < -2147483648 OR v > 2147483647 OR v <> floor(v))'],
    ['int(11)', 'tinyint(4) unsigned', '(v < 0 OR v > 255 OR v <> floor(v))'],
    ['numeric', 'numeric(5,2)', '(abs(v) >= 1000 OR round(v, 2) <> v)'],
    [
      'text',
      'smallint',
      `(CASE WHEN NOT v ~ '${WHOLE}' THEN TRUE ELSE CAST(v AS decimal(65,30)) < -32768 OR CAST(v AS decimal(65,30)) > 32767 OR CAST(v AS decimal(65,30)) <> floor(CAST(v AS decimal(65,30))) END)`,
    ],
    ['text', 'text', null],
    ['integer', 'character varying(3)', null],
    ['text', 'jsonb', null],
  ])('%s that becomes %s', (now, then, sql) => {
    expect(misfit('v', column(now), column(then))).toBe(sql)
  })
})
