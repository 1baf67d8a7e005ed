import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import type { ImageName, Images, Job, Merger, Refusal, Row, Staged } from '../../data/engine.ts'
import { affinityOf } from './affinity.ts'
import { bondsOf } from './bonds.ts'
import { all, count, explained, patiently, quoted } from './database.ts'
import { sqliteDialect } from './dialect.ts'
import { uriOf } from './image.ts'
import { readerOf } from './reader.ts'

/** Extended result codes by which SQLite refuses a row. */
const REFUSALS: Readonly<Record<number, Refusal>> = {
  275: 'check',
  787: 'foreign-key',
  1299: 'not-null',
  1555: 'unique',
  2067: 'unique',
  2579: 'unique',
  3091: 'type',
  20: 'type',
}

/** Primary codes of what went wrong over a row, once the statement itself was understood: a function failed, a value is too long. */
const OF_ROWS = [1, 18, 19, 20]

const IMAGES = ['theirs', 'base', 'migrated']

/** Memory that each of the files may take for pages. KiB. */
const CACHE = 8_000

/** Opens the live file with the images attached beside it, so that every statement sees all of them. */
export async function openMerging(file: string, busyMs: number, images: Images | null, job: Job): Promise<Merger> {
  const db = new DatabaseSync(file, { timeout: busyMs, enableForeignKeyConstraints: false })
  try {
    const attach = db.prepare('ATTACH ? AS ?')
    const beside = { theirs: images?.theirs, base: images?.base, migrated: images?.migrated }
    for (const [name, image] of Object.entries(beside)) if (image != null) attach.run(uriOf(image), name)
    for (const { name } of all(db, 'PRAGMA database_list'))
      db.exec(`PRAGMA ${quoted(String(name))}.cache_size = -${CACHE}`)
    db.exec(`PRAGMA temp.cache_size = -${CACHE}`)
    return new SqliteMerger(db, { file, busyMs, signal: job.signal }, job)
  } catch (error) {
    db.close()
    throw await explained(file, error)
  }
}

interface Access {
  readonly file: string
  readonly busyMs: number
  readonly signal: AbortSignal
}

class SqliteMerger implements Merger {
  readonly quiet = true
  readonly #db: DatabaseSync
  readonly #access: Access
  readonly #job: Job
  readonly #opened: string
  /** What theirs calls tables of ours. */
  readonly #renamed = new Map<string, string>()
  /** What was thrown while a statement ran that is right as such. */
  readonly #ran = new WeakSet()

  constructor(db: DatabaseSync, access: Access, job: Job) {
    this.#db = db
    this.#access = access
    this.#job = job
    this.#opened = this.#versions()
  }

  /** Everything is readable where it lies. */
  async stage({ names }: Staged): Promise<boolean> {
    this.#renamed.set(names.theirs, names.ours)
    return true
  }

