import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { compareSchemas } from '../../data/schema.ts'
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

describe.skipIf(missing !== null)(`A4: the schema of PostgreSQL${missing === null ? '' : ` (${missing})`}`, () => {
  it('names tables as they are written, in other schemas and with odd names too', () => {
    expect(Object.keys(zoo.schema.tables)).toEqual(
      [
        '"Odd.Schema ""x""".plain',
        'Grüße',
        'author',
        'book',
        'child',
        'event',
        'parent',
        'planes',
        'sales."Order.Items"',
        'scratchpad',
        'wide',
        'zoo',
      ].sort(),
    )
    const items = zoo.schema.tables['sales."Order.Items"']
    expect(items?.key).toEqual(['Order', 'Item "no"'])
    expect(Object.keys(zoo.schema.tables['wide']?.columns ?? {})).toHaveLength(1600)
  })

  it('takes a default for what the column makes of it: such values are none that somebody wrote', async () => {
    await server.sql('CREATE DATABASE fixed')
    await server.sql(
      `CREATE TABLE t (n numeric(10,2) DEFAULT 0, c char(4) DEFAULT 'a', k text COLLATE "C" DEFAULT 'x', at timestamp(0) DEFAULT '2026-01-01',
         moving timestamptz DEFAULT now()); INSERT INTO t DEFAULT VALUES; INSERT INTO t (n, c, k, at) VALUES (0.01, 'b', 'X', '2026-01-02')`,
      'fixed',
    )
    const engine = engineOf(server, 'fixed')
    const { dialect } = engine
    const columns = (await look(engine)).schema.tables['t']?.columns ?? {}
    const fixed = Object.entries(columns).map(([name, c]) => [name, dialect.fixedDefault(c.default, c.type)] as const)
    const counts = fixed.flatMap(([name, same]) =>
      same === null ? [] : [`count(*) FILTER (WHERE ${dialect.differs(name, same)})::int AS ${name}`],
    )
    const rows = await engine.reading(never, db => db.query(`SELECT ${counts.join(', ')} FROM t`))
    expect(rows).toEqual([{ n: 1, c: 1, k: 1, at: 1 }])
  })

  it('compares the values of a type in a cheaper way only where that says the same', async () => {
    const { dialect } = engineOf(server, 'zoo')
    const columns = Object.entries(zoo.schema.tables['zoo']?.columns ?? {})
    const otherwise = columns.map(([name, { type }]) => {
      const [a, b] = [`a.${dialect.quote(name)}`, `b.${dialect.quote(name)}`]
      return `${dialect.differs(a, b)} <> ${dialect.differs(a, b, type)}`
    })
    const rows = await engineOf(server, 'zoo').reading(never, db =>
      db.query(`SELECT count(*)::int AS n FROM zoo a CROSS JOIN zoo b WHERE ${otherwise.join(' OR ')}`),
    )
    expect(rows).toEqual([{ n: 0 }])
  })

  it('knows types, defaults, generated and identity columns, collations', () => {
    const columns = zoo.schema.tables['zoo']?.columns ?? {}
    expect(columns['scaled']).toMatchObject({ type: 'numeric(12,4)', nullable: true, default: null, generated: false })
    expect(columns['anycase']?.type).toBe('text COLLATE ignore_case')
    expect(columns['price']?.type).toBe('sales.money_of')
    expect(columns['id']?.default).toBe('GENERATED ALWAYS AS IDENTITY')
    expect(columns['twice']).toMatchObject({
      generated: true,
      default: 'GENERATED ALWAYS AS (((whole)::numeric * (2)::numeric))',
    })
    expect(columns['made']).toMatchObject({ nullable: false, default: 'now()' })
  })

  it('knows indexes, constraints, partitions, inheritance and row-level security', () => {
    const { book, event, child, scratchpad } = zoo.schema.tables
    expect(book?.indexes).toEqual({
      book_title: { unique: true, on: 'btree (lower(title)) WHERE (title IS NOT NULL)' },
    })
    expect(book?.constraints).toEqual([
      "CHECK ((title <> ''::text))",
      'EXCLUDE USING gist (during WITH &&)',
      'FOREIGN KEY (author) REFERENCES author(id) ON DELETE CASCADE',
      'PRIMARY KEY (id)',
      'row-level security',
      'row-level security forced',
    ])
    expect(event?.constraints).toContain('partitioned by RANGE (at)')
    expect(event?.constraints).toContain('partition event_1a of event_1 DEFAULT')
    expect(child?.constraints).toEqual(['inherits parent'])
    expect(scratchpad?.constraints).toEqual(['unlogged'])
  })

  it('knows views, triggers, functions, types, sequences, policies, extensions', () => {
    expect(Object.keys(zoo.schema.views)).toEqual(['cheap', 'titles'])
    expect(zoo.schema.triggers['zoo.stamped']).toMatch(/^CREATE TRIGGER stamped BEFORE UPDATE .* disabled$/)
    expect(Object.keys(zoo.schema.others)).toEqual([
      'aggregate joined(text)',
      'collation german',
      'collation ignore_case',
      'extension citext',
      'extension hstore',
      'extension plpgsql',
      'function slug(t text)',
      'function stamp()',
      'policy book.only_short',
      'procedure sales.tidy()',
      'schema "Odd.Schema ""x"""',
      'schema sales',
      'sequence author_id_seq',
      'sequence book_id_seq',
      'sequence order_no',
      'sequence zoo_id_seq',
      'type float_range',
      'type mood',
      'type nested',
      'type positive',
      'type sales.money_of',
    ])
  })

  it('tells every change of it', async () => {
    const engine = engineOf(server, 'zoo')
    const changes = [
      ['ALTER TABLE book ADD pages int', 'column book.pages was added (integer, nullable)'],
      ["ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", 'type mood was changed'],
      ['ALTER TABLE zoo ENABLE TRIGGER stamped', 'trigger zoo.stamped was changed'],
      ['ALTER TABLE book DISABLE ROW LEVEL SECURITY', 'constraint book is gone (row-level security)'],
      ['DROP POLICY only_short ON book', 'policy book.only_short is gone'],
      ['ALTER SEQUENCE order_no NO CYCLE', 'sequence order_no was changed'],
      ['CREATE OR REPLACE VIEW cheap AS SELECT id, title FROM book WHERE id < 3000', 'view cheap was changed'],
      ['DROP EXTENSION hstore CASCADE', 'extension hstore is gone'],
      ['CREATE INDEX event_at ON event (at)', 'index event.event_at was added (btree (at))'],
      ['ALTER DOMAIN positive ADD CHECK (VALUE < 9)', 'type positive was changed'],
    ] as const
    for (const [sql, told] of changes) {
      const client = await server.connect('zoo')
      await client.query('BEGIN')
      await client.query(sql)
      await client.query('COMMIT')
      await client.end()
      const now = await engine.reading(never, db => db.schema())
      expect(compareSchemas(zoo.schema, now).map(d => d.text)).toContain(told)
    }
  })
})

