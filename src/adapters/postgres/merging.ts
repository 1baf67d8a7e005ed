import { pipeline } from 'node:stream/promises'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { BackoutError } from '../../core/errors.ts'
import type {
  Bonds,
  Image,
  ImageName,
  Images,
  Job,
  Merger,
  Refusal,
  Row,
  Staged,
  StagedColumn,
} from '../../data/engine.ts'
import { numbered } from '../../data/numbered.ts'
import { bondsOf } from './bonds.ts'
import { bucketing, dirtyOf, rowHash, rowsIn, type Side, type Sums, sumsOf, totalOf } from './buckets.ts'
import { postgresDialect } from './dialect.ts'
import { explained, sqlState } from './errors.ts'
import { columnsOf } from './fingerprint.ts'
import { sourceOf } from './image.ts'
import { quote, sqlName } from './names.ts'
import type { Source } from './reader.ts'
import { issued, setTo } from './sequences.ts'
import { eachRow, one, openSession, type Session, textOf } from './session.ts'
import { type CopiedColumn, copiedColumns, StagedTypes } from './staged-types.ts'
import { type Column } from './values.ts'

/** SQLSTATEs by which PostgreSQL refuses a row. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  '23505': 'unique',
  '23P01': 'unique',
  '23503': 'foreign-key',
  '23514': 'check',
  '44000': 'check',
  P0001: 'check',
  '23502': 'not-null',
  '42804': 'type',
}

type Beside = Exclude<ImageName, 'ours'>

/** Opened once for each image, in one snapshot. */
type Sessions = Readonly<Record<Beside, Session | null>>

interface Known {
  readonly staged: Staged
  readonly base: Side
  /** Of all rows of base. */
  readonly all: { readonly rows: number; readonly sum: bigint }
}

const LOCK = `SELECT pg_try_advisory_lock(hashtext('backout merge'))`

/**
 * One session on the live database. Images are databases of their own, so that rows are copied from them: those of the parts
 * of a table that differ. What is copied goes with the session, however it ends.
 */
export async function openMerging(source: Source, images: Images | null, job: Job): Promise<Merger> {
  const session = await openSession(source.place, source.database, source.limits, job.signal)
  const opened: Session[] = [session]
  const close = async () => {
    for (const each of opened.toReversed()) await each[Symbol.asyncDispose]()
  }
  try {
    if ((await one(session, LOCK)) !== 'true') throw alreadyMerging(session.name)
    const home = await one(session, `SELECT coalesce(current_schema(), 'public')`)
    await session.query(`SELECT set_config('search_path', $1, false)`, [quote(home)])
    const open = async (image: Image | null | undefined): Promise<Session | null> => {
      if (image == null) return null
      const { place, database, limits } = sourceOf(image)
      const beside = await openSession(place, database, limits, job.signal)
      opened.push(beside)
      await beside.query(`SELECT set_config('search_path', $1, false)`, [quote(home)])
      await beside.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      return beside
    }
    const sessions = {
      base: await open(images?.base),
      theirs: await open(images?.theirs),
      migrated: await open(images?.migrated),
    }
    const quiet = await mayBeQuiet(session)
    return new PostgresMerger(session, sessions, home, quiet, job, close)
  } catch (error) {
    await close()
    throw error
  }
}