  async bonds() {
    return bondsOf(this.#db)
  }

  table(image: ImageName, name: string): string {
    return `${image === 'ours' ? 'main' : image}.${quoted(name)}`
  }

  query(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.#explained(() => readerOf(this.#db, this.#access.signal).query(sql, values))
  }

  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void> {
    return this.#explained(() => readerOf(this.#db, this.#access.signal).each(sql, values, row))
  }

  async run(sql: string, values: readonly unknown[] = []): Promise<number> {
    this.#access.signal.throwIfAborted()
    const statement = this.#db.prepare(sql)
    const done = this.#running(() => statement.run(...(values as SQLInputValue[])))
    // One statement holds up everything else in this process: between two of them the others have their turn.
    await setImmediate()
    return Number(done.changes)
  }

  #running<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      if (error instanceof Error) this.#ran.add(error)
      throw error
    }
  }

  /** `n` is the row id where rows are numbered by it, so that it needs no index of its own. */
  async work(
    name: string,
    select: string,
    indexes: readonly (readonly string[])[],
    order?: readonly string[],
  ): Promise<string> {
    const table = `temp.${quoted(name)}`
    return this.#explained(async () => {
      await this.run(`DROP TABLE IF EXISTS ${table}`)
      if (order === undefined) await this.run(`CREATE TABLE ${table} AS ${select}`)
      else await this.#number(table, select, order)
      for (const [i, columns] of indexes.entries()) {
        if (order !== undefined && columns.join() === 'n') continue
        await this.run(
          `CREATE INDEX temp.${quoted(`${name}_${i}`)} ON ${quoted(name)} (${columns.map(quoted).join(', ')})`,
        )
      }
      return table
    })
  }

  async unmoved(): Promise<boolean> {
    return this.#versions() === this.#opened
  }

  /** Another text after anybody wrote to an image. */
  #versions(): string {
    const names = all(this.#db, 'PRAGMA database_list').map(row => String(row['name']))
    const images = names.filter(name => IMAGES.includes(name))
    return images.map(name => `${name} ${count(this.#db, `PRAGMA ${name}.data_version`)}`).join()
  }

  /** Columns keep the affinity that they come with: an index is of use only where both sides have the same. */
  async #number(table: string, select: string, order: readonly string[]): Promise<void> {
    const columns = this.#db.prepare(select).columns()
    const typed = columns.map(c => `${quoted(c.name)} ${c.type === null ? '' : affinityOf(c.type.toUpperCase())}`)
    await this.run(`CREATE TABLE ${table} (n INTEGER PRIMARY KEY, ${typed.join(', ')})`)
    const names = columns.map(c => quoted(c.name)).join(', ')
    await this.run(`INSERT INTO ${table} (${names}) ${select} ORDER BY ${order.join(', ')}`)
  }

  async highest(image: ImageName, table: string, column: string): Promise<bigint | null | undefined> {
    const most = `SELECT max(${quoted(column)}) AS high FROM ${this.table(image, table)}`
    const [row] = await this.query(`SELECT typeof(high) AS type, CAST(high AS TEXT) AS high FROM (${most})`)
    if (row?.['type'] === 'null') return null
    // Texts and bytes lie above all numbers.
    return row?.['type'] === 'integer' ? BigInt(String(row['high'])) : undefined
  }

  untouched(staged: Staged, types: readonly string[], touched: string, upTo: bigint | null = null): Promise<number> {
    const { names, key, columns } = staged
    const [ours, base] = [this.table('ours', names.ours), this.table('base', names.base)]
    return this.#explained(async () => {
      if (key.length === 0) return count(this.#db, unlikeCounted(ours, base, columns, types, touched))
      const pair = pairOf(ours, base, key, columns)
      const [row] = all(this.#db, unlike(pair, columns, types, touched, upTo))
      const [there, both, differ] = ['there', 'both', 'differ'].map(name => Number(row?.[name]))
      return there === both ? (differ ?? 0) : (differ ?? 0) + count(this.#db, lost(pair, touched))
    })
  }

  /**
   * Triggers cannot be switched off, but what changes a schema belongs to the transaction too: they are gone in it, and back
   * before anybody else sees it.
   */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    const { file } = this.#access
    this.#job.guard()
    await patiently(this.#access, () => this.#db.exec('BEGIN IMMEDIATE'))
    try {
      const triggers = all(this.#db, `SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'`)
      for (const { name } of triggers) this.#db.exec(`DROP TRIGGER main.${quoted(String(name))}`)
      const answer = await work()
      for (const { sql } of triggers) this.#db.exec(String(sql))
      this.#job.guard()
      this.#db.exec('COMMIT')
      return answer
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw await explained(file, error)
    }
  }

  async savepoint(work: () => Promise<void>): Promise<unknown> {
    this.#db.exec('SAVEPOINT backout_part')
    try {
      await work()
      this.#db.exec('RELEASE backout_part')
      return null
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK TO backout_part; RELEASE backout_part')
      return error
    }
  }

  refusal(error: unknown): Refusal | null {
    if (!(error instanceof Error) || !('errcode' in error)) return null
    const code = Number(error.errcode)
    return REFUSALS[code] ?? (this.#ran.has(error) && OF_ROWS.includes(code & 0xff) ? 'check' : null)
  }

  /** AUTOINCREMENT goes on behind the highest number of all; the others take the highest that is there. */
  async sequences(): Promise<void> {
    if (!this.#counts('main')) return
    const there = all(this.#db, 'PRAGMA database_list').map(row => String(row['name']))
    const issued = ['main', 'theirs'].filter(image => there.includes(image) && this.#counts(image))
    const wanted = await this.query(this.#highest(issued))
    await this.transaction(async () => {
      for (const { name, seq } of wanted) {
        const known = await this.run('UPDATE main.sqlite_sequence SET seq = ? WHERE name = ? AND seq < ?', [
          seq,
          name,
          seq,
        ])
        const there =
          known > 0 || (await this.query('SELECT 1 FROM main.sqlite_sequence WHERE name = ?', [name])).length > 0
        if (!there) await this.run('INSERT INTO main.sqlite_sequence (name, seq) VALUES (?, ?)', [name, seq])
      }
    })
  }

  /** Of every table that counts the highest number that it gave out under any of its names. */
  #highest(images: readonly string[]): string {
    const highest = images.map(image => `SELECT name, seq FROM ${image}.sqlite_sequence`)
    for (const [theirs, ours] of images.includes('theirs') ? this.#renamed : []) {
      if (theirs !== ours)
        highest.push(`SELECT ${text(ours)}, seq FROM theirs.sqlite_sequence WHERE name = ${text(theirs)}`)
    }
    const counting = `SELECT name FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE '%autoincrement%'`
    return `SELECT name, max(seq) AS seq FROM (${highest.join(' UNION ALL ')}) WHERE name IN (${counting}) GROUP BY name`
  }

  #counts(image: string): boolean {
    return count(this.#db, `SELECT count(*) FROM ${image}.sqlite_schema WHERE name = 'sqlite_sequence'`) > 0
  }

  async #explained<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw await explained(this.#access.file, error)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#db.close()
  }
}

/** A table in ours and in base, joined by their keys: as SQL, `o` and `b`. */
interface Pair {
  readonly ours: string
  readonly base: string
  readonly on: string
  readonly keys: { readonly o: readonly string[]; readonly b: readonly string[] }
}

function pairOf(ours: string, base: string, key: readonly string[], columns: Staged['columns']): Pair {
  const inBase = key.map(k => columns.find(c => c.ours === k)?.base ?? k)
  const keys = { o: key.map(k => `o.${quoted(k)}`), b: inBase.map(k => `b.${quoted(k)}`) }
  return { ours, base, keys, on: keys.o.map((x, i) => `${x} = ${keys.b[i]}`).join(' AND ') }
}

const text = (value: string) => `'${value.replaceAll("'", "''")}'`

const out = (key: readonly string[], touched: string) => `(${key.join(', ')}) NOT IN (${touched})`

/** How many rows base has, how many of them ours has too, and how many rows of ours are not as in base. */
function unlike(
  { ours, base, keys, on }: Pair,
  columns: Staged['columns'],
  types: readonly string[],
  touched: string,
  upTo: bigint | null,
): string {
  const among = upTo === null ? '' : `WHERE ${keys.o[0]} <= ${upTo}`
  const differs = columns
    .map((c, i) => sqliteDialect.differs(`o.${quoted(c.ours)}`, `b.${quoted(c.base)}`, types[i]))
    .join(' OR ')
  return `SELECT (SELECT count(*) FROM ${base}) AS there, count(${keys.b[0]}) AS both,
    coalesce(sum(CASE WHEN (${keys.b[0]} IS NULL OR ${differs}) AND ${out(keys.o, touched)} THEN 1 ELSE 0 END), 0) AS differ
    FROM ${ours} AS o LEFT JOIN ${base} AS b ON ${on} ${among}`
}

/** Counts the rows that base has and ours has not. */
function lost({ ours, base, keys, on }: Pair, touched: string): string {
  return `SELECT count(*) FROM ${base} AS b LEFT JOIN ${ours} AS o ON ${on} WHERE ${keys.o[0]} IS NULL AND ${out(keys.b, touched)}`
}

function unlikeCounted(
  ours: string,
  base: string,
  columns: Staged['columns'],
  types: readonly string[],
  touched: string,
): string {
  const id = (name: (c: Staged['columns'][number]) => string) =>
    sqliteDialect.key(columns.map((c, i) => sqliteDialect.text(quoted(name(c)), types[i] ?? '')))
  const sides = `SELECT ${id(c => c.ours)} AS id, 1 AS here, 0 AS there FROM ${ours}
    UNION ALL SELECT ${id(c => c.base)}, 0, 1 FROM ${base}`
  return `SELECT coalesce(sum(abs(here - there)), 0) FROM (SELECT id, sum(here) AS here, sum(there) AS there FROM (${sides})
    GROUP BY id) WHERE here <> there AND id NOT IN (${touched})`
}
