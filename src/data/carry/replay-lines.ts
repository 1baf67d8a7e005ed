import { hashOf } from '../../core/json.ts'
import type { Dialect, Merger } from '../engine.ts'
import type { TableShape } from '../schema.ts'
import { LEDGER } from './ledger.ts'
import type { ArchivedRow } from './lines.ts'
import { type Ground, literal } from './piece.ts'
import { remade, type Telling, tellingIn } from './replay-remade.ts'
import { Retyped, retypedIn } from './replay-retyped.ts'

/**
 * How a line stands. Of its cells some hold something else, which stay (`part`); or it stays away: something else is in its
 * place (`left`), the row under its key may be another one (`another`), a later run's archive has it (`later`), its row is not there (`gone`), what it refers to is not (`cut`), the database refused it, or the migration
 * had put it there (`seeded`).
 */
export const LINE = {
  waits: 0,
  noted: 1,
  left: 2,
  part: 3,
  gone: 4,
  cut: 5,
  refused: 6,
  seeded: 7,
  another: 8,
  later: 9,
} as const

/** Lines that are not back, not with all that they have. */
export const NOT_BACK = `w.state NOT IN (${LINE.waits}, ${LINE.noted}, ${LINE.seeded})`

/** Lines that are to be put back, as `w`. */
export const TO_PUT = `w.state IN (${LINE.waits}, ${LINE.part})`

/** Lines of one table, as they were kept: names and types are those of theirs, which is what the database has again. */
export interface Kept {
  readonly what: 'rows' | 'seeded' | 'deleted' | 'cells' | 'filled' | 'listed' | 'whose'
  /** Tells them from the lines of others, in the ledger too. */
  readonly path: string
  readonly table: string
  readonly shape: TableShape
  readonly key: Readonly<Record<string, string>>
  readonly columns: Readonly<Record<string, string>>
  /** As in the manifest. */
  readonly defaults: Readonly<Record<string, string | null>>
}

/**
 * Lines as a table of texts of this session: their number `n`, the key as `k0`…, the values as `v0`…, and `state`. `odd`: a
 * value of it is none of its column as that is now, and left out. Of how rows were (`whose`) `c0`… say what the value
 * tells.
 */
export class Lines {
  readonly kept: Kept
  readonly keys: readonly string[]
  readonly columns: readonly string[]
  readonly work: string
  many = 0
  /** What the migration had put into cells of the same rows; null: that is not known. `told`: what the cells are to hold still. */
  filled: Lines | null = null
  /** Rows as the migration had put them there; null: that is not known. */
  seeds: Lines | null = null
  told = false
  /** Cells of the same table that later runs have. */
  readonly laters: Lines[] = []
  /** Columns of which a person said that the lines go over what is there. */
  over: (column: string) => boolean = () => false
  readonly #ground: Ground
  readonly #retyped: Retyped | null
  /** For each column of `whose` the texts that tell no row from another. */
  readonly #telling: readonly Telling[]

  private constructor(
    ground: Ground,
    kept: Kept,
    work: string,
    beside: { retyped: Retyped | null; telling: readonly Telling[] },
  ) {
    this.#ground = ground
    this.#retyped = beside.retyped
    this.#telling = beside.telling
    this.kept = kept
    this.keys = Object.keys(kept.key)
    this.columns = Object.keys(kept.columns)
    this.work = work
  }

  static async make(ground: Ground, kept: Kept, name: string): Promise<Lines> {
    const { dialect, merger } = ground
    const text = (column: string, as: string) =>
      `${dialect.text(dialect.quote(column), kept.shape.columns[column]?.type ?? '')} AS ${as}`
    const retyped = retypedIn(kept)
    const list = [
      ...Object.keys(kept.key).map((k, i) => text(k, `k${i}`)),
      ...Object.keys(kept.columns).map((v, i) => text(v, `v${i}`)),
      ...Object.keys(kept.columns).flatMap((v, i) => (retyped.includes(v) ? [`${dialect.key(["'x'"])} AS h${i}`] : [])),
      ...Object.keys(kept.columns).flatMap((_, i) => (kept.what === 'whose' ? [`0 AS c${i}`] : [])),
    ]
    const select = `SELECT 0 AS n, 0 AS state, 0 AS odd, ${list.join(', ')} FROM ${merger.table('ours', kept.table)} WHERE 1 = 0`
    const beside = kept.what === 'filled' || kept.what === 'seeded'
    const keys = Object.keys(kept.key).map((_, i) => `k${i}`)
    const work = await merger.work(name, select, [['n'], ...(beside && keys.length > 0 ? [keys] : [])])
    const telling = kept.what === 'whose' ? await tellingIn(ground, kept) : []
    return new Lines(ground, kept, work, { retyped: await Retyped.make(ground, kept, name), telling })
  }

