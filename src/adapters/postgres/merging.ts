import { BackoutError } from '../../core/errors.ts'
import { afterDeadlocks } from '../../data/deadlock.ts'
import type {
  Bonds,
  Dialect,
  Image,
  ImageName,
  Images,
  Job,
  LargeObjects,
  Merger,
  Refusal,
  Row,
  Staged,
} from '../../data/engine.ts'
import { numbered } from '../../data/numbered.ts'
import { bondsOf } from './bonds.ts'
import { keepNumbers } from './carried-numbers.ts'
import { postgresDialect } from './dialect.ts'
import { explained, sqlState } from './errors.ts'
import { sourceOf } from './image.ts'
import { largeObjects } from './large-objects.ts'
import { quote, sqlName } from './names.ts'
import type { Source } from './reader.ts'
import { asBefore, checking, type Recheck, rechecksOf } from './rechecks.ts'
import { eachRow, one, openSession, type Session, textOf } from './session.ts'
import { type Sessions, Stage } from './stage.ts'
import { FIRES_QUIET, Silence } from './triggers.ts'

/** SQLSTATEs by which PostgreSQL refuses a row, as kinds of their own. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  '23505': 'unique',
  '23P01': 'unique',
  '23503': 'foreign-key',
  '23514': 'check',
  '23502': 'not-null',
  '42804': 'type',
  // A number of its own for a column that takes none.
  '428C9': 'check',
}

/**
 * Classes that say nothing of a row: the connection, the transaction, what is lacking, locks, operators, the system, and
 * statements that are wrong. All else is a word of the database on data: also of a function or a trigger, in codes of their own.
 */
const NOT_OF_ROWS = /^(0[0-38AB]|24|25|26|2D|34|3B|3D|3F|40|42|53|55|57|58|72|F0|HV|XX|54001|54011|54023)/

const LOCK = `SELECT pg_try_advisory_lock(hashtext('backout merge'))`

/**
 * What is merged lies in temporary tables, which would else be written to the server's disk and read back again and again.
 * Of each of them a sample of 3,000 rows tells enough.
 */
const ROOM = `SELECT set_config('default_statistics_target', '10', false),
  set_config('temp_buffers', greatest(131072, pg_size_bytes(current_setting('temp_buffers')) / 1024) || 'kB', false)`

/** Rows are found by keys, in whose order they lie: hashing them, wide as they are, takes longer than walking two indexes. */
const BY_ORDER = 'enable_hashjoin = off'
const SORTING = `SELECT set_config('work_mem', greatest(32768, pg_size_bytes(current_setting('work_mem')) / 1024)::text, true)`

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
    await session.query(ROOM)
    const open = async (image: Image | null | undefined): Promise<Session | null> => {
      if (image == null) return null
      const { place, database, limits } = sourceOf(image)
      const beside = await openSession(place, database, limits, job.signal)
      opened.push(beside)
      await beside.query(`SELECT set_config('search_path', $1, false)`, [quote(home)])
      await beside.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      return beside
    }
    const beside = [open(images?.base), open(images?.theirs), open(images?.migrated)]
    await Promise.allSettled(beside)
    const [base = null, theirs = null, migrated = null] = await Promise.all(beside)
    const sessions = { base, theirs, migrated }
    const rechecks = await rechecksOf(session)
    const quiet = await mayBeQuiet(session, rechecks)
    const silent = quiet && (await one(session, FIRES_QUIET)) !== 'true'
    const silence = silent ? null : new Silence(session, quiet)
    return new PostgresMerger(session, sessions, { home, quiet, rechecks, silence }, job, close)
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * The right to switch all triggers off, those of foreign keys too: superusers have it, and since version 15 it can be given. Only superusers can leave those
 * on that check constraints which may be deferred.
 */
