import { BackoutError } from '../../core/errors.ts'
import type {
  Bonds,
  Image,
  ImageName,
  Images,
  Job,
  Merger,
  Over,
  Refusal,
  Row,
  Staged,
  Writer,
} from '../../data/engine.ts'
import { bondsOf } from './bonds.ts'
import { copyTable } from './copy.ts'
import { type Frozen, freeze } from './frozen.ts'
import { besideName, type MysqlImage, makeMarked } from './image.ts'
import { bareName, quoted, tableSql, text } from './names.ts'
import { highestNumbers, keepNumbers } from './numbers.ts'
import { type Access, connect, type Session, WRITE_MODE } from './session.ts'
import { firesGuarded, guardTriggers } from './triggers.ts'
import { middleOf, untouched } from './untouched.ts'
import { makeWork } from './work.ts'
import { lockLess, numberOf, SessionWriter } from './writer.ts'

/** Numbers of errors by which the server refuses a row. */
const REFUSALS: readonly (readonly [Refusal, readonly number[]])[] = [
  ['unique', [1062, 1169, 1586]],
  ['foreign-key', [1216, 1217, 1451, 1452, 1761, 1762]],
  ['check', [3819, 4025, 1369, 1526, 1644, 1919, 4037, 4038, 4039, 4040, 4041, 4042]],
  ['not-null', [1048, 1263, 1364]],
  ['type', [1264, 1265, 1292, 1366, 1367, 1406, 1411, 1416, 1441, 1525, 1690, 3140, 3854]],
]
/**
 * Classes of SQLSTATE that are of data, those among them that a trigger or a procedure chose. Not of the connection, of
 * transactions, of statements that are wrong, and not the server's own HY000.
 */
const OF_ROWS = /^(?!0[0-3589]|24|25|26|28|2D|34|3B|3D|3F|40|42|70|HY|XA)[0-9A-Z]{5}$/

interface Place {
  readonly live: Access
  readonly database: string
}

type Named = Readonly<Record<Exclude<ImageName, 'ours'>, MysqlImage | null>>

/** The live database and the images beside it, in one session: databases of one server name each other. */
export class MysqlMerger implements Merger {
  /** Foreign keys are quiet, triggers are not on MySQL. */
  readonly quiet = false
  readonly #db: Session
  readonly #writer: SessionWriter
  readonly #live: Access
  readonly #database: string
  readonly #rows: string
  readonly #images: Named
  readonly #job: Job
  /** null: nobody can tell whether an image is as it was. */
  #frozen: Frozen | null
  /** What theirs calls tables of ours. */
  readonly #renamed = new Map<string, string>()
  #made = false
  /** Triggers of ours do not fire for this session. */
  #hushed = false
  /** Some could fire for it all the same, by what was seen when they were made quiet, and when they were made as they were. */
  #loud = false
  /** While the first one is at work. */
  #beside: Session | null = null

  private constructor(db: Session, { live, database }: Place, images: Named, frozen: Frozen | null, job: Job) {
    this.#db = db
    this.#writer = new SessionWriter(db, job)
    this.#live = live
    this.#database = database
    this.#job = job
    this.#images = images
    this.#frozen = frozen
    this.#rows = besideName(
      database,
      'rows',
      Object.values(this.#images)
        .map(i => i?.database ?? '')
        .join('\0'),
    )
  }

  /** `images`: null where ours alone is asked of. */
  static async open(place: Place, images: Images | null, job: Job): Promise<MysqlMerger> {
    const { theirs = null, base = null, migrated = null } = images ?? {}
    const named: Named = { theirs: own(theirs), base: own(base), migrated: own(migrated) }
    await using opened = new AsyncDisposableStack()
    const db = opened.use(await connect(place.live, place.database, job.signal, WRITE_MODE))
    await lockLess(db)
    const there = Object.values(named).filter(image => image !== null)
    const frozen = opened.use(await freeze(there, job.signal))
    const merger = new MysqlMerger(db, place, named, frozen, job)
    opened.move()
    return merger
  }

