import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { archiveIn } from '../../data/carry/archive.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { readLines } from '../../data/carry/lines.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { ListedRow } from '../../data/carry/rows.ts'
import { type Played, played, type Story } from './test/merge.ts'
import { job } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

/** Carries, and answers what was listed. */
async function carried({ source }: Played): Promise<string[]> {
  const { archive, proof } = await applyCarry(source, NOTHING_SAID, job)
  expect(proof.problems).toEqual([])
  const listed: string[] = []
  for (const part of archive.parts.filter(p => p.what === 'conflicts')) {
    await readLines(archiveIn(source.dir), part, line => {
      const { table, key, kind } = line as ListedRow
      listed.push(`${table} ${Object.values(key).join()} ${kind}`)
    })
  }
  return listed
}

async function play(story: Partial<Story> & Pick<Story, 'base'>): Promise<Played> {
  return played(server, { release: [], writes: [], after: [], told: true, ...story })
}

describe.skipIf(missing !== null)(`C14: rules and keys of PostgreSQL${missing === null ? '' : ` (${missing})`}`, () => {
  it('that may be deferred refuse rows as others do, and are as they were afterwards', async () => {
    const merge = await play({
      base: [
        'CREATE TABLE booking (id int PRIMARY KEY, during int4range, CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&) DEFERRABLE INITIALLY DEFERRED)',
        `INSERT INTO booking VALUES (1, '[1,5)')`,
        'CREATE TABLE u (id int PRIMARY KEY, code text, CONSTRAINT one UNIQUE NULLS NOT DISTINCT (code) DEFERRABLE)',
        'INSERT INTO u VALUES (1, NULL)',
      ],
      release: [
        { sql: 'ALTER TABLE booking DROP CONSTRAINT no_overlap' },
        { sql: 'ALTER TABLE u DROP CONSTRAINT one' },
      ],
      writes: [`INSERT INTO booking VALUES (2, '[3,8)'), (3, '[8,9)')`, `INSERT INTO u VALUES (2, NULL), (3, 'x')`],
    })
    try {
      expect((await carried(merge)).sort()).toEqual(['booking 2 unique', 'u 2 unique'])
      expect(await server.sql('SELECT id FROM booking UNION ALL SELECT id + 10 FROM u ORDER BY 1', merge.ours)).toEqual(
        [1, 3, 11, 13].map(id => ({ id })),
      )
      const triggers = `SELECT DISTINCT tgenabled FROM pg_trigger`
      expect(await server.sql(triggers, merge.ours)).toEqual([{ tgenabled: 'O' }])
    } finally {
      await merge.dispose()
    }
  })

  it('whose letter case is not told apart are the same key in every image', async () => {
    const merge = await play({
      base: [
        `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
        'CREATE TABLE b (k text COLLATE ci PRIMARY KEY, v int)',
        `INSERT INTO b VALUES ('abc', 1), ('def', 2), ('ghi', 3)`,
      ],
      writes: [
        `UPDATE b SET k = 'ABC' WHERE v = 1`,
        'DELETE FROM b WHERE v = 2',
        `INSERT INTO b VALUES ('DEF', 7), ('jkl', 8)`,
      ],
    })
    try {
      expect(await carried(merge)).toEqual([])
      expect(await server.sql(`SELECT k || ' ' || v AS is FROM b ORDER BY v`, merge.ours)).toEqual(
        ['ABC 1', 'ghi 3', 'DEF 7', 'jkl 8'].map(is => ({ is })),
      )
    } finally {
      await merge.dispose()
    }
  })
})
