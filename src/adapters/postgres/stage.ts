import type { Dialect, ImageName, Job, Staged, StagedColumn } from '../../data/engine.ts'
import {
  type Bucketing,
  beyond,
  bucketing,
  type Dirty,
  dirtyOf,
  rowsIn,
  type Side,
  sumsOf,
  type Total,
  totalIn,
} from './buckets.ts'
import { AS_TEXT } from './convert.ts'
import { copyRows, isPlain } from './copied-rows.ts'
import { Catalogue } from './catalogue.ts'
import { quote, sqlName } from './names.ts'
import { one, type Session } from './session.ts'
import { type CopiedColumn, StagedTypes } from './staged-types.ts'
import type { Column } from './values.ts'

export type Beside = Exclude<ImageName, 'ours'>

/** Opened once for each image, in one snapshot. */
export type Sessions = Readonly<Record<Beside, Session | null>>

interface Known {
  readonly staged: Staged
  readonly base: Side
  /** Of all rows of base. */
  readonly all: Total
  readonly theirs: Copied
  /** Of what was copied of theirs, added up where it came from; null: `untouched` was not asked for yet. */
  came: Promise<Total> | null
}

interface Copied {
  readonly side: Side
  /** A FROM clause. */
  readonly from: string
  readonly rows: number
}

