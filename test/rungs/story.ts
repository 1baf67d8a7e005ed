import * as fc from 'fast-check'
import type { Rename } from '../../src/data/renames.ts'

/** One migration of a random release, in SQL that SQLite, PostgreSQL and MariaDB share. */
export interface Migration {
  readonly name: string
  readonly up: string
  /** null: it has no way back. */
  readonly down: string | null
  readonly rename?: Rename
}

export interface RungStory {
  readonly base: readonly string[]
  readonly release: readonly Migration[]
  /** What users wrote after the backup: before and after the migrations, before anybody told that they had ended, and then. */
  readonly early: readonly string[]
  readonly meanwhile: readonly string[]
  readonly writes: readonly string[]
  /** Whether anybody told that the migrations had ended. */
  readonly told: boolean
}

type Key = 'number' | 'both' | 'none'

const KEYS: Record<Key, string> = { number: 'PRIMARY KEY (id)', both: 'PRIMARY KEY (id, k)', none: '' }

interface Table {
  readonly name: string
  readonly key: Key
  readonly parent: string | null
}

const id = fc.integer({ min: 1, max: 9 })
const words = fc.constantFrom("'a'", "'A'", "''", 'NULL', "'it''s'", "'ä\u{1f600}'", "'longer than that'")

function create({ name, key, parent }: Table): string {
  const parts = ['id int NOT NULL', 'k int NOT NULL DEFAULT 1', 'c0 varchar(40)', 'c1 int', 'c2 varchar(40)', 'p int']
  if (key !== 'none') parts.push(KEYS[key])
  if (parent !== null) parts.push(`FOREIGN KEY (p) REFERENCES ${parent} (id)`)
  return `CREATE TABLE ${name} (${parts.join(', ')})`
}

function seeds({ name }: Table): fc.Arbitrary<string[]> {
  const row = fc.record({ c0: words, c2: words })
  return fc
    .array(row, { minLength: 5, maxLength: 5 })
    .map(rows =>
      rows.map(
        ({ c0, c2 }, i) => `INSERT INTO ${name} (id, c0, c1, c2) VALUES (${i + 1}, ${c0}, ${(i + 1) * 10}, ${c2})`,
      ),
    )
}

/** What does not exist fails, and was never committed: columns are named as in the schema of the release or in the new one. */
function write({ name, key }: Table): fc.Arbitrary<string> {
  const column = fc.constantFrom('c0', 'c0_new', 'c2', 'extra')
  const insert = fc
    .record({
      id,
      c0: words,
      column: fc.constantFrom('c0', 'c0_new'),
      k: fc.integer({ min: 1, max: 2 }),
      p: fc.option(id),
    })
    .map(
      x =>
        `INSERT INTO ${name} (id, k, ${x.column}, c1, p) VALUES (${x.id}, ${x.k}, ${x.c0}, ${x.id}, ${x.p ?? 'NULL'})`,
    )
  const update = fc
    .record({ id, column, value: words })
    .map(x => `UPDATE ${name} SET ${x.column} = ${x.value} WHERE id = ${x.id}`)
  const count = fc.record({ id, n: id }).map(x => `UPDATE ${name} SET c1 = ${x.n} WHERE id = ${x.id}`)
  const remove = id.map(n => `DELETE FROM ${name} WHERE id = ${n}${key === 'both' ? ' AND k = 1' : ''}`)
  const fresh = fc.record({ id, v: words }).map(x => `INSERT INTO fresh (id, v) VALUES (${x.id}, ${x.v})`)
  return fc.oneof(
    { weight: 4, arbitrary: insert },
    { weight: 4, arbitrary: update },
    { weight: 2, arbitrary: count },
    { weight: 2, arbitrary: remove },
    { weight: 1, arbitrary: fresh },
  )
}

type Unnamed = Omit<Migration, 'name'>

/** `data`: the migration may write rows too, which no way back can be held to. */
function migration({ name }: Table, data: boolean): fc.Arbitrary<Unnamed> {
  const rename: Rename = { was: { table: name, column: 'c0' }, now: { table: name, column: 'c0_new' } }
  const schema: Unnamed[] = [
    { up: `ALTER TABLE ${name} ADD COLUMN extra varchar(40)`, down: `ALTER TABLE ${name} DROP COLUMN extra` },
    { up: 'CREATE TABLE fresh (id int NOT NULL PRIMARY KEY, v varchar(40))', down: 'DROP TABLE fresh' },
    {
      up: `ALTER TABLE ${name} RENAME COLUMN c0 TO c0_new`,
      down: `ALTER TABLE ${name} RENAME COLUMN c0_new TO c0`,
      rename,
    },
  ]
  const rows: Unnamed[] = [
    { up: `UPDATE ${name} SET c1 = c1 + 100 WHERE id < 4`, down: null },
    { up: `DELETE FROM ${name} WHERE id = 2`, down: null },
    { up: `ALTER TABLE ${name} DROP COLUMN c2`, down: null },
  ]
  return fc.constantFrom(...schema, ...(data ? rows : []))
}

/** `data`: see `migration`. */
export function rungStory(data: boolean): fc.Arbitrary<RungStory> {
  const table = (i: number) =>
    fc
      .record({ key: fc.constantFrom<Key>('number', 'number', 'both', 'none'), child: fc.boolean() })
      .map(({ key, child }): Table => ({ name: `t${i}`, key, parent: i > 0 && child ? 't0' : null }))
  return fc
    .tuple(table(0), table(1))
    .map(([a, b]) => [a, { ...b, parent: a.key === 'number' ? b.parent : null }])
    .chain(tables => {
      const any = fc.constantFrom(...tables)
      const some = (most: number) => fc.array(any.chain(write), { maxLength: most, size: 'max' })
      const release = fc
        .uniqueArray(
          any.chain(t => migration(t, data)),
          { minLength: 1, maxLength: 4, selector: m => m.up },
        )
        .map(list => list.map((m, i) => ({ ...m, name: `00${i + 2}_change` })))
      return fc.record({
        base: fc.tuple(...tables.map(seeds)).map(rows => [...tables.map(create), ...rows.flat()]),
        release,
        early: some(3),
        meanwhile: some(3),
        writes: some(20),
        told: fc.boolean(),
      })
    })
}
