import { BackoutError } from '../../core/errors.ts'
import type { FingerprintPart, Reader, Row } from '../../data/engine.ts'
import type { Fingerprint } from '../../data/fingerprint.ts'
import type { SchemaShape } from '../../data/schema.ts'
import { fingerprint } from './fingerprint.ts'
import { objectsAfter } from './large-objects.ts'
import { quote, sqlName } from './names.ts'
import type { Place } from './place.ts'
import { renames } from './renames.ts'
import { lookingIn, readSchema, type Where } from './schema.ts'
import { eachRow, type Limits, one, openSession, type Session } from './session.ts'

/** A database to read from. */
export interface Source {
  readonly place: Place
  readonly database: string
  readonly limits: Limits
  /** Connections for one fingerprint. */
  readonly parallel: number
  /** The schema that is looked in first; null: what the server says. A restored copy is read as the original was. */
  readonly home: string | null
}

const BEGIN = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'

/** What a dump takes to see the same instant. */
export interface Snapshot {
  readonly id: string
  readonly where: Where
  readonly session: Session
}

/** Runs `work` in one snapshot that others can share. */
export async function inSnapshot<T>(
  source: Source,
  signal: AbortSignal,
  work: (db: Reader, snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  await using session = await openSession(source.place, source.database, source.limits, signal)
  await session.query(BEGIN)
  const where = await whereIs(session, source)
  if (source.home !== null) await session.query(`SELECT set_config('search_path', $1, true)`, [quote(source.home)])
  const snapshot = { id: await one(session, 'SELECT pg_export_snapshot()'), where, session }
  return await work(readerOf(source, snapshot), snapshot)
}

async function whereIs(session: Session, source: Source): Promise<Where> {
  const sql = `SELECT coalesce(current_schema(), 'public') AS home, oid FROM pg_database WHERE datname = current_database()`
  const [row] = await session.query(sql)
  return { home: source.home ?? String(row?.['home']), origin: `${await systemOf(session)}.${String(row?.['oid'])}` }
}

/**
 * Which server this is, the same for its replicas. Where the role may not ask (a managed service took the right away)
 * it is told by the address.
 */
export async function systemOf(session: Session): Promise<string> {
  const allowed = `SELECT has_function_privilege('pg_control_system()', 'EXECUTE')`
  if ((await one(session, allowed)) === 'true') {
    return one(session, 'SELECT system_identifier::text FROM pg_control_system()')
  }
  return session.name.slice(session.name.lastIndexOf(' on ') + 4)
}

function readerOf(source: Source, { id, where, session }: Snapshot): Reader {
  const inHome = <T>(work: () => Promise<T>) => lookingIn(session, quote(where.home), work)
  const schema = () => inHome(() => readSchema(session, where))
  const print = (shape: SchemaShape, part?: FingerprintPart) =>
    withHelpers(source, id, session, shape, part, sessions => fingerprint(sessions, shape, where.home, part))
  return {
    query: (sql, values) => session.query(sql, values),
    each: (sql, values, row) => eachRow(session, sql, values, row),
    schema,
    fingerprint: print,
    rowCounts: shape => rowCounts(session, shape, where.home),
    bytes: async () => Number(await one(session, 'SELECT pg_database_size(current_database())')),
    renames: async (base, _data, now) => renames(base, now),
    objects: after => objectsAfter(session, after),
  }
}

/** Gives `work` as many sessions of the snapshot as the tables are worth. */
async function withHelpers(
  source: Source,
  id: string,
  own: Session,
  shape: SchemaShape,
  part: FingerprintPart | undefined,
  work: (sessions: readonly Session[]) => Promise<Fingerprint>,
): Promise<Fingerprint> {
  const tables = part === undefined ? Object.keys(shape.tables) : part.tables
  await using helpers = new AsyncDisposableStack()
  const sessions = [own]
  while (sessions.length < Math.min(source.parallel, tables.length)) {
    const helper = helpers.use(await openSession(source.place, source.database, source.limits, own.signal))
    await helper.query(`${BEGIN}; SET TRANSACTION SNAPSHOT '${id}'`)
    await helper.query(`SELECT set_config('search_path', 'pg_catalog', true)`)
    sessions.push(helper)
  }
  return await lookingIn(own, 'pg_catalog', () => work(sessions))
}

/** Tables up to this size are counted. Bytes. */
const SMALL = 1024 * 1024

/** By the server's statistics where there are any; else by what its planner would guess. */
async function rowCounts(session: Session, shape: SchemaShape, home: string): Promise<Record<string, number>> {
  const names = Object.keys(shape.tables)
  const sql = `SELECT r.rel, sum(CASE WHEN c.reltuples > 0 AND c.relpages > 0
        THEN c.reltuples::float8 / c.relpages * pg_relation_size(c.oid) / current_setting('block_size')::float8 END) AS known,
      sum(pg_relation_size(c.oid)) AS bytes
    FROM unnest($1::text[]) AS r(rel), LATERAL (SELECT relid FROM pg_partition_tree(r.rel::regclass)
      UNION SELECT r.rel::regclass) p JOIN pg_class c ON c.oid = p.relid GROUP BY r.rel`
  const found = new Map<string, Row>()
  for (const row of await session.query(sql, [names.map(n => sqlName(n, home))])) found.set(String(row['rel']), row)
  const counts: [string, number][] = []
  for (const name of names) {
    const table = sqlName(name, home)
    const row = found.get(table)
    const known = row?.['known']
    if (Number(row?.['bytes']) <= SMALL)
      counts.push([name, Number(await one(session, `SELECT count(*) FROM ${table}`))])
    else counts.push([name, known == null ? await guessed(session, table) : Math.round(Number(known))])
  }
  return Object.fromEntries(counts)
}

async function guessed(session: Session, table: string): Promise<number> {
  const plan = JSON.parse(await one(session, `EXPLAIN (FORMAT JSON) SELECT FROM ${table}`)) as [{ Plan?: object }]
  const rows = (plan[0].Plan as { 'Plan Rows'?: number } | undefined)?.['Plan Rows']
  if (rows !== undefined) return rows
  throw new BackoutError({ code: 'database_failed', what: `${session.name} does not say how many rows ${table} has` })
}
