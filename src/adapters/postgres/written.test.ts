import { expect, it } from 'vitest'
import { writtenBy } from './written.ts'

it.each([
  ['INSERT INTO "public"."orders" ("id") SELECT 1', { verb: 'insert', table: '"public"."orders"' }],
  ['UPDATE ONLY "a ""b"."c.d" AS o SET "x" = 1', { verb: 'update', table: '"a ""b"."c.d"' }],
  ['\n DELETE FROM orders AS o WHERE (o."id") IN (SELECT 1)', { verb: 'delete', table: 'orders' }],
  ['UPDATE pg_temp."backout_work" AS o SET n = 1', null],
  ['SELECT count(*) FROM "public"."orders" AS w', null],
  ['DROP TABLE IF EXISTS pg_temp."x"; CREATE TEMP TABLE "x" AS SELECT 1', null],
  ['WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone', 'anything'],
  ['TRUNCATE orders', 'anything'],
])('tells what is written to by %s', (sql, expected) => {
  expect(writtenBy(sql)).toEqual(expected)
})