  /** Images of the same server are read where they lie; the rows of others are brought over. */
  async stage({ names }: Staged): Promise<boolean> {
    this.#renamed.set(bareName(names.ours), bareName(names.theirs))
    for (const image of ['theirs', 'base', 'migrated'] as const) {
      const from = this.#images[image]
      const name = names[image]
      if (from === null || name === null || this.#isHere(from)) continue
      await this.#make()
      await copyTable(from, name, this.#db, this.#stagedName(image, name), this.#job)
    }
    return true
  }

  bonds(): Promise<Record<string, Bonds>> {
    return bondsOf(this.#db, this.#database)
  }

  table(image: ImageName, name: string): string {
    if (image === 'ours') return tableSql(name, this.#database)
    const from = this.#images[image]
    if (from === null) throw new Error(`there is no image ${image}`)
    return this.#isHere(from) ? tableSql(name, from.database) : this.#stagedName(image, name)
  }

  #stagedName(image: string, name: string): string {
    return `${quoted(this.#rows)}.${quoted(`${image} ${name}`.slice(0, 64))}`
  }

  #isHere(image: MysqlImage): boolean {
    return image.access === this.#live
  }

  async unmoved(): Promise<boolean> {
    return (await this.#frozen?.holds()) ?? false
  }

  query(sql: string, values?: readonly unknown[]): Promise<Row[]> {
    return this.#db.query(sql, values)
  }

  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void> {
    return this.#db.each(sql, values, row)
  }

  async parted(over: Over, query: (among: string) => string): Promise<readonly Row[]> {
    const half = await middleOf(this.#db, over)
    if (half === null) return this.#db.query(query('1 = 1'))
    const second = await this.#second()
    const parts = [this.#db.query(query(`${over.key} >= ${half}`)), second.query(query(`${over.key} < ${half}`))]
    return (await Promise.all(parts)).flat()
  }

  async run(sql: string, values?: readonly unknown[]): Promise<number> {
    if (this.#writesBesideImage(sql)) await this.#thaw()
    return this.#db.run(sql, values)
  }

  /** What is written to is no work table: of those images are named within a query only. */
  #writesBesideImage(sql: string): boolean {
    const table = /^\s*UPDATE\s+((?:`(?:[^`]|``)+`\.)*`(?:[^`]|``)+`)/i.exec(sql)?.[1]
    if (table === undefined || /`backout_work_\d+`$/.test(table)) return false
    return Object.values(this.#images).some(image => image !== null && sql.includes(`${quoted(image.database)}.`))
  }

  /** The server opens every table that an UPDATE names as if it were to be written to, which waits for the locks on images. */
  async #thaw(): Promise<void> {
    const frozen = this.#frozen
    this.#frozen = null
    await frozen?.[Symbol.asyncDispose]()
  }

  /** MySQL can name a temporary table once in a statement only: there it is one of a database beside. */
  async work(
    name: string,
    select: string,
    indexes: readonly (readonly string[])[],
    order?: readonly string[],
  ): Promise<string> {
    const { mariadb } = this.#db.flavour
    if (!mariadb) await this.#make()
    const table = `${quoted(mariadb ? this.#database : this.#rows)}.${quoted(name)}`
    await makeWork(this.#db, table, mariadb, { select, indexes, order })
    return table
  }

  async #make(): Promise<void> {
    if (this.#made) return
    this.#job.guard()
    await makeMarked(this.#db, this.#rows, 'utf8mb4', 'utf8mb4_bin')
    this.#made = true
  }

  async highest(image: ImageName, table: string, column: string): Promise<bigint | null | undefined> {
    const [row] = await this.query(
      `SELECT CAST(MAX(${quoted(column)}) AS CHAR) AS high FROM ${this.table(image, table)}`,
    )
    return row?.['high'] == null ? null : BigInt(text(row['high']))
  }

  untouched(
    { names, ...staged }: Staged,
    types: readonly string[],
    touched: string,
    upTo: bigint | null = null,
  ): Promise<number> {
    const sides = { ours: this.table('ours', names.ours), base: this.table('base', names.base) }
    return untouched(this.#db, () => this.#second(), { ...staged, ...sides, types, touched, upTo })
  }

  async #second(): Promise<Session> {
    if (this.#beside === null) {
      this.#beside = await connect(this.#live, this.#database, this.#job.signal, WRITE_MODE)
      await lockLess(this.#beside)
    }
    return this.#beside
  }

  async transaction<T>(work: () => Promise<T>): Promise<T> {
    this.#job.guard()
    await this.#hush()
    return this.#writer.transaction(work)
  }

  savepoint(work: () => Promise<void>): Promise<unknown> {
    return this.#writer.savepoint(work)
  }

  async writers(): Promise<readonly Writer[]> {
    this.#job.guard()
    await this.#hush()
    return [this.#writer, new SessionWriter(await this.#second(), this.#job)]
  }

  async #hush(): Promise<void> {
    if (this.#hushed) return
    this.#hushed = true
    if (!(await guardTriggers(this.#live, this.#database, true, this.#job.signal))) this.#loud = true
  }

  /** Also those that a process left which was killed. */
  async #wake(signal: AbortSignal): Promise<void> {
    this.#job.guard()
    // Somebody may have made one meanwhile.
    if (!(await guardTriggers(this.#live, this.#database, false, signal)) && this.#hushed) this.#loud = true
    this.#hushed = false
  }

  async fires(): Promise<boolean> {
    return this.#loud || firesGuarded(this.#live, this.#database, this.#job.signal)
  }

  refusal(error: unknown): Refusal | null {
    const number = numberOf(error)
    const known = REFUSALS.find(([, numbers]) => numbers.includes(number))?.[0]
    return known ?? (OF_ROWS.test(stateOf(error)) ? 'check' : null)
  }

  async sequences(): Promise<void> {
    await this.#wake(this.#job.signal)
    const { theirs } = this.#images
    if (theirs === null) return
    if (this.#isHere(theirs)) {
      const issued = await highestNumbers(this.#db, theirs.database)
      await keepNumbers(this.#db, this.#database, issued, this.#renamed)
      return
    }
    const issued = await theirs.on(this.#job.signal, db => highestNumbers(db, theirs.database))
    await keepNumbers(this.#db, this.#database, issued, this.#renamed)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#frozen?.[Symbol.asyncDispose]()
    await this.#beside?.[Symbol.asyncDispose]()
    if (this.#made) await this.#db.run(`DROP DATABASE IF EXISTS ${quoted(this.#rows)}`).catch(() => {})
    await this.#db[Symbol.asyncDispose]()
    // What is left so acts for everybody else as it did, and whoever carries next sees to it.
    if (this.#hushed) await this.#wake(new AbortController().signal).catch(() => {})
  }
}

function stateOf(error: unknown): string {
  const from = error instanceof BackoutError ? error.cause : error
  return from instanceof Error && 'sqlState' in from ? String(from.sqlState) : ''
}

function own(image: Image | null): MysqlImage | null {
  if (image === null || 'database' in image) return image as MysqlImage | null
  throw new Error(`${image.name} is no database of MySQL`)
}
