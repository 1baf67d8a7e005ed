import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { BOOKKEEPING, between } from './bookkeeping.ts'
import { compareFingerprints } from './diff.ts'
import { fingerprintHash, rowsIn } from './fingerprint.ts'
import { atRisk, lossOf, notRestored } from './loss.ts'
import { ownTables, recogniseAll } from './recognise.ts'
import { type Rename, renameCandidates, settle, type Weighed } from './renames.ts'
import { compareSchemas, type SchemaShape, schemaHash, type TableShape } from './schema.ts'

/** What each tool leaves in a database after two migrations, and a third one that was begun where the tool tells. */
const LEFT: Record<string, [sql: string, applied: string[]]> = {
  knex: [
    `CREATE TABLE knex_migrations (id, name, batch, migration_time); INSERT INTO knex_migrations VALUES (2, 'b.js', 1, 0), (1, 'a.js', 1, 0)`,
    ['a.js', 'b.js'],
  ],
  prisma: [
    `CREATE TABLE _prisma_migrations (id, migration_name, started_at, finished_at, rolled_back_at); INSERT INTO _prisma_migrations VALUES ('x', 'a', 1, 2, NULL), ('y', 'b', 3, 4, NULL), ('z', 'c', 5, NULL, NULL), ('q', 'd', 6, NULL, 7)`,
    ['a', 'b'],
  ],
  drizzle: [
    `CREATE TABLE __drizzle_migrations (id, hash, created_at); INSERT INTO __drizzle_migrations VALUES (1, 'h1', 1), (2, 'h2', 2)`,
    ['h1', 'h2'],
  ],
  typeorm: [
    `CREATE TABLE migrations (id, timestamp, name); INSERT INTO migrations VALUES (1, 1, 'A1'), (2, 2, 'B2')`,
    ['A1', 'B2'],
  ],
  laravel: [
    `CREATE TABLE migrations (id, migration, batch); INSERT INTO migrations VALUES (1, 'a', 1), (2, 'b', 1)`,
    ['a', 'b'],
  ],
  sequelize: [`CREATE TABLE SequelizeMeta (name); INSERT INTO SequelizeMeta VALUES ('b'), ('a')`, ['a', 'b']],
  'node-pg-migrate': [
    `CREATE TABLE pgmigrations (id, name, run_on); INSERT INTO pgmigrations VALUES (1, 'a', 1), (2, 'b', 2)`,
    ['a', 'b'],
  ],
  django: [
    `CREATE TABLE django_migrations (id, app, name, applied); INSERT INTO django_migrations VALUES (1, 'auth', '0001', 1), (2, 'shop', '0001', 1)`,
    ['auth.0001', 'shop.0001'],
  ],
  flyway: [
    `CREATE TABLE flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, installed_on, execution_time, success);
     INSERT INTO flyway_schema_history (installed_rank, version, type, script, success) VALUES (1, '1', 'SQL', 'V1__a.sql', 1), (2, '2', 'SQL', 'V2__b.sql', 1),
       (3, '4', 'SQL', 'V4__d.sql', 1), (4, '4', 'UNDO_SQL', 'U4__d.sql', 1), (5, NULL, 'SQL', 'R__view.sql', 1), (6, '3', 'SQL', 'V3__c.sql', 0)`,
    ['V1__a.sql', 'V2__b.sql'],
  ],
  liquibase: [
    `CREATE TABLE DATABASECHANGELOG (id, author, filename, orderexecuted); INSERT INTO DATABASECHANGELOG VALUES (1, 'eva', 'c.xml', 1), (2, 'eva', 'c.xml', 2)`,
    ['c.xml::1::eva', 'c.xml::2::eva'],
  ],
  alembic: [`CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('ae10')`, ['ae10']],
  atlas: [
    `CREATE TABLE atlas_schema_revisions (version, description, type, applied, total, executed_at, execution_time, error, error_stmt, hash, partial_hashes, operator_version);
     INSERT INTO atlas_schema_revisions (version, type, applied, total, hash) VALUES ('.atlas_cloud_identifier', 0, 0, 0, ''), ('1', 1, 0, 0, 'h'), ('3', 2, 1, 2, 'h'), ('2', 2, 2, 2, 'h')`,
    ['1', '2'],
  ],
  pgroll: [
    `CREATE TABLE migrations (schema, name, migration, created_at, updated_at, parent, done, resulting_schema, migration_type);
     INSERT INTO migrations (schema, name, created_at, parent, done) VALUES ('public', 'b', 2, 'a', 0), ('public', 'a', 1, NULL, 1)`,
    ['a', 'b'],
  ],
  goose: [
    `CREATE TABLE goose_db_version (id, version_id, is_applied); INSERT INTO goose_db_version VALUES (1, 0, 1), (2, 1, 1), (3, 2, 1), (4, 3, 1), (5, 3, 0)`,
    ['1', '2'],
  ],
  'golang-migrate': [
    `CREATE TABLE schema_migrations (version, dirty); INSERT INTO schema_migrations VALUES (7, 1)`,
    ['7'],
  ],
  rails: [
    `CREATE TABLE schema_migrations (version); CREATE TABLE ar_internal_metadata (key, value); INSERT INTO schema_migrations VALUES ('2'), ('1')`,
    ['1', '2'],
  ],
  dbmate: [`CREATE TABLE schema_migrations (version); INSERT INTO schema_migrations VALUES ('2'), ('1')`, ['1', '2']],
}
const DIRTY: Record<string, string> = { prisma: 'c', flyway: 'V3__c.sql', 'golang-migrate': '7', atlas: '3' }

