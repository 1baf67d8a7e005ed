import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { compareFingerprints } from '../../data/diff.ts'
import type { Fingerprint } from '../../data/fingerprint.ts'
import { engineOf, look, never, type Seen } from './test/support.ts'
import { fillZoo } from './test/zoo.ts'

const missing = noPostgres()
let server: PostgresServer
let zoo: Seen

beforeAll(async () => {
  if (missing !== null) return
  server = await postgresServer()
  await server.sql('CREATE DATABASE zoo')
  await fillZoo(server, 'zoo')
  zoo = await look(engineOf(server, 'zoo'))
})
afterAll(() => server?.dispose())

/** What the fingerprint tells of a table after `sql`, which is then undone by `undo`. */
async function after(table: string, sql: string, undo: string): Promise<string[]> {
  await server.sql(sql, 'zoo')
  const changed = await print(table)
  await server.sql(undo, 'zoo')
  const { method, tables } = zoo.data
  const then = { method, tables: Object.fromEntries(Object.entries(tables).filter(([name]) => name === table)) }
  return compareFingerprints(then, changed).flatMap(d => d.columns)
}

function print(table: string): Promise<Fingerprint> {
  return engineOf(server, 'zoo').reading(never, db => db.fingerprint(zoo.schema, { tables: [table] }))
}

describe.skipIf(missing !== null)(`A4: the fingerprint of PostgreSQL${missing === null ? '' : ` (${missing})`}`, () => {
  it('is the same again, whatever the role and the database are set to', async () => {
    await server.sql(`ALTER DATABASE zoo SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE zoo SET DateStyle = 'German';
      ALTER DATABASE zoo SET extra_float_digits = 0; ALTER DATABASE zoo SET bytea_output = 'escape';
      ALTER DATABASE zoo SET IntervalStyle = 'iso_8601'; ALTER DATABASE zoo SET lc_monetary = 'C.UTF-8'`)
    const engine = engineOf(server, 'zoo', { parallel: 1 })
    expect((await engine.reading(never, db => db.fingerprint(zoo.schema))).tables['zoo']).toEqual(
      zoo.data.tables['zoo'],
    )
    await server.sql('ALTER DATABASE zoo RESET ALL')
  })

  it('covers every table, every column that is not generated, and large objects', () => {
    for (const [name, shape] of Object.entries(zoo.schema.tables)) {
      const columns = Object.keys(shape.columns).filter(c => shape.columns[c]?.generated === false)
      expect(Object.keys(zoo.data.tables[name]?.columns ?? {})).toEqual(expect.arrayContaining(columns))
    }
    expect(zoo.data.tables['event']?.rows).toBe(60)
    expect(zoo.data.tables['parent']?.rows).toBe(1)
    expect(zoo.data.tables['(large objects)']?.rows).toBe(2)
  })

  it('notices one value of any column that changed its row', async () => {
    const columns = Object.keys(zoo.data.tables['zoo']?.columns ?? {}).filter(c => !['id', 'made', 'note'].includes(c))
    expect(columns.length).toBeGreaterThan(60)
    const swap = (c: string) => `UPDATE zoo z SET "${c}" = o."${c}" FROM zoo o WHERE (z.id, o.id) IN ((1, 2), (2, 1))`
    for (const column of columns) expect(await after('zoo', swap(column), swap(column))).toEqual([column])
  })

  it.each([
    ['a scale', 'exact', '1', '1.00'],
    ['the sign of zero', 'double', "'0'", "'-0'"],
    ['the case of citext', 'nocase', "'a'", "'A'"],
    ['the case under a collation that ignores it', 'anycase', "'a'", "'A'"],
    ['how an interval is written', 'span', "'1 mon'", "'30 days'"],
    ['blanks at the end', 'blanks', "'a'", "'a '"],
    ['no text for empty text', 'long', 'NULL', "''"],
    ['no row for a row of nothing', 'price', 'NULL', 'ROW(NULL, NULL)'],
    ['the bounds of an array', 'ints', "'{1,2}'", "'[0:1]={1,2}'"],
    ['white space in json', 'doc', `'{"a":1}'`, `'{"a": 1}'`],
    ['digits in jsonb', 'docb', `'{"a":1}'`, `'{"a": 1.0}'`],
    ['a microsecond', 'moment_tz', "'2020-01-01 00:00:00.000001Z'", "'2020-01-01Z'"],
    ['the last digit of a float', 'double', '0.1', '0.10000000000000002'],
    ['a byte', 'raw', "'\\x00'", "'\\x0000'"],
  ])('notices %s', async (_, column, one, other) => {
    const set = async (value: string): Promise<Fingerprint> => {
      await server.sql(`UPDATE zoo SET "${column}" = ${value} WHERE id = 3`, 'zoo')
      return print('zoo')
    }
    const [first, second] = [await set(one), await set(other)]
    expect(compareFingerprints(first, second).map(d => d.columns)).toEqual([[column]])
  })

  it('notices values that changed rows in a table without a key', async () => {
    const table = '"Odd.Schema ""x""".plain'
    await server.sql(`TRUNCATE ${table}; INSERT INTO ${table} VALUES (1, 'x'), (2, 'y')`, 'zoo')
    const before = await print(table)
    await server.sql(`UPDATE ${table} SET b = CASE b WHEN 'x' THEN 'y' ELSE 'x' END`, 'zoo')
    expect(compareFingerprints(before, await print(table)).map(d => d.columns)).toEqual([['(a, b)']])
  })

  it('notices a value in the last of 1,600 columns, in a partition, in a large object', async () => {
    const wide = (from: number, to: number) => `UPDATE wide SET c1599 = ${to} WHERE c1599 = ${from}`
    expect(await after('wide', wide(3, 4), wide(4, 3))).toContain('c1599')
    const what = (from: string, to: string) => `UPDATE event_1a SET what = '${to}' WHERE what = '${from}'`
    expect(await after('event', what('e3', 'e3!'), what('e3!', 'e3'))).toEqual(['what'])
    await server.sql(`SELECT lo_put(4711, 9000, '\\x01')`, 'zoo')
    const now = await engineOf(server, 'zoo').reading(never, db => db.fingerprint(zoo.schema))
    expect(compareFingerprints(zoo.data, now).find(d => d.table === '(large objects)')?.columns).toEqual(['content'])
  })

  it('refuses to read what row-level security would hide', async () => {
    await server.sql(
      `CREATE ROLE limited LOGIN PASSWORD 'not-a-secret-of-anybody'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO limited`,
      'zoo',
    )
    const engine = engineOf(server, 'zoo', { user: 'limited' })
    const reading = engine.reading(never, db => db.fingerprint(zoo.schema, { tables: ['book'] }))
    await expect(reading).rejects.toMatchObject({ code: 'database_denied' })
  })
})
