import { BackoutError } from '../../core/errors.ts'
import type { Bonds, Image, ImageName, Images, Job, Merger, Refusal, Row, Staged } from '../../data/engine.ts'
import { numbered } from '../../data/numbered.ts'
import { bondsOf } from './bonds.ts'
import { copyTable } from './copy.ts'
import { dialect } from './dialect.ts'
import { codeOf } from './errors.ts'
import { besideName, type MysqlImage, makeMarked } from './image.ts'
import { quoted, tableSql, text } from './names.ts'
import { highestNumbers, keepNumbers } from './numbers.ts'
import type { Access, Session } from './session.ts'

/** Numbers of errors by which the server refuses a row. */
const REFUSALS: readonly (readonly [Refusal, readonly number[]])[] = [
  ['unique', [1062, 1169, 1586]],
  ['foreign-key', [1216, 1217, 1451, 1452, 1761, 1762]],
  ['check', [3819, 4025, 1369, 1526, 1644]],
  ['not-null', [1048, 1263, 1364]],
  ['type', [1264, 1265, 1292, 1366, 1367, 1406, 1411, 1416, 1441, 1525, 1690, 3140, 3854]],
]
const DEADLOCK = 1213

/** The live database and the images beside it, in one session: databases of one server name each other. */
export class MysqlMerger implements Merger {
  /** Foreign keys are quiet, triggers are not. */
  readonly quiet = false
  readonly #db: Session
  readonly #live: Access
  readonly #database: string
  readonly #rows: string
  readonly #images: Readonly<Record<Exclude<ImageName, 'ours'>, MysqlImage | null>>
  readonly #job: Job
  #made = false

  /** `images`: null where ours alone is asked of. */
  constructor(db: Session, live: Access, database: string, images: Images | null, job: Job) {
    this.#db = db
    this.#live = live
    this.#database = database
    this.#job = job
    const { theirs = null, base = null, migrated = null } = images ?? {}
    this.#images = { theirs: ours(theirs), base: ours(base), migrated: ours(migrated) }
    this.#rows = besideName(
      database,
      'rows',
      Object.values(this.#images)
        .map(i => i?.database ?? '')
        .join('\0'),
    )
  }

