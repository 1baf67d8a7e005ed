import { BackoutError } from '../../core/errors.ts'
import { hashOf } from '../../core/json.ts'
import type { FingerprintPart } from '../../data/engine.ts'
import type { Fingerprint, TableFingerprint } from '../../data/fingerprint.ts'
import { OBJECTS } from '../../data/objects.ts'
import type { SchemaShape, TableShape } from '../../data/schema.ts'
import { NEVER_NULL } from './catalog.ts'
import { quote, sqlName } from './names.ts'
import { one, type Session, textOf } from './session.ts'
import { COLUMNS_OF, type Column, hashed, seedOf } from './values.ts'

/** How digests are made. A digest is the sum of the hashes of all values. */
export const METHOD = 'postgres-2'

/** PostgreSQL gives 1,664 results a query at the most. */
const COLUMNS_A_QUERY = 800

/** One query over one table, and where its answers go. */
interface Work {
  readonly table: string
  readonly bytes: number
  readonly columns: readonly Column[]
  readonly sql: string
}

/**
 * Reads every value of every table of the schema, in the server. `sessions` see one snapshot and share the work; names
 * are looked up in pg_catalog only, so that nothing of the database's own is called.
 */
export async function fingerprint(
  sessions: readonly Session[],
  schema: SchemaShape,
  home: string,
  part?: FingerprintPart,
): Promise<Fingerprint> {
  const names = Object.keys(schema.tables).filter(name => part === undefined || part.tables.includes(name))
  const [first] = sessions as readonly [Session, ...Session[]]
  const work = await workFor(first, schema, home, names, part)
  const found = new Map<string, TableFingerprint>(names.map(name => [name, { rows: 0, columns: {} }]))
  // The longest first, so that none is left over at the end.
  const queue = [...work].sort((a, b) => b.bytes - a.bytes)
  const serve = async (session: Session) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { rows, columns } = await digestsOf(session, next)
      const before = found.get(next.table)
      found.set(next.table, { rows, columns: { ...before?.columns, ...columns } })
    }
  }
  await allOrNone(sessions.map(serve))
  const tables = [...found]
  if (part === undefined) tables.push(...(await largeObjects(first)))
  return { method: METHOD, tables: Object.fromEntries(tables) }
}

