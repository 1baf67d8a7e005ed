import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Loss, Proposal } from '../../src/core/contract.ts'
import type { Json } from '../../src/core/json.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { onPostgres } from './systems.ts'
import { played, proposed, type World } from './world.ts'

const counted = (loss: readonly Loss[]) => Object.fromEntries(loss.map(l => [l.what, l.count]))
const codes = (p: Proposal) => p.findings.map(f => f.code)

/** What the first migration to be undone asks for right before it, and is refused. */
async function askedFor({ open }: World, proposal: Proposal): Promise<Record<string, number>> {
  const handles = new Map<string, Json>()
  for (const step of ordered(proposal)) {
    await using target = await open()
    let asked: Record<string, number> | null = null
    const accepts = (loss: readonly Loss[]) => {
      asked = counted(loss)
      return false
    }
    const done = target.apply(step, { ...stepAct(step, 'lost', handles), accepts })
    if (!step.id.includes('/migrate-down/')) await done
    else {
      await expect(done).rejects.toThrow('would destroy more than was accepted')
      return asked ?? {}
    }
  }
  throw new Error('nothing would be undone')
}

const none = noPostgres()
describe.skipIf(none !== null)(
  `B4: what no longer fits is said on PostgreSQL${none === null ? '' : ` (${none})`}`,
  () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await postgresServer()
    })
    afterAll(() => server?.dispose())

    const between = async (base: readonly string[], up: string, down: string, writes: readonly string[]) =>
      played(await onPostgres(server), {
        base,
        release: [{ name: '002_x', up, down }],
        early: [],
        meanwhile: [],
        told: false,
        writes,
      })

    it('before anything is cut, where the column, or its table, has another name now', async () => {
      await using world = await between(
        [
          'CREATE TABLE zone (id int PRIMARY KEY)',
          `CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL CHECK (total > 0), note varchar(5) UNIQUE,
          z int REFERENCES zone (id), label text CHECK (label <> 'total'))`,
          `INSERT INTO orders VALUES (1, 1, 'a', NULL, 'x')`,
          'CREATE TABLE parts (id int PRIMARY KEY, n int NOT NULL, mail text UNIQUE)',
          'CREATE TABLE other (id int PRIMARY KEY, a int)',
        ],
        `ALTER TABLE orders ALTER note TYPE text, ALTER total DROP NOT NULL, DROP CONSTRAINT orders_total_check,
         DROP CONSTRAINT orders_z_fkey;
       ALTER TABLE orders RENAME note TO remark; ALTER TABLE orders RENAME total TO cents;
       ALTER TABLE zone RENAME id TO number; ALTER TABLE other RENAME a TO b;
       ALTER TABLE parts ALTER n DROP NOT NULL, DROP CONSTRAINT parts_mail_key; ALTER TABLE parts RENAME TO pieces`,
        `ALTER TABLE orders ALTER remark TYPE varchar(5) USING left(remark, 5); ALTER TABLE orders RENAME remark TO note`,
        [
          `INSERT INTO orders VALUES (7, NULL, 'much too long', NULL, 'x'), (8, -1, 'b', 99, 'x')`,
          `INSERT INTO pieces VALUES (1, NULL, 'm'), (2, NULL, 'm')`,
        ],
      )
      const down = await proposed(world, 'migrate-down')
      expect(counted(down.impact.loss)).toEqual({
        'orders.remark (too wide)': 1,
        'orders.cents (no value)': 1,
        'orders (breaks CHECK ((cents > 0)))': 1,
        'orders (z of no zone)': 1,
        'pieces.n (no value)': 2,
        'pieces (mail twice)': 1,
      })
      expect(codes(down)).toContain('rows_do_not_fit')
      expect(codes(down)).not.toContain('rows_uncounted')
      const before = await world.dump()
      const asked = await askedFor(world, down)
      expect(asked).toEqual(counted(down.impact.loss))
      expect(await world.dump()).toEqual(before)
    })

    it('where only the type below has more words or room now: of a domain, an array of it, or a part of a row', async () => {
      await using world = await between(
        [
          `CREATE TYPE mood AS ENUM ('sad', 'ok')`,
          'CREATE DOMAIN feeling AS mood',
          'CREATE DOMAIN small AS int CHECK (VALUE < 10)',
          'CREATE TYPE addr AS (street text, m mood)',
          'CREATE TABLE c (id int PRIMARY KEY, f feeling, many feeling[], s small[], a addr)',
        ],
        `ALTER TYPE mood ADD VALUE 'great'; ALTER TYPE addr ADD ATTRIBUTE country text;
       ALTER DOMAIN small DROP CONSTRAINT small_check`,
        'SELECT 1',
        [
          `INSERT INTO c VALUES (1, 'great', '{great,ok}', '{50}', ROW('x', 'great', NULL)),
          (2, 'ok', '{sad,NULL}', '{5,NULL}', ROW('x', 'ok', NULL)), (3, NULL, NULL, NULL, ROW(NULL, NULL, 'NL'))`,
        ],
      )
      expect(counted((await proposed(world, 'migrate-down')).impact.loss)).toEqual({
        'c.f (too wide)': 1,
        'c.many (too wide)': 1,
        'c.s (too wide)': 1,
        'c.a (too wide)': 2,
      })
    })
  },
)
