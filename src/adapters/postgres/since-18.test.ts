import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { olderThan, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { bondMisfits } from '../../data/flow/misfit-bonds.ts'
import { compareSchemas } from '../../data/schema.ts'
import { createSql, propertiesOf } from './properties.ts'
import { listedIn, played, type Story } from './test/merge.ts'
import { backUp, engineOf, job, look, never, openOn, seen } from './test/support.ts'

const why = olderThan(18)
let server: PostgresServer

beforeAll(async () => {
  if (why === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

/** A room has a price in each span of time; who books it does so within one, or several that follow each other. */
const HOTEL: Story = {
  base: [
    'CREATE EXTENSION btree_gist',
    'CREATE TABLE room (id int, during daterange, price int, PRIMARY KEY (id, during WITHOUT OVERLAPS))',
    `CREATE TABLE booking (no int PRIMARY KEY, room int, during daterange, guest text, big text GENERATED ALWAYS AS (upper(guest)) VIRTUAL,
       FOREIGN KEY (room, PERIOD during) REFERENCES room (id, PERIOD during))`,
    'CREATE TABLE visit (id int PRIMARY KEY, room int REFERENCES booking (no) NOT ENFORCED, stars int CHECK (stars < 6) NOT ENFORCED)',
    `INSERT INTO room SELECT i, daterange('2026-01-01', '2026-07-01'), 100 FROM generate_series(1, 5) i`,
    `INSERT INTO room SELECT i, daterange('2026-07-01', '2027-01-01'), 120 FROM generate_series(1, 5) i`,
    `INSERT INTO booking VALUES (1, 1, '[2026-06-28,2026-07-03)', 'ann'), (2, 2, '[2026-02-01,2026-02-03)', 'bob')`,
  ],
  release: [{ sql: 'ALTER TABLE booking ADD meal text' }],
  writes: [
    `INSERT INTO booking (no, room, during, guest) VALUES (3, 3, '[2026-06-28,2026-07-05)', 'cid')`,
    `UPDATE booking SET during = '[2026-02-01,2026-02-09)' WHERE no = 2`,
    `INSERT INTO room VALUES (4, '[2027-01-01,2028-01-01)', 130)`,
    `INSERT INTO booking (no, room, during, guest) VALUES (4, 4, '[2026-12-28,2027-01-05)', 'dan')`,
    `UPDATE room SET during = '[2026-07-01,2026-08-15)' WHERE id = 2 AND during @> date '2026-08-01'`,
    `DELETE FROM room WHERE id = 5 AND during @> date '2026-08-01'`,
    `INSERT INTO visit VALUES (1, 77, 9)`,
  ],
  after: [],
  told: true,
}

async function hotel(after: readonly string[]) {
  const merge = await played(server, { ...HOTEL, after })
  const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
  const listed = (await listedIn(merge.source, outcome)).map(l => `${l.table} ${Object.values(l.key).join()} ${l.kind}`)
  const read = (sql: string) => server.sql(sql, merge.ours)
  return { merge, outcome, listed, read }
}

describe.skipIf(why !== null)(`PostgreSQL 18${why === null ? '' : ` (skipped: ${why})`}`, () => {
  it('A4: computed when read, not for all rows, not enforced, in a span of time: each is told, and comes back', async () => {
    await server.sql('CREATE DATABASE told')
    await server.sql([...HOTEL.base], 'told')
    await server.sql(
      `INSERT INTO visit (id) VALUES (1); ALTER TABLE visit ADD CONSTRAINT known NOT NULL room NOT VALID`,
      'told',
    )
    const engine = engineOf(server, 'told')
    const { backup, read } = await backUp(engine)
    const { room, booking, visit } = read.schema.tables
    expect(room?.constraints).toEqual(['PRIMARY KEY (id, during WITHOUT OVERLAPS)'])
    expect(booking?.columns['big']).toMatchObject({
      generated: true,
      default: 'GENERATED ALWAYS AS (upper(guest)) VIRTUAL',
    })
    expect(booking?.constraints).toContain('FOREIGN KEY (room, PERIOD during) REFERENCES room(id, PERIOD during)')
    expect(visit?.columns['room']?.nullable).toBe(true)
    expect(visit?.constraints).toEqual([
      'CHECK ((stars < 6)) NOT ENFORCED',
      'FOREIGN KEY (room) REFERENCES booking(no) NOT ENFORCED',
      'NOT NULL room NOT VALID',
      'PRIMARY KEY (id)',
    ])
    await using beside = await engine.beside(backup, 'scratch', 'told', job)
    const back = await beside.reading(never, seen)
    expect(compareSchemas(read.schema, back.schema)).toEqual([])
    expect(compareFingerprints(read.data, back.data)).toEqual([])
    await beside.drop()
  })

  it('A4: values that change places are seen where the key of old rows may be without a value', async () => {
    await server.sql('CREATE DATABASE moved')
    await server.sql(
      `CREATE TABLE t (id int UNIQUE, a int, b int); INSERT INTO t VALUES (NULL, 1, 10), (NULL, 2, 20);
       ALTER TABLE t ADD CONSTRAINT filled NOT NULL id NOT VALID`,
      'moved',
    )
    const then = await look(engineOf(server, 'moved'))
    await server.sql('ALTER TABLE t DROP CONSTRAINT filled; UPDATE t SET b = 30 - b', 'moved')
    await server.sql('ALTER TABLE t ADD CONSTRAINT filled NOT NULL id NOT VALID', 'moved')
    const now = await look(engineOf(server, 'moved'))
    expect(compareFingerprints(then.data, now.data)).not.toEqual([])
  })

  it.each([
    `LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < g'`,
    `LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'`,
    `LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST'`,
  ])('A1: makes a database again that sorts by %s', async how => {
    await server.sql(['DROP DATABASE IF EXISTS sorts', 'DROP DATABASE IF EXISTS again'])
    await server.sql(`CREATE DATABASE sorts TEMPLATE template0 ${how}`)
    await openOn(server, async session => {
      const then = await propertiesOf(session, 'sorts')
      if (then === null) throw new Error('no database')
      await session.query(createSql('again', then, false))
      expect(await propertiesOf(session, 'again')).toEqual(then)
    })
    const sorted = `SELECT string_agg(x, '' ORDER BY x) AS s FROM unnest('{z,g,B,b,a,A,ä}'::text[]) x`
    expect(await server.sql(sorted, 'again')).toEqual(await server.sql(sorted, 'sorts'))
  })

  it('A4: tells by which rules a collation sorts', async () => {
    await server.sql('CREATE DATABASE rules')
    const make = (rules: string) =>
      server.sql(`CREATE COLLATION own (provider = icu, locale = 'de', rules = '${rules}')`, 'rules')
    await make('&a < g')
    const then = await look(engineOf(server, 'rules'))
    await server.sql('DROP COLLATION own', 'rules')
    await make('&a < z')
    const now = await look(engineOf(server, 'rules'))
    expect(compareSchemas(then.schema, now.schema).map(d => d.text)).toEqual(['collation own was changed'])
  })

  it('B4: counts no rows that break what comes back and is not enforced', async () => {
    await server.sql('CREATE DATABASE loose')
    const engine = engineOf(server, 'loose')
    await server.sql([...HOTEL.base, 'INSERT INTO visit VALUES (1, 77, 9)'], 'loose')
    const { schema: base } = await look(engine)
    await server.sql('ALTER TABLE visit DROP CONSTRAINT visit_stars_check, DROP CONSTRAINT visit_room_fkey', 'loose')
    const { schema: live } = await look(engine)
    const [then, now] = [base.tables['visit'], live.tables['visit']]
    if (then === undefined || now === undefined) throw new Error('no visits')
    const { dialect } = engine
    const found = await engine.reading(never, db => bondMisfits({ dialect, db, table: 'visit', then, now, base, live }))
    expect([then.constraints.length - now.constraints.length, found]).toEqual([2, []])
  })

  it('C14: carries rows whose times lie within those that they refer to, and takes what is not enforced as it is', async () => {
    const { merge, outcome, listed, read } = await hotel([])
    expect(outcome.proof.problems).toEqual([])
    expect(listed).toEqual([])
    expect(await read(`SELECT no, during::text, big FROM booking ORDER BY no`)).toEqual([
      { no: 1, during: '[2026-06-28,2026-07-03)', big: 'ANN' },
      { no: 2, during: '[2026-02-01,2026-02-09)', big: 'BOB' },
      { no: 3, during: '[2026-06-28,2026-07-05)', big: 'CID' },
      { no: 4, during: '[2026-12-28,2027-01-05)', big: 'DAN' },
    ])
    expect(await read('SELECT count(*)::int AS n FROM room')).toEqual([{ n: 10 }])
    expect(await read('SELECT room, stars FROM visit')).toEqual([{ room: 77, stars: 9 }])
    await merge.dispose()
  })

  it('C14: lists what would be left without its time, or take another one’s', async () => {
    const { merge, outcome, listed, read } = await hotel([
      `DELETE FROM room WHERE id = 3 AND during @> date '2026-08-01'`,
      `INSERT INTO booking VALUES (9, 5, '[2026-08-01,2026-08-03)', 'eve')`,
      `INSERT INTO room VALUES (4, '[2027-06-01,2027-07-01)', 99)`,
    ])
    expect(outcome.proof.problems).toEqual([])
    expect(listed.sort()).toEqual([
      'booking 3 foreign-key',
      'booking 4 foreign-key',
      'room 4,[2027-01-01,2028-01-01) unique',
      'room 5,[2026-07-01,2027-01-01) foreign-key',
    ])
    const alone = `SELECT no FROM booking b WHERE NOT during <@ coalesce((SELECT range_agg(during) FROM room r WHERE r.id = b.room), '{}')`
    expect(await read(alone)).toEqual([])
    await merge.dispose()
  })
})