  /** Columns that can be written to. The others the database computes. */
  get written(): readonly string[] {
    return this.columns.filter(c => this.kept.shape.columns[c]?.generated !== true)
  }

  /** Columns that have another type now. */
  get retyped(): readonly string[] {
    return this.#retyped?.names ?? []
  }

  async add(lines: readonly ArchivedRow[]): Promise<void> {
    const { merger, dialect } = this.#ground
    const hashed = this.columns.filter(c => this.retyped.includes(c))
    const names = [
      'n',
      'state',
      'odd',
      ...this.keys.map((_, i) => `k${i}`),
      ...this.columns.map((_, i) => `v${i}`),
      ...hashed.map(c => `h${this.columns.indexOf(c)}`),
      ...this.#telling.map((_, i) => `c${i}`),
    ]
    const first = this.many
    const plain = (from: Readonly<Record<string, string | null>>) => (name: string) =>
      this.retyped.includes(name) ? null : (from[name] ?? null)
    const many = Math.max(1, Math.floor(20_000 / names.length))
    for (let at = 0; at < lines.length; at += many) {
      const given: unknown[] = []
      const rows = lines.slice(at, at + many).map(line => {
        const row = [
          this.many++,
          LINE.waits,
          0,
          ...this.keys.map(plain(line.key)),
          ...this.columns.map(plain(line.values)),
          ...hashed.map(c => markOf(line.values[c])),
          ...this.#telling.map((telling, i) => telling(line.values[this.columns[i] ?? ''])),
        ]
        return `(${row.map(value => dialect.parameter(given.push(value))).join(', ')})`
      })
      await merger.run(`INSERT INTO ${this.work} (${names.join(', ')}) VALUES ${rows.join(', ')}`, given)
    }
    if (this.#retyped !== null) await this.#addRetyped(this.#retyped, lines, first)
  }

  async #addRetyped(retyped: Retyped, lines: readonly ArchivedRow[], first: number): Promise<void> {
    const { merger, dialect } = this.#ground
    const odd = await retyped.take(lines, first)
    const sets = retyped.names.flatMap((name, i) =>
      [`k${this.keys.indexOf(name)}`, `v${this.columns.indexOf(name)}`]
        .filter(column => !column.endsWith('-1'))
        .map(column => [column, `x.t${i}`] as const),
    )
    await merger.run(dialect.update(this.work, sets, `(${retyped.texts(first)}) AS x`, 'o.n = x.n'))
    if (odd.length === 0) return
    // Of a row all is needed; of cells the others can come.
    const state = this.kept.what === 'rows' ? `, state = ${LINE.left}` : ''
    await merger.run(`UPDATE ${this.work} SET odd = 1${state} WHERE n IN (${odd.join(', ')})`)
  }

  /** Lines as a table `w`, with what the migration had put into the cells as `f0`…, where that is known. */
  some(where: string): string {
    const { filled } = this
    if (filled === null) return `(SELECT * FROM ${this.work} AS w WHERE ${where}) AS w`
    const raw = filled.columns.flatMap((c, i) => (filled.retyped.includes(c) ? [`f.h${i} AS g${i}`] : []))
    const cells = ['f.n AS fn', ...filled.columns.map((_, i) => `f.v${i} AS f${i}`), ...raw]
    return `(SELECT w.*, ${cells.join(', ')} FROM ${this.work} AS w LEFT JOIN ${filled.work} AS f
      ON ${this.sameKey(filled, 'f')} WHERE ${where}) AS w`
  }