describe('C11: the bookkeeping of migration tools', () => {
  it.each(BOOKKEEPING.map(b => b.tool))('knows %s by its table, and what it applied', tool => {
    const [sql, applied] = LEFT[tool] ?? ['', []]
    const db = new DatabaseSync(':memory:')
    db.exec(sql)
    const first = (query: string) =>
      db
        .prepare(query)
        .all()
        .map(row => String(Object.values(row)[0]))
    const names = first(`SELECT name FROM sqlite_schema WHERE type = 'table'`)
    const tables = Object.fromEntries(names.map(t => [t, first(`SELECT name FROM pragma_table_info('${t}')`)]))
    const { found: all } = recogniseAll(tables)
    const found = all[0]?.tool
    expect(all.map(f => f.tool.tool)).toEqual([tool])
    expect(first(found?.applied ?? '')).toEqual(applied)
    expect(found?.dirty === undefined ? undefined : first(found.dirty)[0]).toBe(DIRTY[tool])
    expect([...ownTables(tables, all)].sort()).toEqual(names.sort())
    db.close()
  })

  it('says what to undo, newest first, and what is missing', () => {
    expect(between(['a', 'b'], ['a', 'b', 'c', 'd'], false)).toEqual({ extra: ['d', 'c'], missing: [] })
    expect(between(['a', 'b'], ['a', 'c'], false)).toEqual({ extra: ['c'], missing: ['b'] })
    expect(between(['h1'], ['h2'], true)).toEqual({ extra: ['h2'], missing: [] })
    expect(between(['5'], ['12'], true)).toEqual({ extra: ['12'], missing: [] })
    expect(between(['12'], ['5'], true)).toEqual({ extra: [], missing: ['12'] })
    expect(between(['h1'], [], true)).toEqual({ extra: [], missing: ['h1'] })
  })
})

describe('C11: what going back destroys', () => {
  const column = { type: 'TEXT', nullable: true, default: null, generated: false }
  const table = (columns: TableShape['columns']): TableShape => ({ columns, key: [], indexes: {}, constraints: [] })
  const schema = (tables: SchemaShape['tables']): SchemaShape => ({ tables, views: {}, triggers: {}, others: {} })
  const base = schema({ orders: table({ id: column, note: column }), old: table({}) })
  const now = schema({ 'big.orders': table({}), orders: table({ id: column, 'a.b': { ...column, nullable: false } }) })

  it('is what was added since; what was taken away does not come back', () => {
    const differences = compareSchemas(base, now)
    expect(atRisk(differences)).toEqual([
      { table: 'big.orders', column: null },
      { table: 'orders', column: 'a.b' },
    ])
    expect(notRestored(differences).map(d => d.name)).toEqual(['old', 'orders.note'])
    expect(differences.find(d => d.name === 'orders.a.b')?.additive).toBe(false)
  })

  it('sees another primary key, once where the database tells it as a constraint, too', () => {
    const keyed = (key: string[], constraints: string[] = []) =>
      schema({ t: { ...table({ id: column, k: column }), key, constraints } })
    const texts = (a: SchemaShape, b: SchemaShape) => compareSchemas(a, b).map(d => d.text)
    expect(texts(keyed(['id']), keyed(['id']))).toEqual([])
    expect(texts(keyed(['id']), keyed([]))).toEqual(['constraint t is gone (primary key (id))'])
    expect(texts(keyed(['id']), keyed(['id', 'k']))).toEqual([
      'constraint t was added (primary key (id, k))',
      'constraint t is gone (primary key (id))',
    ])
    const told = keyed(['id'], ['PRIMARY KEY (id)'])
    expect(texts(told, told)).toEqual([])
    expect(texts(told, keyed([]))).toEqual(['constraint t is gone (PRIMARY KEY (id))'])
  })

  it('is nothing where nothing is in it', () => {
    expect(lossOf({ table: 'orders', column: 'discount' }, 0, '')).toBeNull()
    expect(lossOf({ table: 'orders', column: 'discount' }, 3, 'n')).toMatchObject({
      what: 'orders.discount',
      unit: 'values',
    })
  })

  it('hashes a schema by its content, in whatever order', () => {
    const turned = schema({ old: table({}), orders: table({ note: column, id: column }) })
    expect(schemaHash(turned)).toBe(schemaHash(base))
    expect(schemaHash(now)).not.toBe(schemaHash(base))
  })
})

