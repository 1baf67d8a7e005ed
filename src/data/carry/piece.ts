import type { Dialect, ImageName, Merger, Staged } from '../engine.ts'
import type { MappedColumn, MappedTable } from './mapping.ts'
import { INSERT } from './words.ts'

/** Columns that the migration gave other values than they had, as far as can be told. */
export interface Anew {
  /** Names in ours of those that may mean something else in the schema of the release (cents, where there were euros). */
  readonly columns: readonly string[]
  /** For people: of columns of which only few values are others, so that it may have been users. */
  readonly notes: readonly string[]
  /** For people: where most values are others, and nobody told who wrote them, what becomes of new rows. */
  readonly guessed: readonly string[]
}

/** What every statement of one merge is made with. */
export interface Ground {
  readonly dialect: Dialect
  readonly merger: Merger
  /** Names the run in the ledger of ours. */
  readonly run: string
  /** There is an image of right after migrating. */
  readonly migrated: boolean
  /** That image has nothing that a user wrote: what it has beyond base is the migration's own work, and not ambiguous. */
  readonly ownWork: boolean
}

/** The row aliases of one use of a piece in a statement. */
export interface Aliases {
  readonly w: string
  readonly t: string
  readonly o: string
}

/**
 * New rows under whole numbers above every key that any other image has, as a table that counts by itself gets them: nothing
 * can stand in their place, so that they are carried, written down and proven by ranges of keys and not one by one.
 */
export interface Tail {
  /** Its keys are above this one. */
  readonly above: bigint
  readonly to: bigint
  readonly rows: number
  /** How many this process has carried. */
  carried: number
}

export const PLAIN: Aliases = { w: 'w', t: 't', o: 'o' }

/** One table of the merge: its names and expressions in SQL. Rows that theirs changed stand in the table `work`. */
export class Piece {
  readonly #ground: Ground
  readonly table: MappedTable
  /** Columns that tell the rows apart; empty: rows are counted (a multiset). */
  readonly key: readonly string[]
  /** SQL name of the work table, once it was made. */
  work = ''
  /** How many rows of the work table theirs changed. What a deletion takes with it comes behind them. */
  changed = 0
  /** How many rows theirs changed, equal ones of a table without a key each by itself; but for the tail. */
  total = 0
  /** Ours was carried into before, and what was written down of it is lost: what came of equal rows nobody can tell. */
  forgotten = false
  /** There is no row in the work table, so that nothing has to be asked of it. */
  empty = false
  /** Rows that theirs added and that are not in the work table; null: there they all are. */
  tail: Tail | null = null
  /** Where values of new rows may mean something else than in the schema of the release. */
  anew: Anew = { columns: [], notes: [], guessed: [] }

  constructor(ground: Ground, table: MappedTable, key: readonly string[]) {
    this.#ground = ground
    this.table = table
    this.key = key
  }

  get keyed(): boolean {
    return this.key.length > 0
  }

  /** How many rows lines of the work table stand for. */
  get weight(): string {
    return this.keyed ? 'count(*)' : 'coalesce(sum(times), 0)'
  }

  get staged(): Staged {
    const { ours, theirs, migrated, columns } = this.table
    return { names: { ours, theirs, base: ours, migrated }, key: this.key, columns }
  }

  image(image: ImageName): string {
    const { ours, theirs, migrated } = this.table
    const names = { ours, theirs, base: ours, migrated }
    const name = names[image]
    if (name === null) throw new Error(`${theirs} was not there right after migrating`)
    return this.#ground.merger.table(image, name)
  }

  /** Ours, where rows are put into it. */
  get into(): string {
    const { ours } = this.table
    return this.#ground.merger.into?.(ours) ?? this.image('ours')
  }

  column(alias: string, name: string): string {
    return `${alias}.${this.#ground.dialect.quote(name)}`
  }

  /** Names of the key's columns in the work table. */
  get workKey(): string[] {
    return this.keyed ? this.key.map((_, i) => `k${i}`) : ['id']
  }

  /** The key of a row by its alias, as the image names it and ours has it. */
  keyOf(alias: string, image: ImageName | 'work'): string[] {
    if (image === 'work') return this.workKey.map(k => `${alias}.${k}`)
    return this.key.map(name => {
      const column = this.columnOf(name)
      return this.converted(column, this.column(alias, nameIn(column, image)), typeIn(column, image)).value
    })
  }

  /** True for rows of the tail. */
  behind(alias: string, image: 'ours' | 'theirs', tail = this.tail): string {
    return tail === null ? '1 = 0' : `${this.keyOf(alias, image)[0]} > ${tail.above}`
  }

  columnOf(ours: string): MappedColumn {
    const column = this.table.columns.find(c => c.ours === ours)
    if (column === undefined) throw new Error(`${this.table.ours}.${ours} has no counterpart`)
    return column
  }

  indexOf(ours: string): number {
    return this.table.columns.findIndex(c => c.ours === ours)
  }

