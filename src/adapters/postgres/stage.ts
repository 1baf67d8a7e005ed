import { pipeline } from 'node:stream/promises'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import type { Dialect, ImageName, Job, Staged, StagedColumn } from '../../data/engine.ts'
import { bucketing, dirtyOf, rowsIn, type Side, sumsOf, type Total, totalIn } from './buckets.ts'
import { explained } from './errors.ts'
import { columnsOf } from './fingerprint.ts'
import { quote, sqlName } from './names.ts'
import type { Session } from './session.ts'
import { type CopiedColumn, copiedColumns, StagedTypes } from './staged-types.ts'
import type { Column } from './values.ts'

export type Beside = Exclude<ImageName, 'ours'>

/** Opened once for each image, in one snapshot. */
export type Sessions = Readonly<Record<Beside, Session | null>>

interface Known {
  readonly staged: Staged
  readonly base: Side
  /** Of all rows of base. */
  readonly all: Total
}

/** What of the images was copied beside the live database: the rows of those parts of a table that differ. */
export class Stage {
  readonly #session: Session
  readonly #images: Sessions
  readonly #home: string
  readonly #dialect: Dialect
  readonly #job: Job
  readonly #types: StagedTypes
  readonly #tables = new Map<string, string>()
  readonly #known = new Map<string, Known>()

  constructor(session: Session, images: Sessions, home: string, dialect: Dialect, job: Job) {
    this.#session = session
    this.#images = images
    this.#home = home
    this.#dialect = dialect
    this.#job = job
    this.#types = new StagedTypes(session)
  }

  get staged(): readonly Staged[] {
    return [...this.#known.values()].map(known => known.staged)
  }

  table(image: ImageName, name: string): string {
    if (image === 'ours') return sqlName(name, this.#home)
    const staged = this.#tables.get(`${image} ${name}`)
    if (staged === undefined) throw new Error(`${name} of ${image} was not staged`)
    return staged
  }

  async stage(staged: Staged): Promise<void> {
    const sides = await this.#sidesOf(staged)
    const by = await bucketing(Object.values(sides))
    // Two servers, or two processes of one: both are asked at the same time.
    const [base, theirs] = by === null ? [null, null] : await both(sumsOf(sides.base, by), sumsOf(sides.theirs, by))
    const dirty = base === null || theirs === null ? null : dirtyOf(base, theirs)
    for (const [image, side] of Object.entries(sides) as [Beside, Side][]) {
      const rows = dirty === null || by === null ? `${side.table} AS x` : rowsIn(side, by, dirty)
      await this.#copy(image, staged, side, rows)
    }
    const all = base ?? (await totalIn(sides.base))
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
    await this.#session.query(`CREATE TEMP TABLE ${quote(table)} (${columns.join(', ')})`)
    const list = side.columns.map(c => quote(c.name))
    const format = side.columns.every(isPlain) ? ' (FORMAT binary)' : ''
    this.#job.progress({ text: `copying what differs of ${name} in ${image}` })
    await copyRows(
      side.session,
      `COPY (SELECT ${list.map(c => `x.${c}`).join(', ')} FROM ${rows}) TO STDOUT${format}`,
      this.#session,
      `COPY pg_temp.${quote(table)} (${list.join(', ')}) FROM STDIN${format}`,
    )
    const key = side.key.map(c => quote(c.name))
    if (key.length > 0) await this.#session.query(`CREATE INDEX ON pg_temp.${quote(table)} (${key.join(', ')})`)
    // What joins need to know; the rest would take longer than copying did.
    const asked = key.length > 0 ? ` (${key.join(', ')})` : ''
    await this.#session.query(`ANALYZE pg_temp.${quote(table)}${asked}`)
    this.#tables.set(`${image} ${name}`, `pg_temp.${quote(table)}`)
  }

  /** Sums over all of ours but for what was touched, and over all of base but for the same, which was staged. */
  async untouched(table: Staged, touched: string): Promise<number> {
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
}

/** Types that are sent in the same bytes by every server, and name no object of a database in them. */
const PLAIN = [
  'int2',
  'int4',
  'int8',
  'bool',
  'float4',
  'float8',
  'numeric',
  'text',
  'varchar',
  'bytea',
  'uuid',
  'date',
]

function isPlain({ builtin, type }: Column): boolean {
  return builtin && (PLAIN.includes(type) || type === 'timestamp' || type === 'timestamptz')
}

function nameIn(column: StagedColumn | undefined, image: ImageName): string {
  const name = column?.[image]
  if (name == null) throw new Error(`a column has no name in ${image}`)
  return name
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