describe('C11: what is taken for a rename', () => {
  const pair = (was: string, now: string): Rename => ({
    was: { table: 't', column: was },
    now: { table: 't', column: now },
  })
  const weighed = (was: string, now: string, more: Partial<Weighed> = {}): Weighed => {
    return { ...pair(was, now), rows: 5, equal: 5, telling: 4, samePlace: false, untold: null, ...more }
  }
  const settled = (...all: Weighed[]) => {
    const { renames, doubts } = settle(all)
    const names = (r: Rename) => `${r.was.column}>${r.now.column}`
    return [renames.map(names), doubts.map(d => `${names(d)} ${d.why}`)]
  }

  it.each([
    ['equal in every row', [weighed('a', 'x')], ['a>x'], []],
    ['equal in all rows but one', [weighed('a', 'x', { equal: 4 })], [], ['a>x differs']],
    ['equal in nothing but empty rows', [weighed('a', 'x', { telling: 0 })], [], ['a>x nothing-to-compare']],
    ['different wherever there is a value', [weighed('a', 'x', { equal: 1, telling: 0 })], [], []],
    ['not comparable', [weighed('a', 'x', { untold: 'no key' })], [], ['a>x untold']],
    ['one that two could be', [weighed('a', 'x'), weighed('a', 'y')], [], ['a>x ambiguous', 'a>y ambiguous']],
    ['two that one could be', [weighed('a', 'x'), weighed('b', 'x')], [], ['a>x ambiguous', 'b>x ambiguous']],
    ['one of two by its place', [weighed('a', 'x', { samePlace: true }), weighed('a', 'y')], ['a>x'], []],
    [
      'what is left once another has its place',
      [weighed('a', 'x', { samePlace: true }), weighed('a', 'y'), weighed('b', 'x'), weighed('b', 'y')],
      ['a>x', 'b>y'],
      [],
    ],
  ])('%s', (_, all, renames, doubts) => expect(settled(...all)).toEqual([renames, doubts]))

  it('looks at pairs of one table that could be one by their shape, and at tables of one shape', () => {
    const column = { type: 'TEXT', nullable: true, default: null, generated: false }
    const table = (columns: TableShape['columns']): TableShape => ({ columns, key: [], indexes: {}, constraints: [] })
    const schema = (tables: SchemaShape['tables']): SchemaShape => ({ tables, views: {}, triggers: {}, others: {} })
    const number = { ...column, type: 'INTEGER' }
    const base = schema({ t: table({ a: column, n: number }), old: table({ a: column }), other: table({}) })
    const now = schema({
      t: table({ x: column, m: number, g: { ...column, generated: true } }),
      young: table({ a: column }),
      b: table({ b: column }),
    })
    const found = renameCandidates(base, now, (a, b) => a.type === b.type)
    expect(found).toEqual([
      pair('a', 'x'),
      pair('n', 'm'),
      { was: { table: 'old', column: null }, now: { table: 'young', column: null } },
    ])
  })
})

describe('D5: the data compared with the baseline', () => {
  const then = { method: 'x', tables: { orders: { rows: 2, columns: { id: 'a', total: 'b' } } } }
  it('names tables and columns', () => {
    const now = { method: 'x', tables: { orders: { rows: 3, columns: { id: 'c', total: 'b', discount: 'd' } } } }
    expect(compareFingerprints(then, now)[0]).toMatchObject({ rowsThen: 2, rowsNow: 3, columns: ['id'] })
    expect([rowsIn(now), fingerprintHash(now) === fingerprintHash(then)]).toEqual([3, false])
  })
  it('never compares what was made in different ways', () => {
    expect(() => compareFingerprints(then, { ...then, method: 'y' })).toThrow('do not compare')
  })
})