describe.skipIf(missing !== null)('A4: renames on PostgreSQL', () => {
  it('are known by the database’s own numbers', async () => {
    await server.sql('CREATE DATABASE names')
    await server.sql(
      'CREATE TABLE customer (id int PRIMARY KEY, nick text, mail text); CREATE TABLE other (id int)',
      'names',
    )
    const engine = engineOf(server, 'names')
    const base = await look(engine)
    await server.sql(
      `ALTER TABLE customer RENAME nick TO alias; ALTER TABLE customer RENAME TO client;
       ALTER TABLE client DROP mail; ALTER TABLE client ADD mail text; DROP TABLE other; CREATE TABLE another (id int)`,
      'names',
    )
    const found = await engine.reading(never, async db => db.renames(base.schema, base.data, await db.schema()))
    expect(found).toEqual([
      { was: { table: 'customer', column: null }, now: { table: 'client', column: null } },
      { was: { table: 'customer', column: 'nick' }, now: { table: 'client', column: 'alias' } },
    ])
  })

  it('are not guessed by the numbers of another database', async () => {
    const made = 'CREATE TABLE customer (id int PRIMARY KEY, nick text); ALTER TABLE customer RENAME nick TO '
    await server.sql('CREATE DATABASE then_names')
    await server.sql('CREATE DATABASE now_names')
    await server.sql(`${made} alias`, 'then_names')
    await server.sql(`${made} post`, 'now_names')
    const base = await look(engineOf(server, 'then_names'))
    const engine = engineOf(server, 'now_names')
    const found = await engine.reading(never, async db => db.renames(base.schema, base.data, await db.schema()))
    expect(found).toEqual([])
  })
})