  /**
   * The text that the migration had put into a cell, as `some` gives it, and what it would have put there, had the row been
   * there already; null: nobody can tell. `kept`: what `keptOf` is to be compared with.
   */
  filledOf(column: string): { readonly then: string; readonly always: string; readonly kept: string } | null {
    const { filled } = this
    const i = filled?.columns.indexOf(column) ?? -1
    if (filled === null || i < 0) return null
    const same = filled.retyped.includes(column) ? null : (filled.kept.defaults[column] ?? null)
    const kept = filled.retyped.includes(column) && this.retyped.includes(column) ? `w.g${i}` : `w.f${i}`
    return { then: `w.f${i}`, kept, always: same === null ? `w.f${i}` : `coalesce(w.f${i}, ${literal(same)})` }
  }

  /** True where a later run has something in that cell, of the line `w`. */
  laterHas(column: string): string[] {
    return this.laters
      .filter(later => later.columns.includes(column))
      .map(later => {
        const has = `${this.sameKey(later, 'l')} AND ${later.unlikeDefault(column, 'l')}`
        return `EXISTS (SELECT 1 FROM ${later.work} AS l WHERE ${has})`
      })
  }

  /** A cell as it was kept is not what the column had by itself. */
  unlikeDefault(column: string, w = 'w'): string {
    const usual = this.kept.defaults[column] ?? null
    const { cell, as } = this.keptOf(column, w)
    return usual === null ? `${cell} IS NOT NULL` : this.#ground.dialect.differs(cell, as(usual))
  }

  /** The line `w` of these and the line `as` of others are of the same key. */
  sameKey(others: Lines, as: string): string {
    return this.keys.map((k, i) => `${as}.k${others.keys.indexOf(k)} = w.k${i}`).join(' AND ')
  }

  /** A cell as it was kept, to be compared, whatever its column takes now. `as`: a text of the type that it was kept with. */
  keptOf(column: string, w = 'w'): { readonly cell: string; readonly as: (text: string) => string } {
    const i = this.columns.indexOf(column)
    if (!this.retyped.includes(column)) return { cell: `${w}.v${i}`, as: literal }
    return { cell: `${w}.h${i}`, as: text => literal(markOf(text) ?? '') }
  }

  /** True where the column does not take what was kept. */
  misfit(column: string): string {
    const i = this.columns.indexOf(column)
    const { nullable = true } = this.kept.shape.columns[column] ?? {}
    const odd = this.retyped.includes(column) ? `(w.v${i} IS NULL AND w.h${i} IS NOT NULL)` : '1 = 0'
    return nullable ? odd : `(w.v${i} IS NULL)`
  }

  /** True where the key is none that a row can have now. */
  get oddKey(): string {
    const odd = this.keys.flatMap((k, i) => (this.retyped.includes(k) ? [`w.k${i} IS NULL`] : []))
    return odd.length === 0 ? '1 = 0' : `(${odd.join(' OR ')})`
  }

  get ours(): string {
    return this.#ground.merger.table('ours', this.kept.table)
  }

  typeOf(column: string): string {
    return this.kept.shape.columns[column]?.type ?? ''
  }

  /** What a line `w` has for a column, as a value of it; null: that was not kept. */
  valueOf(column: string): string | null {
    const [k, v] = [this.keys.indexOf(column), this.columns.indexOf(column)]
    if (v >= 0) return this.#ground.dialect.value(`w.v${v}`, this.typeOf(column))
    return k >= 0 ? this.#ground.dialect.value(`w.k${k}`, this.typeOf(column)) : null
  }

  /** The row `o` of ours has the key of the line `w`. */
  get onKey(): string {
    const { dialect } = this.#ground
    return this.keys.map((k, i) => `o.${dialect.quote(k)} = ${dialect.value(`w.k${i}`, this.typeOf(k))}`).join(' AND ')
  }

  /** The row `o` of ours is not as it was kept. */
  get unlike(): string {
    return this.unlikeAs('w')
  }

  unlikeAs(w: string): string {
    const { dialect } = this.#ground
    const differs = this.written.map(c => {
      const value = dialect.value(`${w}.v${this.columns.indexOf(c)}`, this.typeOf(c))
      return dialect.differs(`o.${dialect.quote(c)}`, value)
    })
    return `(${[`${w}.odd = 1`, ...differs].join(' OR ')})`
  }

  /** The row `o` of ours is another one: neither as it was kept, nor, under its key, as the migration puts it there. */
  get other(): string {
    const { seeds } = this
    if (seeds === null || this.keys.length === 0) return this.unlike
    const own = `SELECT 1 FROM ${seeds.work} AS s WHERE ${this.sameKey(seeds, 's')} AND NOT ${seeds.unlikeAs('s')}`
    return `(${this.unlike} AND (w.odd = 1 OR NOT EXISTS (${own})))`
  }