  same(a: readonly string[], b: readonly string[]): string {
    return a.map((x, i) => `${x} = ${b[i]}`).join(' AND ')
  }

  /** The rows of the work table with what theirs has under their keys; `work AS w JOIN theirs AS t`. */
  from({ w, t }: Aliases = PLAIN, join: 'JOIN' | 'LEFT JOIN' = 'JOIN'): string {
    if (!this.keyed) return `${this.work} AS ${w}`
    return `${this.work} AS ${w} ${join} ${this.image('theirs')} AS ${t} ON ${this.same(this.keyOf(t, 'theirs'), this.keyOf(w, 'work'))}`
  }

  /** To be put behind `from`: what ours has under the same key. */
  withOurs({ w, o }: Aliases = PLAIN): string {
    if (!this.keyed) return ''
    return ` LEFT JOIN ${this.image('ours')} AS ${o} ON ${this.same(this.keyOf(o, 'ours'), this.keyOf(w, 'work'))}`
  }

  /** The cell of theirs as a value of the old type. Says nothing of value where it does not fit. */
  value(i: number, { w, t }: Aliases = PLAIN): string {
    const column = this.#at(i)
    const { dialect } = this.#ground
    if (!this.keyed) return dialect.value(`${w}.x${i}`, column.type)
    return this.converted(column, this.column(t, column.theirs), column.theirType).value
  }

  /** A value right before the restore in the type of the release, and when it fits; `fits: null` = always. */
  converted(column: MappedColumn, raw: string, from: string): { value: string; fits: string | null } {
    if (from === column.type) return { value: raw, fits: null }
    return this.#ground.dialect.convert(raw, from, column.type) ?? { value: 'NULL', fits: '1 = 0' }
  }

  /** The cell is one that the merge writes. */
  written(i: number, w = 'w'): string {
    return `substr(${w}.mask, ${i + 1}, 1) IN ('w', 't')`
  }

  /** What an update of ours sets, and with it as it is what the database would change by itself. */
  sets(named: readonly (readonly [string, string])[]): (readonly [string, string])[] {
    return [...named, ...stampsOf(this.#ground.dialect, this.table.stamps ?? [], named)]
  }

  /** What the cell of ours will be: the value of theirs where it is written, else what it is. */
  final(ours: string, a: Aliases = PLAIN): string | null {
    const i = this.indexOf(ours)
    if (i < 0)
      return this.keyed ? `CASE WHEN ${a.w}.act = ${INSERT} THEN NULL ELSE ${this.column(a.o, ours)} END` : null
    if (!this.keyed) return this.value(i, a)
    const takes = `${a.w}.act = ${INSERT} OR ${this.written(i, a.w)}`
    return `CASE WHEN ${takes} THEN ${this.value(i, a)} ELSE ${this.column(a.o, ours)} END`
  }

  /** One text for the row, for the ledger of ours. `of`: what else than that it was carried. */
  ledgerKey(w = 'w', of = ''): string {
    return this.ledgerKeyOf(
      this.workKey.map(k => `${w}.${k}`),
      of,
    )
  }

  /** The same of the columns of the key. */
  ledgerKeyOf(key: readonly string[], of = ''): string {
    const { dialect, run } = this.#ground
    const parts = this.keyed ? this.key.map((name, i) => dialect.text(key[i] ?? '', this.columnOf(name).type)) : key
    return dialect.key([literal(`${run}${of}`), literal(this.table.ours), ...parts])
  }

  #at(i: number): MappedColumn {
    const column = this.table.columns[i]
    if (column === undefined) throw new Error(`${this.table.ours} has no column ${i}`)
    return column
  }
}

/** Rows that wait to be carried. */
export function pending(w = 'w'): string {
  return `${w}.done = 0 AND ${w}.held = 0 AND ${w}.kind = 0`
}

export function nameIn(column: MappedColumn, image: ImageName): string {
  if (image === 'theirs') return column.theirs
  return image === 'migrated' ? (column.migrated ?? column.theirs) : column.ours
}

export function typeIn(column: MappedColumn, image: ImageName): string {
  if (image === 'theirs') return column.theirType
  return image === 'migrated' ? (column.migratedType ?? column.theirType) : column.type
}

/** The columns of these that nothing is set to, set to what they are. */
export function stampsOf(
  dialect: Dialect,
  stamps: readonly string[],
  named: readonly (readonly [string, string])[],
): [string, string][] {
  const free = stamps.map(name => dialect.quote(name)).filter(name => named.every(([set]) => set !== name))
  return free.map(name => [name, `o.${name}`])
}

/** A text in SQL. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** Texts of any number put together, none of them NULL: no system takes any number of them at once. */
export function joined(dialect: Dialect, texts: readonly string[]): string {
  if (texts.length <= 40) return dialect.joined(texts)
  const groups = Array.from({ length: Math.ceil(texts.length / 40) }, (_, i) => texts.slice(i * 40, i * 40 + 40))
  return joined(
    dialect,
    groups.map(group => joined(dialect, group)),
  )
}
