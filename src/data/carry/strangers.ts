import type { Bonds, Reference } from '../engine.ts'
import type { Ground } from './piece.ts'
import { LINE, type Lines, named } from './replay-lines.ts'

interface Known {
  readonly work: string
  /** It is only likely that they are others. */
  readonly doubtful: boolean
}

/**
 * Rows of ours under a key, or another value that is referred to, of an archived row that they are not: users came
 * back before it did. What belongs to that row, or refers to it, is not theirs.
 */
export class Strangers {
  readonly #ground: Ground
  readonly #bonds: Readonly<Record<string, Bonds>>
  /** By table and columns that rows are known by: tables of their values, as `u0`…. */
  readonly #known = new Map<string, Known[]>()
  #made = 0

  constructor(ground: Ground, bonds: Readonly<Record<string, Bonds>>) {
    this.#ground = ground
    this.#bonds = bonds
  }

  /** Looks for those that stand in the place of lines. `keys`: more columns that they are asked for by. */
  async find(lines: Lines, keys: readonly (readonly string[])[]): Promise<void> {
    const { merger, dialect } = this.#ground
    const told = distinct([...keys, ...this.#referredTo(lines.kept.table)])
    const doubtful = lines.kept.what === 'whose'
    const ways = distinct([lines.keys, ...told]).flatMap(by => {
      const values = by.map(name => lines.valueOf(name))
      if (by.length === 0 || values.includes(null)) return []
      return [{ by, on: named(dialect, 'o', by).map((cell, i) => `${cell} = ${values[i]}`) }]
    })
    if (ways.length === 0) return
    for (const names of told) {
      const as = named(dialect, 'o', names).map((cell, i) => `${cell} AS u${i}`)
      const found = ways.map(({ by, on }) => {
        const rows = `SELECT ${as.join(', ')} FROM ${lines.work} AS w JOIN ${lines.ours} AS o ON ${on.join(' AND ')}
          WHERE w.state = ${LINE.waits}`
        if (!doubtful) return `${rows} AND ${lines.other}`
        // A row is kept in each way that it may have been left in: it must be unlike all of these.
        const cells = named(dialect, 'o', names).join(', ')
        return `${rows} GROUP BY ${cells} HAVING min(CASE WHEN ${lines.remade(by)} THEN 1 ELSE 0 END) = 1`
      })
      const us = names.map((_, i) => `u${i}`)
      const work = await merger.work(`backout_strangers_${this.#made++}`, found.join(' UNION '), [us])
      const name = nameOf(lines.kept.table, names)
      this.#known.set(name, [...(this.#known.get(name) ?? []), { work, doubtful }])
    }
  }

  /** True for rows `alias` of a table that are none of them. `certain`: but for those of which it is only likely. */
  none(alias: string, table: string, names: readonly string[], certain = false): string {
    const known = (this.#known.get(nameOf(table, names)) ?? []).filter(k => !(certain && k.doubtful))
    const same = named(this.#ground.dialect, alias, names).map((cell, i) => `x.u${i} = ${cell}`)
    const not = known.map(({ work }) => `NOT EXISTS (SELECT 1 FROM ${work} AS x WHERE ${same.join(' AND ')})`)
    return not.length === 0 ? '1 = 1' : `(${not.join(' AND ')})`
  }

  /** Lines that refer to a row that is not there, or to one of them; null: what refers is nothing that they bring. */
  orphans(lines: Lines, reference: Reference, where: string): string | null {
    const { merger, dialect } = this.#ground
    const { table, to } = reference
    const found = this.#referring(lines, reference)
    if (found === null) return null
    const fits = named(dialect, 'p', to).map((cell, i) => `${cell} = ${found.cells[i]}`)
    const filled = found.cells.map(cell => `${cell} IS NOT NULL`)
    return `SELECT w.n AS n FROM ${found.rows} WHERE ${[where, ...filled].join(' AND ')} AND NOT EXISTS
      (SELECT 1 FROM ${merger.table('ours', table)} AS p WHERE ${fits.join(' AND ')} AND ${this.none('p', table, to)})`
  }

  /** Lines `n` beside the lines `p` of rows that they refer to. `where`: a condition on each of both, as `w`. */
  parents(lines: Lines, reference: Reference, parent: Lines, where: string): string | null {
    const found = this.#referring(lines, reference)
    const values = reference.to.map(name => parent.valueOf(name))
    if (found === null || values.includes(null)) return null
    const list = ['w.n AS n', ...values.map((value, i) => `${value} AS u${i}`)]
    const on = found.cells.map((cell, i) => `p.u${i} = ${cell}`)
    return `SELECT w.n AS n, p.n AS p FROM ${found.rows} JOIN (SELECT ${list.join(', ')} FROM ${parent.work} AS w WHERE ${where}) AS p
      ON ${on.join(' AND ')} WHERE ${where}`
  }

  /** Where lines are, and the cells by which they refer; null: what refers is nothing that they bring. */
  #referring(lines: Lines, { columns }: Reference): { rows: string; cells: readonly string[] } | null {
    const { dialect } = this.#ground
    const own = columns.map(name => lines.valueOf(name))
    const isRow = lines.kept.what === 'rows'
    if (own.every(v => v === null) || (isRow && own.includes(null))) return null
    const cells = own.map((value, i) => value ?? named(dialect, 'o', columns.slice(i, i + 1)).join())
    return {
      rows: isRow ? `${lines.work} AS w` : `${lines.work} AS w JOIN ${lines.ours} AS o ON ${lines.onKey}`,
      cells,
    }
  }

  referencesOf(table: string): readonly Reference[] {
    return this.#bonds[table]?.references ?? []
  }

  /** True for rows `alias` of a table that no other refers to. */
  unreferred(alias: string, table: string): string {
    const { merger, dialect } = this.#ground
    const free = Object.entries(this.#bonds).flatMap(([child, { references }]) =>
      references
        .filter(r => r.table === table)
        .map(({ columns, to }) => {
          const on = named(dialect, 'c', columns).map((cell, i) => `${cell} = ${named(dialect, alias, to)[i]}`)
          return `NOT EXISTS (SELECT 1 FROM ${merger.table('ours', child)} AS c WHERE ${on.join(' AND ')})`
        }),
    )
    return free.length === 0 ? '1 = 1' : free.join(' AND ')
  }

  /** Lists of columns by which other rows refer to those of the table. */
  #referredTo(table: string): (readonly string[])[] {
    return Object.values(this.#bonds).flatMap(({ references }) =>
      references.filter(r => r.table === table).map(({ to }) => to),
    )
  }
}

function distinct(lists: readonly (readonly string[])[]): (readonly string[])[] {
  return [...new Map(lists.map(list => [JSON.stringify(list), list])).values()]
}

function nameOf(table: string, names: readonly string[]): string {
  return JSON.stringify([table, ...names])
}