/** The right to switch triggers off: superusers have it, and since version 15 it can be given. */
async function mayBeQuiet(session: Session): Promise<boolean> {
  if ((await one(session, 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user')) === 'true') return true
  if (Number(await one(session, `SELECT current_setting('server_version_num')`)) < 150_000) return false
  return (await one(session, `SELECT has_parameter_privilege('session_replication_role', 'SET')`)) === 'true'
}

class PostgresMerger implements Merger {
  readonly quiet: boolean
  readonly #session: Session
  readonly #images: Sessions
  readonly #home: string
  readonly #job: Job
  readonly #close: () => Promise<void>
  readonly #types: StagedTypes
  readonly #dialect
  readonly #tables = new Map<string, string>()
  readonly #known = new Map<string, Known>()
  #inTransaction = false

  constructor(session: Session, images: Sessions, home: string, quiet: boolean, job: Job, close: () => Promise<void>) {
    this.quiet = quiet
    this.#session = session
    this.#images = images
    this.#home = home
    this.#job = job
    this.#close = close
    this.#types = new StagedTypes(session)
    this.#dialect = postgresDialect(() => quiet)
  }

  bonds(): Promise<Record<string, Bonds>> {
    return bondsOf(this.#session, this.#home)
  }

  table(image: ImageName, name: string): string {
    if (image === 'ours') return sqlName(name, this.#home)
    const staged = this.#tables.get(`${image} ${name}`)
    if (staged === undefined) throw new Error(`${name} of ${image} was not staged`)
    return staged
  }

  query(sql: string, values?: readonly unknown[]): Promise<Row[]> {
    return this.#session.query(sql, values)
  }

  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void> {
    return eachRow(this.#session, sql, values, row, !this.#inTransaction)
  }

  run(sql: string, values?: readonly unknown[]): Promise<number> {
    return this.#session.run(sql, values)
  }

  async work(
    name: string,
    select: string,
    indexes: readonly (readonly string[])[],
    order?: readonly string[],
  ): Promise<string> {
    const table = `pg_temp.${quote(name)}`
    await this.query(`DROP TABLE IF EXISTS ${table}`)
    await this.query(`CREATE TEMP TABLE ${quote(name)} AS ${numbered(select, order)}`)
    for (const columns of indexes) await this.query(`CREATE INDEX ON ${table} (${columns.map(quote).join(', ')})`)
    await this.query(`ANALYZE ${table}`)
    return table
  }

  async stage(staged: Staged): Promise<void> {
    const sides = await this.#sidesOf(staged)
    const by = await bucketing(Object.values(sides))
    // Two servers, or two processes of one: both are asked at the same time.
    const [base, theirs] = by === null ? [null, null] : await both(sumsOf(sides.base, by), sumsOf(sides.theirs, by))
    const dirty = base === null || theirs === null ? null : dirtyOf(base, theirs)
    for (const [image, side] of Object.entries(sides) as [Beside, Side][]) {
      const sums = image === 'base' ? base : theirs
      const rows =
        dirty === null || by === null || sums === null
          ? `${side.table} AS x`
          : rowsIn(side, by, dirty, shareOf(sums, dirty))
      await this.#copy(image, staged, side, rows)
    }
    const all = base === null ? await totalIn(sides.base) : totalOf(base)
    this.#known.set(staged.names.ours, { staged, base: sides.base, all })
  }

  async #sidesOf(staged: Staged): Promise<{ base: Side; theirs: Side } & Partial<Record<'migrated', Side>>> {
    const side = async (image: Beside): Promise<Side | null> => {
      const session = this.#images[image]
      const name = staged.names[image]
      return session === null || name === null ? null : this.#sideOf(session, sqlName(name, this.#home), staged, image)
    }
    const [base, theirs, migrated] = [await side('base'), await side('theirs'), await side('migrated')]
    if (base === null || theirs === null) throw new Error(`${staged.names.ours} is not in every image`)
    return { base, theirs, ...(migrated === null ? {} : { migrated }) }
  }

  async #sideOf(session: Session, table: string, staged: Staged, image: ImageName): Promise<Side> {
    const known = (await columnsOf(session, [table])).get(table)
    const find = (name: string): Column => {
      const column = known?.get(name)
      if (column === undefined) throw new Error(`${table} has no column ${name}`)
      return column
    }
    const present = staged.columns.filter(c => c[image] !== null)
    const key = staged.key.map(k =>
      find(
        nameIn(
          staged.columns.find(c => c.ours === k),
          image,
        ),
      ),
    )
    return { session, table, key, columns: present.map(c => find(nameIn(c, image))) }
  }

  async #copy(image: Beside, staged: Staged, side: Side, rows: string): Promise<void> {
    const name = staged.names[image] ?? ''
    const table = `backout_${image}_${this.#tables.size}`
    const types = await copiedColumns(side.session, side.table)
    const ours = await copiedColumns(this.#session, sqlName(staged.names.ours, this.#home))
    const columns: string[] = []
    for (const column of side.columns) {
      const type = types.get(column.name) as CopiedColumn
      const mine = staged.columns.find(c => c[image] === column.name)?.ours
      columns.push(`${quote(column.name)} ${await this.#types.typeFor(type, ours.get(mine ?? ''))}`)
    }
    await this.query(`CREATE TEMP TABLE ${quote(table)} (${columns.join(', ')})`)
    const list = side.columns.map(c => quote(c.name))
    this.#job.progress({ text: `copying what differs of ${name} in ${image}` })
    await copyRows(
      side.session,
      `COPY (SELECT ${list.map(c => `x.${c}`).join(', ')} FROM ${rows}) TO STDOUT`,
      this.#session,
      `COPY pg_temp.${quote(table)} (${list.join(', ')}) FROM STDIN`,
    )
    const key = side.key.map(c => quote(c.name))
    if (key.length > 0) await this.query(`CREATE INDEX ON pg_temp.${quote(table)} (${key.join(', ')})`)
    await this.query(`ANALYZE pg_temp.${quote(table)}`)
    this.#tables.set(`${image} ${name}`, `pg_temp.${quote(table)}`)
  }

  /** Each image is read in one snapshot. */
  async unmoved(): Promise<boolean> {
    return true
  }

  /** Sums over all of ours but for what was touched, and over all of base but for the same, which was staged. */
  async untouched(table: Staged, _types: readonly string[], touched: string): Promise<number> {
    const known = this.#known.get(table.names.ours)
    if (known === undefined) throw new Error(`${table.names.ours} was not staged`)
    const ours = await this.#sideOf(this.#session, this.table('ours', table.names.ours), known.staged, 'ours')
    const copied = await this.#sideOf(this.#session, this.table('base', table.names.base), known.staged, 'base')
    const left = await totalIn(ours, `WHERE NOT ${this.#among(ours, touched)}`)
    const gone = await totalIn(copied, `WHERE ${this.#among(copied, touched)}`)
    return left.rows === known.all.rows - gone.rows && left.sum === known.all.sum - gone.sum ? 0 : 1
  }

  #among(side: Side, touched: string): string {
    const at = (c: Column) => `x.${quote(c.name)}`
    const keys =
      side.key.length > 0
        ? side.key.map(at)
        : [this.#dialect.key(side.columns.map(c => this.#dialect.text(at(c), c.type)))]
    const names = keys.map((_, i) => `k${i}`)
    return `EXISTS (SELECT FROM (${touched}) AS w(${names.join(', ')}) WHERE ${keys.map((k, i) => `w.${names[i]} = ${k}`).join(' AND ')})`
  }

  async transaction<T>(work: () => Promise<T>): Promise<T> {
    this.#job.guard()
    await this.query(['BEGIN', ...this.#dialect.quiet.on].join('; '))
    this.#inTransaction = true
    try {
      const answer = await work()
      this.#job.guard()
      await this.query('COMMIT')
      return answer
    } catch (error) {
      await this.#session.client.query('ROLLBACK').catch(() => {})
      throw explained(this.#session.name, error)
    } finally {
      this.#inTransaction = false
    }
  }

  async savepoint(work: () => Promise<void>): Promise<unknown> {
    await this.query('SAVEPOINT backout_part')
    try {
      await work()
      await this.query('RELEASE backout_part')
      return null
    } catch (error) {
      await this.query('ROLLBACK TO backout_part; RELEASE backout_part')
      return error
    }
  }

  refusal(error: unknown): Refusal | null {
    const state = sqlState(error instanceof BackoutError ? error.cause : error)
    return REFUSALS[state] ?? (state.startsWith('22') ? 'type' : null)
  }

  /** Behind every number of ours and theirs, and behind every number that a row has. */
  async sequences(): Promise<void> {
    const theirs = this.#images.theirs === null ? [] : (await issued(this.#images.theirs)).sequences
    for (const mine of (await issued(this.#session)).sequences) {
      const numbers = [
        mine,
        ...theirs.filter(s => s.name === mine.name),
        ...(await this.#counterparts(mine.name, theirs)),
      ]
      const called = numbers.filter(n => n.called).map(n => n.last)
      const highest = await this.#highest(mine.name, mine.up)
      if (highest !== null) called.push(highest)
      const last = called.reduce<bigint | null>((a, b) => (a === null || (mine.up ? b > a : b < a) ? b : a), null)
      if (last === null || (mine.called && mine.last === last)) continue
      this.#job.guard()
      await setTo(this.#session, mine.name, { last, called: true })
    }
  }

  /** The sequence of the same column, where the release gave table, column or sequence another name. */
  async #counterparts<S extends { name: string }>(sequence: string, theirs: readonly S[]): Promise<S[]> {
    const session = this.#images.theirs
    const owner = await this.#owner(sequence)
    const known =
      owner === null
        ? undefined
        : [...this.#known.values()].find(k => this.table('ours', k.staged.names.ours) === owner.table)
    const column = known?.staged.columns.find(c => c.ours === owner?.column)
    if (session === null || known === undefined || column === undefined) return []
    const table = sqlName(known.staged.names.theirs, this.#home)
    const [row] = await session.query('SELECT pg_get_serial_sequence($1, $2) AS name', [table, column.theirs])
    const found = textOf(row, 'name')
    const [same] =
      found === null
        ? []
        : await session.query(
            `SELECT format('%I.%I', n.nspname, c.relname) AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::regclass`,
            [found],
          )
    return theirs.filter(s => s.name === textOf(same, 'name'))
  }

  async #owner(sequence: string): Promise<{ table: string; column: string } | null> {
    const [row] = await this.query(
      `SELECT n.nspname AS schema, c.relname AS name, a.attname AS col FROM pg_depend d JOIN pg_class c ON c.oid = d.refobjid
       JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
       WHERE d.classid = 'pg_class'::regclass AND d.objid = $1::regclass AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass`,
      [sequence],
    )
    if (row === undefined) return null
    return { table: `${quote(String(row['schema']))}.${quote(String(row['name']))}`, column: String(row['col']) }
  }

  async #highest(sequence: string, up: boolean): Promise<bigint | null> {
    const owner = await this.#owner(sequence)
    if (owner === null) return null
    const sql = `SELECT ${up ? 'max' : 'min'}(${quote(owner.column)})::text AS n FROM ${owner.table}`
    const highest = textOf((await this.query(sql))[0], 'n')
    return highest === null || !/^-?\d+$/.test(highest) ? null : BigInt(highest)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close()
  }
}

function nameIn(column: StagedColumn | undefined, image: ImageName): string {
  const name = column?.[image]
  if (name == null) throw new Error(`a column has no name in ${image}`)
  return name
}

function shareOf(sums: Sums, dirty: readonly string[]): number {
  const all = totalOf(sums).rows
  return all === 0 ? 0 : dirty.reduce((n, bucket) => n + (sums.get(bucket)?.rows ?? 0), 0) / all
}

async function totalIn(side: Side, where = ''): Promise<{ rows: number; sum: bigint }> {
  const sql = `SELECT count(*) AS n, coalesce(sum(${rowHash(side)}), 0)::text AS sum FROM ${side.table} AS x ${where}`
  const [row] = await side.session.query(sql)
  return { rows: Number(row?.['n']), sum: BigInt(textOf(row, 'sum') ?? 0) }
}

/** Waits for both before it tells of one that failed. */
async function both<T>(a: Promise<T>, b: Promise<T>): Promise<[T, T]> {
  await Promise.allSettled([a, b])
  return [await a, await b]
}

async function copyRows(from: Session, out: string, to: Session, in_: string): Promise<void> {
  try {
    await pipeline(from.client.query(copyTo(out)), to.client.query(copyFrom(in_)))
  } catch (error) {
    from.signal.throwIfAborted()
    throw explained(from.name, error)
  }
}

function alreadyMerging(name: string): BackoutError {
  return new BackoutError({
    code: 'database_busy',
    what: `Another process is carrying data forward into ${name}`,
    next: 'wait until it is done, or end it, then try again',
    exit: 'busy',
  })
}
