import * as fc from 'fast-check'
import type { Rename } from '../../src/data/renames.ts'

/** A random schema, its release and what was written when, as statements that each may fail. */
export interface RandomStory {
  readonly base: readonly string[]
  readonly rows: readonly string[]
  /** What users wrote after the backup, before and after the migration ran, and before anybody told that it had. */
  readonly early: readonly string[]
  readonly release: readonly Change[]
  readonly meanwhile: readonly string[]
  readonly writes: readonly string[]
  readonly after: readonly string[]
  readonly told: boolean
}

/** One statement of the migration, and what it renames if it works. */
export interface Change {
  readonly sql: string
  readonly rename?: Rename
}

type Key = 'number' | 'text' | 'both' | 'unique' | 'none'

interface Table {
  readonly name: string
  readonly key: Key
  readonly columns: readonly { name: string; sql: string }[]
  readonly parent: { table: string; rule: string } | null
  readonly ordered: boolean
}

const TYPES = ['INTEGER', 'TEXT', 'REAL', 'BLOB', 'NUMERIC', 'VARCHAR(9) COLLATE NOCASE', '']
const value = fc.oneof(
  fc.integer({ min: 0, max: 4 }).map(String),
  fc.constantFrom(
    "'a'",
    "'A'",
    "'b'",
    "''",
    'NULL',
    "x'00ff'",
    '1.5',
    "'1'",
    "'ä\u{1f600}'",
    "'it''s'",
    "'a' || char(0) || 'b'",
    '9007199254740993',
  ),
)
const id = fc.integer({ min: 1, max: 8 })

const column = (i: number) =>
  fc
    .record({
      type: fc.constantFrom(...TYPES),
      bind: fc.constantFrom('', '', '', 'UNIQUE', "NOT NULL DEFAULT 'x'", 'DEFAULT 7', "CHECK (c0 IS NOT 'b')"),
    })
    .map(({ type, bind }) => ({
      name: `c${i}`,
      sql: `c${i} ${type} ${i === 0 || !bind.startsWith('CHECK') ? bind : ''}`,
    }))

const table = (i: number) =>
  fc
    .record({
      key: fc.constantFrom<Key>('number', 'number', 'number', 'text', 'both', 'unique', 'none', 'none'),
      columns: fc.tuple(column(0), column(1), column(2)),
      parent: fc.option(
        fc.record({
          table: fc.integer({ min: 0, max: i }).map(p => `t${p}`),
          rule: fc.constantFrom('', 'ON DELETE CASCADE', 'ON DELETE SET NULL'),
        }),
      ),
      ordered: fc.boolean(),
    })
    .map((t): Table => ({ name: `t${i}`, ...t }))

const KEYS: Record<Key, string> = {
  number: 'id INTEGER PRIMARY KEY',
  text: 'id TEXT PRIMARY KEY',
  both: 'id INTEGER, k TEXT, PRIMARY KEY (id, k)',
  unique: 'id INTEGER NOT NULL UNIQUE',
  none: 'id INTEGER',
}

function create({ name, key, columns, parent, ordered }: Table, tables: readonly Table[]): string {
  const whose = tables.find(t => t.name === parent?.table)
  const refers = parent !== null && whose !== undefined && (whose.key === 'number' || whose.key === 'unique')
  const own = key === 'both' ? ['id INTEGER', 'k TEXT'] : [KEYS[key]]
  const parts = [...own, ...columns.map(c => c.sql), 'p INTEGER', ...(key === 'both' ? ['PRIMARY KEY (id, k)'] : [])]
  if (refers) parts.push(`FOREIGN KEY (p) REFERENCES ${whose.name} (id) ${parent.rule}`)
  if (ordered) parts.push('UNIQUE (c1, p)')
  return `CREATE TABLE ${name} (${parts.join(', ')})`
}

