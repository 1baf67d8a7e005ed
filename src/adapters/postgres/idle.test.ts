import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { Job } from '../../data/engine.ts'
import { played } from './test/merge.ts'
import { job } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

/** A shop, and so many tables beside it that nobody writes to. */
function shop(idle: number) {
  const beside = Array.from({ length: idle }, (_, i) => [
    `CREATE TABLE idle_${i} (id serial PRIMARY KEY, name text UNIQUE, user_id int REFERENCES users)`,
    `INSERT INTO idle_${i} (name, user_id) VALUES ('a', 1), ('b', NULL)`,
  ])
  return {
    base: [
      `CREATE TYPE kind AS ENUM ('a', 'b')`,
      'CREATE TABLE users (id serial PRIMARY KEY, name text, kind kind)',
      'CREATE TABLE "Odd ""one" (a int, b text COLLATE "C", v int, PRIMARY KEY (a, b))',
      `INSERT INTO "Odd ""one" VALUES (1, 'x', 1)`,
      'CREATE TABLE orders (id serial PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE, n int)',
      `INSERT INTO users (name, kind) VALUES ('ann', 'a'), ('bob', 'b')`,
      'INSERT INTO orders (user_id, n) VALUES (1, 1), (2, 2)',
      ...beside.flat(),
    ],
    release: [{ sql: `ALTER TYPE kind ADD VALUE 'c'` }, { sql: 'ALTER TABLE orders ADD COLUMN extra int' }],
    writes: ['INSERT INTO orders (user_id, n) VALUES (1, 3)', 'UPDATE orders SET n = 5 WHERE id = 1'],
    after: [],
    told: true,
  }
}

describe.skipIf(missing !== null)('C14: tables that nobody wrote to, on PostgreSQL', () => {
  it('cost little each, and are proven to be as they were', { timeout: 120_000 }, async () => {
    const asked: number[] = []
    for (const idle of [2, 22]) {
      const made = await played(server, shop(idle))
      const query = vi.spyOn(Client.prototype, 'query')
      const { proof, carried } = await applyCarry(made.source, NOTHING_SAID, job)
      asked.push(query.mock.calls.length)
      query.mockRestore()
      expect([carried, proof.problems]).toEqual([2, []])
      await made.dispose()
    }
    const [few = 0, many = 0] = asked
    expect((many - few) / 20).toBeLessThan(30)
  })

  it('are found to be otherwise where somebody wrote to them meanwhile', { timeout: 120_000 }, async () => {
    const made = await played(server, shop(1))
    for (const sql of [
      `UPDATE users SET name = 'Ann' WHERE id = 1`,
      `INSERT INTO "Odd ""one" VALUES (1, 'y', 1)`,
      'DELETE FROM idle_0 WHERE id = 2',
    ]) {
      let tries = 0
      const merging = async (given: Job) => {
        const merger = await made.source.merging(given)
        const last = merger.sequences.bind(merger)
        // The last that is done before all is compared again.
        const sequences = async () => {
          await last()
          if (tries++ === 0) await server.sql(sql, made.ours)
        }
        return Object.assign(merger, { sequences })
      }
      const { source } = made
      const { proof } = await applyCarry({ ...source, dialect: source.dialect, merging }, NOTHING_SAID, job)
      // It was compared once more, after which nobody wrote.
      expect([sql, tries, proof.problems]).toEqual([sql, 2, []])
    }
    await made.dispose()
  })

  it('lose rows with those that a deletion takes along, where somebody said so', { timeout: 120_000 }, async () => {
    const made = await played(server, {
      ...shop(0),
      base: [
        ...shop(0).base,
        'CREATE TABLE notes (id int PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE)',
      ],
      writes: ['DELETE FROM orders', 'DELETE FROM users WHERE id = 2'],
      after: ['INSERT INTO notes VALUES (1, 2), (2, 1)'],
    })
    const words = { ...NOTHING_SAID, decisions: [{ kind: 'cascade' as const, take: 'theirs' as const }] }
    const { proof } = await applyCarry(made.source, words, job)
    expect(proof.problems).toEqual([])
    expect(await server.sql('SELECT id FROM notes', made.ours)).toEqual([{ id: 2 }])
    await made.dispose()
  })
})