/** What of the images was copied beside the live database: the rows of those parts of a table that differ. */
export class Stage {
  readonly #session: Session
  readonly #images: Sessions
  readonly #home: string
  readonly #dialect: Dialect
  readonly #job: Job
  readonly #types: StagedTypes
  readonly #catalogue = new Catalogue()
  readonly #tables = new Map<string, string>()
  /** Tables of ours as they are read and changed. */
  readonly #ours = new Map<string, string>()
  readonly #known = new Map<string, Known>()
  #copies = 0

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
    if (image === 'ours') return this.#ours.get(name) ?? sqlName(name, this.#home)
    const staged = this.#tables.get(`${image} ${name}`)
    if (staged === undefined) throw new Error(`${name} of ${image} was not staged`)
    return staged
  }

  /** What was copied of the same table before is dropped: it may be staged again, by other keys. Answers whether rows may differ. */
  async stage(staged: Staged): Promise<boolean> {
    const { ours } = staged.names
    this.#ours.set(ours, (await this.#catalogue.table(this.#session, sqlName(ours, this.#home))).from)
    const sides = await this.#sidesOf(staged)
    const { all, by, dirty } = await differing(sides.base, sides.theirs, Object.values(sides))
    const differs = by === null || dirty.buckets.length > 0 || dirty.beyond.length > 0
    const types = await this.#typesOf(staged, sides)
    const copied: Partial<Record<Beside, Copied>> = {}
    for (const [image, side] of Object.entries(sides) as [Beside, Side][]) {
      const from = by === null ? `${side.from} AS x` : rowsIn(side, by, dirty)
      const table = await this.#make(image, staged, side, types, differs)
      copied[image] = { side, from, rows: differs ? await this.#copy(image, staged, { side, from }, table) : 0 }
    }
    this.#known.set(ours, { staged, base: sides.base, all, theirs: copied.theirs as Copied, came: null })
    return differs
  }

  async #sidesOf(staged: Staged): Promise<{ base: Side; theirs: Side } & Partial<Record<'migrated', Side>>> {
    const side = async (image: Beside): Promise<Side | null> => {
      const session = this.#images[image]
      const name = staged.names[image]
      return session === null || name === null ? null : this.#sideOf(session, sqlName(name, this.#home), staged, image)
    }
    const [base, theirs, migrated] = await allOf([side('base'), side('theirs'), side('migrated')])
    if (base == null || theirs == null) throw new Error(`${staged.names.ours} is not in every image`)
    return { base, theirs, ...(migrated == null ? {} : { migrated }) }
  }

  async #sideOf(session: Session, table: string, staged: Staged, image: ImageName): Promise<Side> {
    const known = await this.#catalogue.table(session, table)
    const find = (name: string): Column => {
      const column = known.columns.get(name)
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
    return {
      session,
      table,
      from: known.from,
      key,
      columns: present.map(c => find(nameIn(c, image))),
    }
  }

  async #typesOf({ names }: Staged, sides: Partial<Record<Beside, Side>>): Promise<Types> {
    const of = async (session: Session, table: string) => (await this.#catalogue.table(session, table)).copied
    const each = Object.entries(sides) as [Beside, Side][]
    const known = each.map(async ([image, side]) => [image, await of(side.session, side.table)] as const)
    return { ours: await of(this.#session, sqlName(names.ours, this.#home)), of: new Map(await allOf(known)) }
  }

  /** A table for rows of an image; answers its name. `filled`: some will come. */
  async #make(image: Beside, staged: Staged, side: Side, types: Types, filled: boolean): Promise<string> {
    const name = staged.names[image] ?? ''
    const before = this.#tables.get(`${image} ${name}`)
    const table = `backout_${image}_${this.#copies++}`
    const columns: string[] = []
    for (const column of side.columns) {
      const type = types.of.get(image)?.get(column.name) as CopiedColumn
      const mine = staged.columns.find(c => c[image] === column.name)
      const ours = types.ours.get(mine?.ours ?? '')
      const as = isStagedAsText(mine, image) ? 'text' : await this.#types.typeFor(type, ours)
      columns.push(`${quote(column.name)} ${as}${collated(mine, types)}`)
    }
    const all = [
      ...(before === undefined ? [] : [`DROP TABLE ${before}`]),
      `CREATE TEMP TABLE ${quote(table)} (${columns.join(', ')})`,
      // That it is empty is worth knowing too.
      ...(filled ? [] : [`ANALYZE pg_temp.${quote(table)}`]),
    ]
    await this.#session.query(all.join('; '))
    this.#tables.set(`${image} ${name}`, `pg_temp.${quote(table)}`)
    return table
  }

  /** Returns how many rows that were. */
  async #copy(
    image: Beside,
    staged: Staged,
    { side, from }: Pick<Copied, 'side' | 'from'>,
    table: string,
  ): Promise<number> {
    const list = side.columns.map(c => quote(c.name))
    const format = side.columns.every(isPlain) ? ' (FORMAT binary)' : ''
    this.#job.progress({ text: `copying what differs of ${staged.names[image] ?? ''} in ${image}` })
    const copied = await copyRows(
      side.session,
      `COPY (SELECT ${list.map(c => `x.${c}`).join(', ')} FROM ${from}) TO STDOUT${format}`,
      this.#session,
      `COPY pg_temp.${quote(table)} (${list.join(', ')}) FROM STDIN${format}`,
    )
    const key = side.key.map(c => quote(c.name)).join(', ')
    // What joins need to know; the rest would take longer than copying did.
    const known = `ANALYZE pg_temp.${quote(table)}${key === '' ? '' : ` (${key})`}`
    const index = key === '' ? [] : [`CREATE UNIQUE INDEX ON pg_temp.${quote(table)} (${key})`]
    await this.#session.query([...index, known].join('; '))
    return copied
  }

  /** Sums over all of ours but for what was touched, and over all of base but for the same, which was staged. */
  async untouched(table: Staged, touched: string, upTo: bigint | null): Promise<number> {
    const known = this.#knownOf(table)
    const ours = await this.#copied('ours', known)
    if (known.came === null || known.theirs.rows === 0) {
      // It has its own process in the server, which has nothing else to do while rows are written.
      known.came = known.theirs.rows === 0 ? Promise.resolve(NOTHING) : totalIn(known.theirs.side, known.theirs.from)
      known.came.catch(() => {})
      // As it was restored, no row differs: that is told sooner than which of the rows are touched.
      if (same(known.all, await totalIn(ours))) return 0
    }
    const base = await this.#copied('base', known)
    const before = upTo === null ? '' : ` AND x.${quote(ours.key[0]?.name ?? '')} <= ${upTo}`
    const left = await totalIn(ours, this.#among(ours, touched, 'NOT') + before)
    const gone = await totalIn(base, this.#among(base, touched))
    return same(left, minus(known.all, gone)) ? 0 : 1
  }

  /** A statement that reads nothing temporary is worked on by several processes of the server: so all of ours is added up. */
  async addsUp(table: Staged, taken: string, rest: string): Promise<number | null> {
    const known = this.#knownOf(table)
    const [ours, base, theirs] = [
      await this.#copied('ours', known),
      await this.#copied('base', known),
      await this.#copied('theirs', known),
    ]
    // What was marked since the planner last looked is more than it thinks.
    await this.#session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL enable_nestloop = off')
    try {
      const gone = await totalIn(base, this.#among(base, `${taken} UNION ALL ${rest}`))
      const [many = 0, others = 0] = await Promise.all([taken, rest].map(keys => this.#count(keys)))
      const other = others === 0 ? NOTHING : await totalIn(ours, this.#among(ours, rest))
      const own = minus(await totalIn(ours), other)
      const copied = many === known.theirs.rows ? await known.came : null
      const came = copied ?? (await totalIn(theirs, this.#among(theirs, taken)))
      const left = minus(own, came)
      return came.rows === many && same(left, minus(known.all, gone)) ? many : null
    } finally {
      await this.#session.query('ROLLBACK')
    }
  }

  async #count(keys: string): Promise<number> {
    return Number(await one(this.#session, `SELECT count(*) FROM (${keys}) AS w`))
  }

  #knownOf(table: Staged): Known {
    const known = this.#known.get(table.names.ours)
    if (known === undefined) throw new Error(`${table.names.ours} was not staged`)
    return known
  }

  #copied(image: 'ours' | 'base' | 'theirs', { staged }: Known): Promise<Side> {
    const name = staged.names[image]
    const table = image === 'ours' ? sqlName(name, this.#home) : this.table(image, name)
    return this.#sideOf(this.#session, table, staged, image)
  }

  /** A FROM clause of the rows under those keys, or of all others. */
  #among(side: Side, touched: string, not: 'NOT' | '' = ''): string {
    const at = (c: Column) => `x.${quote(c.name)}`
    const keys =
      side.key.length > 0
        ? side.key.map(at)
        : [this.#dialect.key(side.columns.map(c => this.#dialect.text(at(c), c.type)))]
    const names = keys.map((_, i) => `k${i}`)
    return `${side.from} AS x WHERE ${not} EXISTS (SELECT FROM (${touched}) AS w(${names.join(', ')}) WHERE ${keys.map((k, i) => `w.${names[i]} = ${k}`).join(' AND ')})`
  }
}

function isStagedAsText(column: StagedColumn | undefined, image: Beside): boolean {
  const type = { base: null, theirs: column?.theirType, migrated: column?.migratedType }[image]
  return type?.startsWith(AS_TEXT) ?? false
}

/** What the columns of one table are, in ours and in every image. */
interface Types {
  readonly ours: ReadonlyMap<string, CopiedColumn>
  readonly of: ReadonlyMap<Beside, ReadonlyMap<string, CopiedColumn>>
}

/** Keys that are the same by the collation that the column has everywhere are the same where they are staged. */
function collated(column: StagedColumn | undefined, { ours, of }: Types): string {
  const own = ours.get(column?.ours ?? '')
  if (column === undefined || own?.collation == null) return ''
  const everywhere = [...of].every(([image, known]) => {
    const name = column[image]
    const there = name === null ? own : known.get(name)
    return there?.collation === own.collation && there.type === own.type
  })
  return everywhere ? ` COLLATE ${own.collation}` : ''
}

function nameIn(column: StagedColumn | undefined, image: ImageName): string {
  const name = column?.[image]
  if (name == null) throw new Error(`a column has no name in ${image}`)
  return name
}

const NOTHING: Total = { rows: 0, sum: 0n }

function same(a: Total, b: Total): boolean {
  return a.rows === b.rows && a.sum === b.sum
}

function minus(a: Total, b: Total): Total {
  return { rows: a.rows - b.rows, sum: a.sum - b.sum }
}

interface Differing {
  /** Of all rows of base. */
  readonly all: Total
  /** null: nothing can be told, all rows may differ. */
  readonly by: Bucketing | null
  readonly dirty: Dirty
}

/** Where base and theirs differ. Keys that only theirs has at its ends do, and need not be read for that. */
async function differing(base: Side, theirs: Side, sides: readonly Side[]): Promise<Differing> {
  const by = await bucketing(sides)
  if (by === null) return { all: await totalIn(base), by, dirty: { buckets: [], share: 1, beyond: [] } }
  const added = beyond(theirs, base, by)
  // Two servers, or two processes of one: both are asked at the same time.
  const [before, now] = await allOf([sumsOf(base, by), sumsOf(theirs, by, added)])
  return { all: before, by, dirty: dirtyOf(before, now, added) }
}

/** Waits for all before it tells of one that failed: nobody may go on asking a session that is about to end. */
async function allOf<T extends readonly Promise<unknown>[]>(
  work: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work)
  return Promise.all(work) as Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }>
}
