import type { ArchivedRow } from './archive.ts'
import { thrown } from './batches.ts'
import type { Ground } from './piece.ts'
import type { Kept } from './replay-lines.ts'

interface Texts {
  readonly n: number
  readonly texts: readonly (string | null)[]
}

/**
 * Columns that have another type than they were kept with: what was kept is put into a table of columns as they are now, so
 * that the database itself says which values these take, before anything is asked of them as such.
 */
export class Retyped {
  readonly names: readonly string[]
  readonly #ground: Ground
  readonly #kept: Kept
  readonly #table: string

  private constructor(ground: Ground, kept: Kept, names: readonly string[], table: string) {
    this.names = names
    this.#ground = ground
    this.#kept = kept
    this.#table = table
  }

  /** null: all are as they were kept. */
  static async make(ground: Ground, kept: Kept, name: string): Promise<Retyped | null> {
    const { dialect, merger } = ground
    const then = Object.entries({ ...kept.columns, ...kept.key })
    const names = then.flatMap(([column, type]) => (kept.shape.columns[column]?.type === type ? [] : [column]))
    if (names.length === 0) return null
    const list = names.map((column, i) => `o.${dialect.quote(column)} AS c${i}`)
    // Of an outer join: each of them takes NULL.
    const from = `(SELECT 0 AS n) AS one LEFT JOIN ${merger.table('ours', kept.table)} AS o ON 1 = 0`
    const select = `SELECT one.n AS n, ${list.join(', ')} FROM ${from} WHERE 1 = 0`
    return new Retyped(ground, kept, names, await merger.work(`${name}_typed`, select, [['n']]))
  }

  /** Takes lines with the numbers from `first` on. Returns those of which some values are none of the columns. */
  async take(lines: readonly ArchivedRow[], first: number): Promise<number[]> {
    const rows = lines.map(({ key, values }, i) => {
      return { n: first + i, texts: this.names.map(name => values[name] ?? key[name] ?? null) }
    })
    return this.#ground.merger.transaction(async () => {
      if (await this.#takes(() => this.#insert(rows))) return []
      const odd: number[] = []
      for (const row of rows) if (!(await this.#single(row))) odd.push(row.n)
      return odd
    })
  }

  /** The exact text of what was taken, by the columns `n` and `names`: as a query. */
  texts(first: number): string {
    const { dialect } = this.#ground
    const list = this.names.map((name, i) => `${dialect.text(`t.c${i}`, this.#typeOf(name))} AS t${i}`)
    return `SELECT t.n AS n, ${list.join(', ')} FROM ${this.#table} AS t WHERE t.n >= ${first}`
  }

  /** What does not fit is left out. Returns whether all did. */
  async #single(row: Texts): Promise<boolean> {
    if (await this.#takes(() => this.#insert([row]))) return true
    const { merger, dialect } = this.#ground
    await this.#insert([{ ...row, texts: row.texts.map(() => null) }])
    for (const [i, text] of row.texts.entries()) {
      if (text === null) continue
      const value = dialect.value(dialect.parameter(1), this.#typeOf(this.names[i] ?? ''))
      await this.#takes(async () => {
        await merger.run(`UPDATE ${this.#table} SET c${i} = ${value} WHERE n = ${row.n}`, [text])
      })
    }
    return false
  }

  async #insert(rows: readonly Texts[]): Promise<void> {
    const { merger, dialect } = this.#ground
    const names = ['n', ...this.names.map((_, i) => `c${i}`)].join(', ')
    const many = Math.max(1, Math.floor(20_000 / this.names.length))
    for (let at = 0; at < rows.length; at += many) {
      const given: unknown[] = []
      const list = rows.slice(at, at + many).map(({ n, texts }) => {
        const values = texts.map((text, i) =>
          dialect.value(dialect.parameter(given.push(text)), this.#typeOf(this.names[i] ?? '')),
        )
        return `(${[n, ...values].join(', ')})`
      })
      await merger.run(`INSERT INTO ${this.#table} (${names}) VALUES ${list.join(', ')}`, given)
    }
  }

  /** Whether the database took it. */
  async #takes(work: () => Promise<void>): Promise<boolean> {
    const { merger } = this.#ground
    const refused = await merger.savepoint(work)
    if (refused !== null && merger.refusal(refused) === null) throw thrown(refused)
    return refused === null
  }

  #typeOf(name: string): string {
    return this.#kept.shape.columns[name]?.type ?? ''
  }
}