/** Waits for all before it tells of one that failed: nobody may go on asking a session that is about to end. */
async function allOrNone(work: readonly Promise<void>[]): Promise<void> {
  const ended = await Promise.allSettled(work)
  const failed = ended.find(e => e.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

async function workFor(
  session: Session,
  schema: SchemaShape,
  home: string,
  names: readonly string[],
  part: FingerprintPart | undefined,
): Promise<Work[]> {
  const sqlOf = (name: string) => sqlName(name, home)
  const known = await columnsOf(session, names.map(sqlOf))
  const keys = await keysOf(session, names.map(sqlOf))
  const sizes = await sizesOf(session, names.map(sqlOf))
  return names.flatMap(name => {
    const shape = schema.tables[name]
    const sql = sqlOf(name)
    const place = { from: sql, bytes: 0, ...sizes.get(sql), only: part?.columns?.[name] }
    return shape === undefined ? [] : workOf(name, place, shape, known.get(sql), keys.get(sql))
  })
}

function workOf(
  table: string,
  { from, bytes, only }: { from: string; bytes: number; only: readonly string[] | undefined },
  shape: TableShape,
  known: ReadonlyMap<string, Column> | undefined,
  key: readonly string[] | undefined,
): Work[] {
  const find = (name: string): Column => {
    const column = known?.get(name)
    if (column !== undefined) return column
    throw new BackoutError({
      code: 'schema_moved',
      what: `The column ${table}.${name} is not there any more`,
      cause: 'the schema was changed while it was read',
      next: 'wait until the migration is through, then try again',
      exit: 'failed',
    })
  }
  const wanted = Object.keys(shape.columns).filter(name => only === undefined || only.includes(name))
  const columns = wanted.filter(name => shape.columns[name]?.generated === false).map(find)
  const seed = key === undefined ? '0' : seedOf(key.map(find))
  const out: Work[] = []
  for (let at = 0; at === 0 || at < columns.length; at += COLUMNS_A_QUERY) {
    const some = columns.slice(at, at + COLUMNS_A_QUERY)
    const sums = some.map(c => `coalesce(sum(${hashed(c, seed)}), 0)`)
    out.push({ table, bytes, columns: some, sql: `SELECT ${['count(*)', ...sums].join(', ')} FROM ${from}` })
  }
  if (key !== undefined || columns.length < 2 || only !== undefined) return out
  // Nothing ties the values of a row together: the rows as wholes do, whatever their order.
  const row = `hashtextextended(ROW(${columns.map(c => quote(c.name)).join(', ')})::text COLLATE "C", 0)`
  const whole = { name: rowName(columns), type: 'record', builtin: true, cast: false }
  return [...out, { table, bytes, columns: [whole], sql: `SELECT count(*), coalesce(sum(${row}), 0) FROM ${from}` }]
}

/** The digest of whole rows only compares with one of the same columns, so these are in its name. */
function rowName(columns: readonly Column[]): string {
  const names = columns.map(c => c.name)
  const list = names.join(', ')
  return list.length <= 80 ? `(${list})` : `(${names.length} columns ${hashOf(names).slice(0, 8)})`
}

async function digestsOf(session: Session, work: Work): Promise<TableFingerprint> {
  const { rows } = await session.arrays(work.sql)
  const [total, ...values] = rows[0] ?? []
  const digests = work.columns.map((c, i) => [c.name, String(values[i])])
  return { rows: Number(total), columns: Object.fromEntries(digests) as Record<string, string> }
}

/** What the catalogue says of the columns of relations, by their SQL names. */
export async function columnsOf(
  session: Session,
  relations: readonly string[],
): Promise<Map<string, Map<string, Column>>> {
  const out = new Map<string, Map<string, Column>>()
  for (const row of await session.query(COLUMNS_OF, [relations])) {
    const { rel, ...column } = row as unknown as Column & { rel: string }
    const columns = out.get(rel) ?? new Map<string, Column>()
    out.set(rel, columns.set(column.name, column))
  }
  return out
}

/** The primary key, else a unique key of columns that are never NULL; the same one after a restore. */
const KEYS = `
  SELECT DISTINCT ON (r.rel) r.rel, (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, n), pg_attribute a
      WHERE k.n <= i.indnkeyatts AND a.attrelid = i.indrelid AND a.attnum = k.num) AS key
  FROM unnest($1::text[]) AS r(rel) JOIN pg_index i ON i.indrelid = r.rel::regclass JOIN pg_class x ON x.oid = i.indexrelid
  WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
      AND (NOT ${NEVER_NULL} OR a.attgenerated <> ''))
  ORDER BY r.rel, i.indisprimary DESC, i.indnkeyatts, x.relname COLLATE "C"`

async function keysOf(session: Session, relations: string[]): Promise<Map<string, string[]>> {
  const rows = await session.query(KEYS, [relations])
  return new Map(rows.map(row => [String(row['rel']), JSON.parse(String(row['key'])) as string[]]))
}

/** A partitioned table is read through itself; one that others inherit from without them, for these are tables too. */
async function sizesOf(session: Session, relations: string[]): Promise<Map<string, { from: string; bytes: number }>> {
  const sql = `SELECT r.rel, c.relkind = 'p' AS parts, sum(pg_relation_size(p.relid)) AS bytes
    FROM unnest($1::text[]) AS r(rel) JOIN pg_class c ON c.oid = r.rel::regclass,
      LATERAL (SELECT relid FROM pg_partition_tree(c.oid) UNION SELECT c.oid) p GROUP BY r.rel, c.relkind`
  const rows = await session.query(sql, [relations])
  return new Map(
    rows.map(row => {
      const rel = String(row['rel'])
      return [rel, { from: row['parts'] === true ? rel : `ONLY ${rel}`, bytes: Number(row['bytes']) }]
    }),
  )
}

const OBJECTS_AT_ONCE = 1_000
const OBJECT_PIECE = 4 * 1024 * 1024

/** Large objects lie in no table. What was opened is closed with the savepoint, or a million would stay open. */
async function largeObjects(session: Session): Promise<[string, TableFingerprint][]> {
  if ((await one(session, 'SELECT count(*) FROM pg_largeobject_metadata')) === '0') return []
  let [rows, sum, after] = [0, 0n, -1]
  for (;;) {
    await session.query('SAVEPOINT objects')
    const [row] = await session.query(
      `WITH batch AS (SELECT oid FROM pg_largeobject_metadata WHERE oid::int8 > $1 ORDER BY oid LIMIT ${OBJECTS_AT_ONCE}),
        sized AS MATERIALIZED (SELECT oid, lo_lseek64(lo_open(oid, x'40000'::int), 0, 2) AS bytes FROM batch)
      SELECT count(DISTINCT oid) AS n, max(oid::int8) AS last,
        sum(hashtextextended(md5(lo_get(oid, at, ${OBJECT_PIECE})), hashint8extended(at, hashoidextended(oid, bytes)))) AS sum
      FROM sized, generate_series(0, greatest(bytes - 1, 0), ${OBJECT_PIECE}) AS at`,
      [after],
    )
    await session.query('ROLLBACK TO objects; RELEASE objects')
    rows += Number(row?.['n'])
    sum += BigInt(textOf(row, 'sum') ?? 0)
    if (Number(row?.['n']) < OBJECTS_AT_ONCE) break
    after = Number(row?.['last'])
  }
  return [[OBJECTS, { rows, columns: { content: String(sum) } }]]
}