/** Names of columns are those of the schema of the release or, after a rename, of the new one: what does not exist fails. */
function statement(table: Table): fc.Arbitrary<string> {
  const name = fc.constantFrom(table.name, table.name, table.name, `${table.name}_new`)
  const one = fc.constantFrom('c0', 'c1', 'c2', 'p', 'c0_new', 'extra', 'id')
  const where = fc.oneof(
    id.map(n => `id = ${n}`),
    id.map(n => `id = '${n}'`),
    id.map(n => `id > ${n}`),
  )
  const insert = fc
    .record({ name, id, text: fc.boolean(), values: fc.tuple(value, value, value), p: fc.option(id) })
    .map(({ name: n, id: key, text, values, p }) => {
      const more = table.key === 'both' ? ', k' : ''
      const last = table.key === 'both' ? `, '${text ? 'x' : 'y'}'` : ''
      return `INSERT INTO ${n} (c0, c1, c2, p, id${more}) VALUES (${values.join(', ')}, ${p ?? 'NULL'}, ${key}${last})`
    })
  const partial = fc
    .record({ name, id, value })
    .map(({ name: n, id: key, value: v }) => `INSERT INTO ${n} (id, c1) VALUES (${key}, ${v})`)
  const update = fc
    .record({ name, one, value, where })
    .map(x => `UPDATE ${x.name} SET ${x.one} = ${x.value} WHERE ${x.where}`)
  const move = fc.record({ name, id, to: id }).map(x => `UPDATE ${x.name} SET p = ${x.to} WHERE id = ${x.id}`)
  const swap = fc
    .record({ name, a: id, b: id })
    .map(
      x =>
        `UPDATE ${x.name} SET c1 = CASE id WHEN ${x.a} THEN 'was' || ${x.b} ELSE 'was' || ${x.a} END WHERE id IN (${x.a}, ${x.b})`,
    )
  // Equal rows, where nothing tells rows apart.
  const again = fc.record({ name, where }).map(x => `INSERT INTO ${x.name} SELECT * FROM ${x.name} WHERE ${x.where}`)
  const remove = fc.record({ name, where }).map(x => `DELETE FROM ${x.name} WHERE ${x.where}`)
  return fc.oneof(
    { weight: 4, arbitrary: insert },
    { weight: 1, arbitrary: partial },
    { weight: 4, arbitrary: update },
    { weight: 1, arbitrary: move },
    { weight: 1, arbitrary: swap },
    { weight: 2, arbitrary: remove },
    { weight: table.key === 'none' ? 3 : 0, arbitrary: again },
  )
}

/** So that there is something to change: most of them get in. */
function seeds(table: Table): fc.Arbitrary<string[]> {
  const row = fc.record({ values: fc.tuple(value, value), p: fc.option(fc.integer({ min: 1, max: 3 })) })
  return fc.array(row, { minLength: 6, maxLength: 6 }).map(list =>
    list.map(({ values, p }, i) => {
      const more = table.key === 'both' ? ', k' : ''
      const last = table.key === 'both' ? `, '${i % 2 === 0 ? 'x' : 'y'}'` : ''
      return `INSERT INTO ${table.name} (id, c0, c1, c2, p${more}) VALUES (${i + 1}, ${values[0]}, 'was' || ${i}, ${values[1]}, ${p ?? 'NULL'}${last})`
    }),
  )
}

function change(table: Table): fc.Arbitrary<Change> {
  const t = table.name
  const named = (column: string | null, now: string): Rename =>
    column === null
      ? { was: { table: t, column: null }, now: { table: now, column: null } }
      : { was: { table: t, column }, now: { table: t, column: now } }
  return fc.constantFrom<Change>(
    { sql: `ALTER TABLE ${t} ADD COLUMN extra TEXT DEFAULT 'new'` },
    { sql: `ALTER TABLE ${t} ADD COLUMN extra INTEGER` },
    { sql: `ALTER TABLE ${t} RENAME COLUMN c0 TO c0_new`, rename: named('c0', 'c0_new') },
    { sql: `ALTER TABLE ${t} DROP COLUMN c2` },
    { sql: `ALTER TABLE ${t} RENAME TO ${t}_new`, rename: named(null, `${t}_new`) },
    { sql: `DROP TABLE ${t}` },
    { sql: `CREATE TABLE fresh_${t} (id INTEGER PRIMARY KEY, c0 TEXT, c1 TEXT, c2 TEXT, p INTEGER)` },
    { sql: `UPDATE ${t} SET c1 = 'filled' WHERE id % 2 = 0` },
    { sql: `DELETE FROM ${t} WHERE id = 3` },
    { sql: `INSERT INTO ${t} (id, c0) VALUES (77, 'seed')` },
  )
}

export const story: fc.Arbitrary<RandomStory> = fc
  .integer({ min: 1, max: 3 })
  .chain(n => fc.tuple(...Array.from({ length: n }, (_, i) => table(i))))
  .chain(tables => {
    const any = fc.constantFrom(...tables)
    const some = (least: number, most: number) =>
      fc.array(any.chain(statement), { minLength: least, maxLength: most, size: 'max' })
    const fresh = any.chain(t =>
      fc.record({ id, value }).map(x => `INSERT INTO fresh_${t.name} (id, c0) VALUES (${x.id}, ${x.value})`),
    )
    return fc.record({
      base: fc.constant(tables.map(t => create(t, tables))),
      rows: fc.tuple(...tables.map(seeds)).map(rows => rows.flat()),
      early: some(0, 6),
      release: fc.array(any.chain(change), { maxLength: 4 }),
      meanwhile: some(0, 6),
      writes: fc.tuple(some(15, 45), fc.array(fresh, { maxLength: 3 })).map(([a, b]) => [...a, ...b]),
      after: fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 2, arbitrary: some(5, 15) }),
      told: fc.boolean(),
    })
  })
