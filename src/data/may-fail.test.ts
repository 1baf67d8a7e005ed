import { expect, it } from 'vitest'
import { mayFail } from './may-fail.ts'

it.each([
  'btree (note)',
  'btree (note DESC NULLS LAST) INCLUDE (total)',
  'btree (lower(note) text_pattern_ops)',
  `btree (COALESCE(lower((mail)::text), 'a/b'::text)) WHERE (gone IS NULL)`,
  'gin (doc jsonb_path_ops)',
  `btree (((doc ->> 'name'::text)))`,
  `gin (to_tsvector('english'::regconfig, body))`,
  'm(3)',
  '`m`(3),`n`',
  'GENERATED ALWAYS AS ((a || b)) ',
  '(a, b desc)',
])('%s refuses no row', sql => {
  expect(mayFail(sql)).toBe(false)
})

it.each([
  'btree (((100 / total)))',
  'btree ((total + 1))',
  `btree (((doc ->> 'n'::text)::integer))`,
  'btree (price(total))',
  'btree (sales.price(total))',
  `btree ((note)::character varying(3))`,
  'GENERATED ALWAYS AS ((100 / total))',
  'int(11) as (100 / `total`) stored',
  '(json_extract(doc, $.a))',
  'btree (note) WHERE ((10 % total) = 1)',
])('%s may refuse one', sql => {
  expect(mayFail(sql)).toBe(true)
})