  /** Images of the same server are read where they lie; the rows of others are brought over. */
  async stage({ names }: Staged): Promise<void> {
    for (const image of ['theirs', 'base', 'migrated'] as const) {
      const from = this.#images[image]
      const name = names[image]
      if (from === null || name === null || this.#isHere(from)) continue
      await this.#make()
      await copyTable(from, name, this.#db, this.#stagedName(image, name), this.#job)
    }
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

  query(sql: string, values?: readonly unknown[]): Promise<Row[]> {
    return this.#db.query(sql, values)
  }

  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void> {
    return this.#db.each(sql, values, row)
  }

  run(sql: string, values?: readonly unknown[]): Promise<number> {
    return this.#db.run(sql, values)
  }

  /** A table of a database beside, for a temporary one could be named only once in a statement. */
  async work(
    name: string,
    select: string,
    indexes: readonly (readonly string[])[],
    order?: readonly string[],
  ): Promise<string> {
    await this.#make()
    const table = `${quoted(this.#rows)}.${quoted(name)}`
    await this.#db.run(`DROP TABLE IF EXISTS ${table}`)
    await this.#db.run(
      `CREATE TABLE ${table} ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin AS ${numbered(select, order)}`,
    )
    const long = await this.#longColumns(name)
    for (const columns of indexes) {
      const parts = columns.map(c => `${quoted(c)}${long.has(c) ? '(180)' : ''}`)
      await this.#db.run(`ALTER TABLE ${table} ADD INDEX (${parts.join(', ')})`)
    }
    return table
  }

  async #longColumns(name: string): Promise<Set<string>> {
    const rows = await this.#db.query(
      `SELECT COLUMN_NAME AS c FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?
       AND (DATA_TYPE LIKE '%text' OR DATA_TYPE LIKE '%blob' OR CHARACTER_MAXIMUM_LENGTH > 180)`,
      [this.#rows, name],
    )
    return new Set(rows.map(row => text(row['c'])))
  }

  async #make(): Promise<void> {
    if (this.#made) return
    this.#job.guard()
    await makeMarked(this.#db, this.#rows, 'utf8mb4', 'utf8mb4_bin')
    this.#made = true
  }

  async untouched({ names, key, columns }: Staged, types: readonly string[], touched: string): Promise<number> {
    const [o, b] = [this.table('ours', names.ours), this.table('base', names.base)]
    const sql =
      key.length === 0 ? unlikeCounted(o, b, columns, types, touched) : unlike(o, b, { key, columns, types, touched })
    const [row] = await this.#db.query(sql)
    return Number(row?.['n'] ?? 0)
  }

  async transaction<T>(work: () => Promise<T>): Promise<T> {
    this.#job.guard()
    for (const sql of dialect.quiet.on) await this.#db.run(sql)
    await this.#db.run('START TRANSACTION')
    try {
      const answer = await work()
      this.#job.guard()
      await this.#db.run('COMMIT')
      return answer
    } catch (error) {
      await this.#db.run('ROLLBACK').catch(() => {})
      throw error
    }
  }

  /** A deadlock takes the whole transaction back, so that it is no answer. */
  async savepoint(work: () => Promise<void>): Promise<unknown> {
    await this.#db.run('SAVEPOINT backout_part')
    try {
      await work()
      await this.#db.run('RELEASE SAVEPOINT backout_part')
      return null
    } catch (error) {
      if (numberOf(error) === DEADLOCK) throw error
      await this.#db.run('ROLLBACK TO SAVEPOINT backout_part')
      return error
    }
  }

  refusal(error: unknown): Refusal | null {
    const number = numberOf(error)
    return REFUSALS.find(([, numbers]) => numbers.includes(number))?.[0] ?? null
  }

  async sequences(): Promise<void> {
    const { theirs } = this.#images
    if (theirs === null) return
    this.#job.guard()
    if (this.#isHere(theirs)) {
      await keepNumbers(this.#db, this.#database, await highestNumbers(this.#db, theirs.database))
      return
    }
    const issued = await theirs.on(this.#job.signal, db => highestNumbers(db, theirs.database))
    await keepNumbers(this.#db, this.#database, issued)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#made) await this.#db.run(`DROP DATABASE IF EXISTS ${quoted(this.#rows)}`).catch(() => {})
    await this.#db[Symbol.asyncDispose]()
  }
}

function numberOf(error: unknown): number {
  const code = codeOf(error instanceof BackoutError ? error.cause : error)
  return typeof code === 'number' ? code : 0
}

function ours(image: Image | null): MysqlImage | null {
  if (image === null || 'database' in image) return image as MysqlImage | null
  throw new Error(`${image.name} is no database of MySQL`)
}

type Columns = Staged['columns']

interface Compared {
  readonly key: readonly string[]
  readonly columns: Columns
  readonly types: readonly string[]
  readonly touched: string
}

function unlike(ours: string, base: string, { key, columns, types, touched }: Compared): string {
  const inBase = key.map(k => columns.find(c => c.ours === k)?.base ?? k)
  const [o, b] = [key.map(k => `o.${quoted(k)}`), inBase.map(k => `b.${quoted(k)}`)]
  const on = o.map((x, i) => `${x} = ${b[i]}`).join(' AND ')
  const differs = columns
    .map((c, i) => dialect.differs(`o.${quoted(c.ours)}`, `b.${quoted(c.base)}`, types[i]))
    .join(' OR ')
  const out = (side: readonly string[]) => `(${side.join(', ')}) NOT IN (${touched})`
  return `SELECT (SELECT COUNT(*) FROM ${ours} AS o LEFT JOIN ${base} AS b ON ${on} WHERE (${b[0]} IS NULL OR ${differs}) AND ${out(o)})
    + (SELECT COUNT(*) FROM ${base} AS b LEFT JOIN ${ours} AS o ON ${on} WHERE ${o[0]} IS NULL AND ${out(b)}) AS n`
}

function unlikeCounted(
  ours: string,
  base: string,
  columns: Columns,
  types: readonly string[],
  touched: string,
): string {
  const id = (name: (c: Columns[number]) => string) =>
    dialect.key(columns.map((c, i) => dialect.text(quoted(name(c)), types[i] ?? '')))
  const sides = `SELECT ${id(c => c.ours)} AS id, 1 AS here, 0 AS there FROM ${ours}
    UNION ALL SELECT ${id(c => c.base)}, 0, 1 FROM ${base}`
  return `SELECT COALESCE(SUM(ABS(here - there)), 0) AS n FROM (SELECT id, SUM(here) AS here, SUM(there) AS there FROM (${sides}) AS sides
    GROUP BY id) AS counted WHERE here <> there AND id NOT IN (${touched})`
}
