import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeToy, type Toy } from '../../../test/support/toy.ts'

const CONFIG = `environment: toy
components:
  shop:
    adapter: sqlite
    settings: { path: shop.db, writers: none }
  other:
    adapter: env-file
    settings: { path: .env }
`

let toy: Toy
const sql = (text: string) => {
  const db = new DatabaseSync(join(toy.folder, 'shop.db'))
  db.exec(text)
  db.close()
}

beforeEach(async () => {
  toy = await makeToy()
  await toy.write('backout.yaml', CONFIG)
  await toy.write('.env', 'A=1\n')
  sql(
    `CREATE TABLE orders (id INTEGER PRIMARY KEY, who TEXT, total); INSERT INTO orders VALUES (1, 'Ann', 5), (2, 'Bob', 7)`,
  )
  expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
})
afterEach(() => toy[Symbol.asyncDispose]())

it('D5: db check compares with the baseline, counts first, rows on demand, values masked', {
  timeout: 60_000,
}, async () => {
  const same = await toy.backout(['db', 'check'])
  expect(same).toMatchObject({ code: 0, stdout: expect.stringContaining('✓ shop is as it was when v1 was captured') })
  sql(
    `UPDATE orders SET who = 'Eve' WHERE id = 1; INSERT INTO orders VALUES (3, 'Cid', 1); CREATE INDEX i ON orders (total)`,
  )
  const counts = await toy.backout(['db', 'check', 'shop'])
  expect(counts.code).toBe(10)
  expect(counts.stdout).toContain('index orders.i was added')
  expect(counts.stdout).toContain('orders: 2 rows then, 3 now; values differ in id, total, who')
  const rows = await toy.backout(['db', 'check', '--release', 'v1', '--rows', '5'])
  expect(rows.stdout.replaceAll(/\s+/g, ' ')).toContain('(1 added, 0 deleted, 1 changed)')
  expect(rows.stdout).toContain('orders: changed  id = 1  who *** -> ***')
  expect(rows.stdout).not.toMatch(/Ann|Eve|Cid/)
  const values = await toy.backout(['db', 'check', '--rows', '5', '--show-values'])
  expect(values.stdout).toContain(`orders: changed  id = 1  who 'Ann' -> 'Eve'`)
  expect(values.stdout).toContain(`orders: added  id = 3  who 'Cid', total 1`)
  const json = await toy.json<{ components: { component: string; parts: unknown[] }[] }>(['db', 'check'])
  expect(json.components.map(c => [c.component, c.parts.length])).toEqual([['shop', 1]])
})

it('D5: db check says what it cannot compare', { timeout: 60_000 }, async () => {
  expect(await toy.backout(['db', 'check', 'other'])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('[nothing_to_compare]'),
  })
  expect(await toy.backout(['db', 'check', '--rows', 'many'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('[rows_unreadable]'),
  })
})

it('C14: upgrade migrated keeps databases as their migrations left them', { timeout: 60_000 }, async () => {
  expect((await toy.backout(['upgrade', 'begin', 'v2', '--from', 'v1'])).code).toBe(0)
  sql('ALTER TABLE orders ADD COLUMN cents; UPDATE orders SET cents = total * 100')
  const told = await toy.backout(['upgrade', 'migrated', 'v2'])
  expect(told).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/shop as its migrations left it: \d{8}T\d{6}Z-shop-/),
  })
  expect(told.stdout).toContain('Noted: the migrations to v2 are done.')
})