  /** The row `o` of ours may be another one. By their texts: the type may not know the values any more. `by`: what it was found by. */
  remade(by: readonly string[]): string {
    const cells = this.columns.map((column, i) => {
      return { column, type: this.typeOf(column), text: `w.v${i}`, what: `w.c${i}` }
    })
    return remade(
      this.#ground,
      cells.filter(({ column }) => !by.includes(column)),
    )
  }

  /** Marks lines of which nobody can say any more what the cells were to hold. */
  async leaveUntold(): Promise<void> {
    const { filled } = this
    if (filled === null || !this.told) return
    const odd = `SELECT w.n AS n FROM ${this.work} AS w JOIN ${filled.work} AS f ON ${this.sameKey(filled, 'f')}`
    await this.mark(LINE.left, `${odd} WHERE f.odd = 1 AND w.state = ${LINE.waits}`)
  }

  /** Marks lines that are rows of these to the last cell, of equal ones as many as there are of these. */
  async markSeeded(seeds: Lines): Promise<void> {
    const { dialect } = this.#ground
    const whole = (lines: Lines, alias: string) => dialect.key(this.columns.map(c => lines.keptOf(c, alias).cell))
    const many = `SELECT ${whole(seeds, 's')} AS k, count(*) AS many FROM ${seeds.work} AS s GROUP BY ${whole(seeds, 's')}`
    const own = `SELECT w.n AS n, ${whole(this, 'w')} AS k, row_number() OVER (PARTITION BY ${whole(this, 'w')} ORDER BY w.n) AS place
      FROM ${this.work} AS w`
    await this.mark(
      LINE.seeded,
      `SELECT r.n AS n FROM (${own}) AS r JOIN (${many}) AS m ON m.k = r.k WHERE r.place <= m.many`,
    )
  }

  /** Says of lines that a query names by `n` whether a value of them does not fit. */
  async setOdd(odd: 0 | 1, select: string): Promise<void> {
    const { merger, dialect } = this.#ground
    await merger.run(dialect.update(this.work, [['odd', String(odd)]], `(${select}) AS x`, 'o.n = x.n'))
  }

  /** Says how the lines stand that a query names by `n`. Returns how many they are. */
  mark(state: number, select: string): Promise<number> {
    const { merger, dialect } = this.#ground
    return merger.run(dialect.update(this.work, [['state', String(state)]], `(${select}) AS x`, 'o.n = x.n'))
  }

  /** Lines that are back, by an earlier process too, are noted in ours: they are put back once. */
  async recall(): Promise<void> {
    const { merger, dialect } = this.#ground
    const noted = `SELECT ${dialect.quote('key')} FROM ${merger.table('ours', LEDGER)}`
    await this.mark(LINE.noted, `SELECT w.n AS n FROM ${this.work} AS w WHERE ${this.#note} IN (${noted})`)
  }

  /** Belongs into the transaction that puts them back. */
  async note(where: string): Promise<void> {
    const { merger, dialect, run } = this.#ground
    await merger.run(`INSERT INTO ${merger.table('ours', LEDGER)} (${dialect.quote('key')}, run, table_name, action, hash)
      SELECT ${this.#note}, ${literal(run)}, ${literal(this.kept.table)}, 0, 'replay' FROM ${this.work} AS w WHERE ${where}`)
  }

  get #note(): string {
    const { dialect, run } = this.#ground
    return dialect.key([...[run, 'line', this.kept.path].map(literal), dialect.text('w.n', 'bigint')])
  }

  count(where: string): Promise<number> {
    return countOf(this.#ground.merger, `${this.work} AS w WHERE ${where}`)
  }
}

function markOf(text: string | null | undefined): string | null {
  return text == null ? null : hashOf(text)
}

export async function countOf(merger: Merger, from: string): Promise<number> {
  const [row] = await merger.query(`SELECT count(*) AS n FROM ${from}`)
  return Number(row?.['n'])
}

/** Columns of a table, seen as `alias`. */
export function named({ quote }: Pick<Dialect, 'quote'>, alias: string, names: readonly string[]): string[] {
  return names.map(name => `${alias}.${quote(name)}`)
}
