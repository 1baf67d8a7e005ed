import { sameJson } from '../../core/json.ts'
import { thrown } from './batches.ts'
import type { ArchivedRow } from './lines.ts'
import type { Ground } from './piece.ts'
import type { Kept } from './replay-lines.ts'

/** Columns that have another type now. */
export function retypedIn({ columns, key, shape }: Kept): string[] {
  const then = Object.entries({ ...columns, ...key })
  return then.flatMap(([column, type]) => (shape.columns[column]?.type === type ? [] : [column]))
}

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
  /** By column, the text to compare with what was kept. Empty: nothing is compared. */
  readonly #back: string[] = []

  private constructor(ground: Ground, kept: Kept, names: readonly string[], table: string) {
    this.names = names
    this.#ground = ground
    this.#kept = kept
    this.#table = table
  }

  /** null: all are as they were kept. */
  static async make(ground: Ground, kept: Kept, name: string): Promise<Retyped | null> {
    const { dialect, merger } = ground
    const names = retypedIn(kept)
    if (names.length === 0) return null
    const list = names.map((column, i) => `o.${dialect.quote(column)} AS c${i}`)
    // Of an outer join: each of them takes NULL.
    const from = `(SELECT 0 AS n) AS one LEFT JOIN ${merger.table('ours', kept.table)} AS o ON 1 = 0`
    const select = `SELECT one.n AS n, ${list.join(', ')} FROM ${from} WHERE 1 = 0`
    const retyped = new Retyped(ground, kept, names, await merger.work(`${name}_typed`, select, [['n']]))
    // What the migration puts there is put into the new type as it is.
    if (kept.what !== 'filled' && kept.what !== 'seeded') await retyped.#readBack()
    return retyped
  }

  /** Finds out how what was taken is said in the type that it was kept with. */
  async #readBack(): Promise<void> {
    const { dialect } = this.#ground
    for (const [i, name] of this.names.entries()) {
      const [cell, to, from] = [`t.c${i}`, this.#typeOf(name), this.#typeThen(name)]
      const ways = [dialect.convert(cell, to, from)?.value, `CAST(${cell} AS ${from})`]
      let back = dialect.text(cell, to)
      for (const way of from === '' ? [] : ways) {
        const text = way === undefined ? null : dialect.text(way, from)
        if (text === null || !(await this.#answers(text))) continue
        back = text
        break
      }
      this.#back.push(back)
    }
  }

  /** Whether the database knows what that is; the type that it was kept with may be there no more. */
  async #answers(text: string): Promise<boolean> {
    const { merger } = this.#ground
    const ask = async () => void (await merger.query(`SELECT ${text} AS b FROM ${this.#table} AS t WHERE 1 = 0`))
    return (await merger.transaction(() => merger.savepoint(ask))) === null
  }

  /** Leaves out what was rounded or cut: read back it is another value. Returns the lines. */
  async #leaveLossy(rows: readonly Texts[], first: number): Promise<number[]> {
    const { merger } = this.#ground
    if (this.#back.length === 0) return []
    const list = this.#back.map((text, i) => `${text} AS b${i}`)
    const found = await merger.query(
      `SELECT t.n AS n, ${list.join(', ')} FROM ${this.#table} AS t WHERE t.n >= ${first}`,
    )
    const read = new Map(found.map(row => [Number(row['n']), row]))
    const lossy: number[] = []
    for (const { n, texts } of rows) {
      const odd = texts.flatMap((text, i) => {
        const back = read.get(n)?.[`b${i}`] ?? null
        return text === null || this.#same(i, text, back as string | null) ? [] : [i]
      })
      if (odd.length === 0) continue
      await merger.run(`UPDATE ${this.#table} SET ${odd.map(i => `c${i} = NULL`).join(', ')} WHERE n = ${n}`)
      lossy.push(n)
    }
    return lossy
  }

  #same(i: number, kept: string, back: string | null): boolean {
    const name = this.names[i] ?? ''
    if (kept === back || back === null) return kept === back
    if (this.#typeOf(name) === 'jsonb') return sameJson(JSON.parse(kept), JSON.parse(back))
    // Kept with no type: the release's may have had other decimals.
    return this.#typeThen(name) === '' && plainNumber(kept) !== null && plainNumber(kept) === plainNumber(back)
  }

  #typeThen(name: string): string {
    return this.#kept.columns[name] ?? this.#kept.key[name] ?? ''
  }

  /** Takes lines with the numbers from `first` on. Returns those of which some values are none of the columns. */
  async take(lines: readonly ArchivedRow[], first: number): Promise<number[]> {
    const rows = lines.map(({ key, values }, i) => {
      return { n: first + i, texts: this.names.map(name => values[name] ?? key[name] ?? null) }
    })
    return this.#ground.merger.transaction(async () => {
      const odd: number[] = []
      const all = await this.#takes(() => this.#insert(rows))
      for (const row of all ? [] : rows) if (!(await this.#single(row))) odd.push(row.n)
      return [...new Set([...odd, ...(await this.#leaveLossy(rows, first))])]
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

/** Without zeros at its end that say nothing; null: it is no such number. */
function plainNumber(text: string): string | null {
  const [, whole, decimals = ''] = /^(-?(?:0|[1-9]\d*))(?:\.(\d+))?$/.exec(text) ?? []
  if (whole === undefined) return null
  const rest = decimals.replace(/0+$/, '')
  return rest === '' ? whole : `${whole}.${rest}`
}
