import type { Bonds, Reference } from '../engine.ts'
import type { ArchivedRow } from './archive.ts'

/**
 * Archived rows that could not be put back: what stands under their keys is another row, or nothing. What refers to one of
 * them may not be put back either.
 */
export class Strangers {
  readonly #bonds: Readonly<Record<string, Bonds>>
  /** By table, the columns that something refers to, and their values. */
  readonly #known = new Map<string, Set<string>>()

  constructor(bonds: Readonly<Record<string, Bonds>>) {
    this.#bonds = bonds
  }

  /** Something refers to rows of the table. */
  isReferredTo(table: string): boolean {
    return this.#references().some(reference => reference.table === table)
  }

  add(table: string, line: ArchivedRow): void {
    const cells = { ...line.key, ...line.values }
    for (const { to } of this.#references().filter(reference => reference.table === table)) {
      const values = valuesOf(cells, to)
      if (values !== null) this.#of(table, to).add(values)
    }
  }

  /** A row or a cell of this table would refer to one of them. */
  hasParentOf(table: string, { values }: ArchivedRow): boolean {
    const { references = [] } = this.#bonds[table] ?? {}
    return references.some(({ columns, table: parent, to }) => {
      const told = valuesOf(values, columns)
      return told !== null && this.#of(parent, to).has(told)
    })
  }

  #references(): Reference[] {
    return Object.values(this.#bonds).flatMap(bonds => bonds.references)
  }

  #of(table: string, to: readonly string[]): Set<string> {
    const name = JSON.stringify([table, ...to])
    const known = this.#known.get(name) ?? new Set()
    this.#known.set(name, known)
    return known
  }
}

/** null: one of them is NULL, or was not archived. */
function valuesOf(cells: ArchivedRow['values'], names: readonly string[]): string | null {
  const values = names.map(name => cells[name] ?? null)
  return values.includes(null) ? null : JSON.stringify(values.map(v => plainNumber(v ?? '')))
}

/** Columns that refer to each other may keep different numbers of digits. */
function plainNumber(value: string): string {
  return /^-?\d+\.\d+$/.test(value) ? value.replace(/\.?0+$/, '') : value
}
