import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { archiveIn, readArchive } from '../../data/carry/archive.ts'
import { applyCarry, planCarry } from '../../data/carry/index.ts'
import { readLines } from '../../data/carry/lines.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { CarrySource } from '../../data/carry/source.ts'
import { rowsToCarry } from '../../data/carry/step.ts'
import { type Played, played } from './test/merge.ts'
import { job } from './test/support.ts'

const none = noPostgres()

/** More than one piece of what is read and written at once. */
const LONG = `lo_from_bytea(12, convert_to(repeat('0123456789abcdef', 100000), 'UTF8'))`

describe.skipIf(none !== null)(`C14: large objects of PostgreSQL${none === null ? '' : ` (${none})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
    await server.sql('CREATE ROLE writer; CREATE ROLE reader')
  })
  afterAll(() => server?.dispose())

  const story = (told: boolean): Promise<Played> =>
    played(server, {
      base: [
        'CREATE TABLE doc (id int PRIMARY KEY, body oid)',
        ...[1, 2, 3, 4, 5].map(n => `INSERT INTO doc VALUES (${n}, lo_from_bytea(${n}, 'old ${n}'))`),
      ],
      release: [
        { sql: `SELECT lo_put(2, 0, 'migrated')` },
        { sql: `SELECT lo_put(5, 0, 'new'), lo_from_bytea(13, 'own')` },
      ],
      writes: [
        `SELECT lo_put(1, 0, 'edited')`,
        `SELECT lo_put(2, 0, 'edited')`,
        `SELECT lo_put(3, 0, 'edited')`,
        `SELECT lo_unlink(4)`,
        `INSERT INTO doc VALUES (11, lo_from_bytea(11, ''))`,
        `INSERT INTO doc VALUES (12, ${LONG})`,
        'ALTER LARGE OBJECT 12 OWNER TO writer',
        'GRANT SELECT ON LARGE OBJECT 12 TO reader',
      ],
      after: [`SELECT lo_put(3, 0, 'newer here')`],
      told,
    })

  const objects = async ({ ours }: Played) => {
    const sql = `SELECT oid::int AS n, length(lo_get(oid)) AS bytes, left(convert_from(lo_get(oid), 'UTF8'), 12) AS head,
      lomowner::regrole::text AS owner, lomacl::text AS acl FROM pg_largeobject_metadata ORDER BY oid`
    return server.sql(sql, ours)
  }

  async function archived({ dir }: CarrySource): Promise<unknown[]> {
    const rows: unknown[] = []
    for (const part of (await readArchive(dir))?.parts ?? []) {
      if (part.what === 'objects') await readLines(archiveIn(dir), part, async row => void rows.push(row))
    }
    return rows
  }

  it('come back under their numbers where users alone wrote them, and are kept in the archive where others did too', async () => {
    const world = await story(true)
    const { source } = world
    try {
      const plan = await planCarry(source, NOTHING_SAID, job)
      expect(plan.objects).toBe(3)
      expect(plan.archived).toEqual([{ table: '(large objects)', column: null, count: 4 }])
      const outcome = await applyCarry(source, NOTHING_SAID, job)
      expect(outcome.proof.ok).toBe(true)
      const own = (n: number, bytes: number, head: string) => ({ n, bytes, head, owner: 'postgres', acl: null })
      expect(await objects(world)).toEqual([
        own(1, 6, 'edited'),
        own(2, 5, 'old 2'),
        own(3, 10, 'newer here'),
        own(4, 5, 'old 4'),
        own(5, 5, 'old 5'),
        own(11, 0, ''),
        { ...own(12, 1_600_000, '0123456789ab'), owner: 'writer', acl: '{writer=rw/writer,reader=r/writer}' },
      ])
      const line = (oid: string, content: string) => ({
        key: { oid, piece: '0' },
        values: { content: Buffer.from(content).toString('base64') },
      })
      expect(await archived(source)).toEqual([
        line('2', 'editeded'),
        line('3', 'edited'),
        line('5', 'new 5'),
        line('13', 'own'),
      ])
      const again = await planCarry(source, NOTHING_SAID, job)
      expect([again.hash, rowsToCarry(again)]).toEqual([plan.hash, 0])
    } finally {
      await world.dispose()
    }
  })

  it("are all users' where nobody told of the migration, and only listed where nothing is to be carried", async () => {
    const world = await story(false)
    const { source } = world
    try {
      const listed = await applyCarry(source, { ...NOTHING_SAID, mode: 'report' }, job)
      expect(listed.plan.archived).toEqual([{ table: '(large objects)', column: null, count: 7 }])
      expect((await archived(source)).length).toBe(8)
      const { plan } = await applyCarry(source, NOTHING_SAID, job)
      expect([plan.objects, plan.archived]).toEqual([6, [{ table: '(large objects)', column: null, count: 1 }]])
    } finally {
      await world.dispose()
    }
  })
})