async function mayBeQuiet(session: Session, rechecks: readonly Recheck[]): Promise<boolean> {
  if ((await one(session, 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user')) === 'true') return true
  if (rechecks.length > 0) return false
  if (Number(await one(session, `SELECT current_setting('server_version_num')`)) < 150_000) return false
  return (await one(session, `SELECT has_parameter_privilege('session_replication_role', 'SET')`)) === 'true'
}

interface Live {
  readonly home: string
  readonly quiet: boolean
  readonly rechecks: readonly Recheck[]
  /** null: none is needed, for no trigger fires. */
  readonly silence: Silence | null
}

class PostgresMerger implements Merger {
  readonly quiet: boolean
  readonly objects?: LargeObjects
  readonly #session: Session
  readonly #images: Sessions
  readonly #home: string
  readonly #job: Job
  readonly #close: () => Promise<void>
  readonly #dialect: Dialect
  readonly #stage: Stage
  readonly #rechecks: readonly Recheck[]
  readonly #silence: Silence | null
  #inTransaction = false

  constructor(
    session: Session,
    images: Sessions,
    { home, quiet, rechecks, silence }: Live,
    job: Job,
    close: () => Promise<void>,
  ) {
    this.quiet = quiet
    this.#rechecks = rechecks
    this.#silence = silence
    this.#session = session
    this.#images = images
    this.#home = home
    this.#job = job
    this.#close = close
    this.#dialect = postgresDialect(() => quiet)
    if (images.theirs !== null) this.objects = largeObjects(session, images)
    this.#stage = new Stage(session, images, home, this.#dialect, job)
  }

  bonds(): Promise<Record<string, Bonds>> {
    return bondsOf(this.#session, this.#home)
  }

  table(image: ImageName, name: string): string {
    return this.#stage.table(image, name)
  }

  into(name: string): string {
    return sqlName(name, this.#home)
  }

  async query(sql: string, values?: readonly unknown[]): Promise<Row[]> {
    if (this.#inTransaction) await this.#silence?.before(sql)
    return this.#session.query(sql, values)
  }

  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void> {
    return eachRow(this.#session, sql, values, row, !this.#inTransaction)
  }

  async run(sql: string, values?: readonly unknown[]): Promise<number> {
    if (this.#inTransaction) await this.#silence?.before(sql)
    return this.#session.run(sql, values)
  }

  async work(
    name: string,
    select: string,
    indexes: readonly (readonly string[])[],
    order?: readonly string[],
  ): Promise<string> {
    const table = `pg_temp.${quote(name)}`
    const all = [
      `DROP TABLE IF EXISTS ${table}`,
      `SET LOCAL ${BY_ORDER}`,
      SORTING,
      // Room in each page for one more version of each row: marking them writes no index then.
      `CREATE TEMP TABLE ${quote(name)} WITH (fillfactor = 45) AS ${numbered(select, order)}`,
      ...indexes.map(columns => `CREATE INDEX ON ${table} (${columns.map(quote).join(', ')})`),
      `ANALYZE ${table}`,
    ]
    // One text is one transaction and one way to the server, of which a table without changes would else take eight.
    await this.query(all.join('; '))
    return table
  }

  async fires(): Promise<boolean> {
    return (await this.#silence?.fails()) ?? false
  }

  stage(staged: Staged): Promise<boolean> {
    return this.#stage.stage(staged)
  }

  /** Each image is read in one snapshot. */
  async unmoved(): Promise<boolean> {
    return true
  }

  async highest(image: ImageName, table: string, column: string): Promise<bigint | null | undefined> {
    const session = image === 'ours' ? this.#session : this.#images[image]
    if (session === null) throw new Error(`there is no image ${image}`)
    const [row] = await session.query(`SELECT max(${quote(column)})::text AS high FROM ${sqlName(table, this.#home)}`)
    const high = textOf(row, 'high')
    return high === null ? null : BigInt(high)
  }

  untouched(table: Staged, _types: readonly string[], touched: string, upTo: bigint | null = null): Promise<number> {
    return this.#stage.untouched(table, touched, upTo)
  }

  addsUp(table: Staged, taken: string, rest: string): Promise<number | null> {
    return this.#stage.addsUp(table, taken, rest)
  }

  transaction<T>(work: () => Promise<T>): Promise<T> {
    return afterDeadlocks(
      error => DEADLOCKS.includes(stateOf(error)),
      () => this.#once(work),
    )
  }

  async #once<T>(work: () => Promise<T>): Promise<T> {
    this.#job.guard()
    // Where triggers fire, what they ask is the application's own.
    const plans = this.quiet ? [`SET LOCAL ${BY_ORDER}`] : []
    const hushed = [...this.#dialect.quiet.on, ...checking(this.#rechecks, this.quiet)]
    await this.#session.query(['BEGIN', ...plans, ...hushed].join('; '))
    this.#silence?.begin()
    this.#inTransaction = true
    try {
      const answer = await work()
      const loud = [...(this.#silence?.end ?? []), ...asBefore(this.#rechecks, this.quiet)]
      for (const sql of loud) await this.#session.query(sql)
      this.#job.guard()
      await this.#session.query('COMMIT')
      return answer
    } catch (error) {
      await this.#session.client.query('ROLLBACK').catch(() => {})
      throw explained(this.#session.name, error)
    } finally {
      this.#inTransaction = false
    }
  }

  async savepoint(work: () => Promise<void>): Promise<unknown> {
    const off = this.#silence?.off ?? []
    await this.query('SAVEPOINT backout_part')
    try {
      await work()
      await this.query('RELEASE backout_part')
      return null
    } catch (error) {
      await this.query('ROLLBACK TO backout_part; RELEASE backout_part')
      this.#silence?.backTo(off)
      return error
    }
  }

  refusal(error: unknown): Refusal | null {
    const state = stateOf(error)
    const known = REFUSALS[state] ?? (state.startsWith('22') ? 'type' : null)
    return known ?? (state === '' || NOT_OF_ROWS.test(state) ? null : 'check')
  }

  async sequences(): Promise<void> {
    const both = { ours: this.#session, theirs: this.#images.theirs, home: this.#home, staged: this.#stage.staged }
    await keepNumbers(both, () => this.#job.guard())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close()
  }
}

/** Deadlocks, and what the application's own isolation levels make of them. */
const DEADLOCKS = ['40P01', '40001']

function stateOf(error: unknown): string {
  return sqlState(error instanceof BackoutError ? error.cause : error)
}

function alreadyMerging(name: string): BackoutError {
  return new BackoutError({
    code: 'database_busy',
    what: `Another process is carrying data forward into ${name}`,
    next: 'wait until it is done, or end it, then try again',
    exit: 'busy',
  })
}
