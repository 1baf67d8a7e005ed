import { z } from 'zod'
import { sameJson } from '../core/json.ts'
import type { ColumnShape, SchemaShape, TableShape } from './schema.ts'

/** A table, or a column of one. */
const named = z.object({ table: z.string(), column: z.string().nullable() })
export type Named = z.infer<typeof named>

/** One thing under two names: what it was called at the baseline, and what it is called now. */
export const renameShape = z.object({ was: named, now: named })
export type Rename = z.infer<typeof renameShape>

/** What the rows say about a rename that may be one. */
export interface Weighed extends Rename {
  /** Rows that are there at the baseline and now. */
  readonly rows: number
  /** Those that hold the same under both names. */
  readonly equal: number
  /** Those of the equal ones that hold a value at all: nothing equals nothing and proves nothing. */
  readonly telling: number
  /** It stands where it stood, and so does something behind it: what was added stands at the end. */
  readonly samePlace: boolean
  /** For people: why the rows could not be compared; null: they were. */
  readonly untold: string | null
  /** The database knows it by an id of its own: no row was asked. */
  readonly known?: boolean
}

export interface Doubt extends Weighed {
  /** `rewritten`: the database knows that it is the same one, and most of what it held has another value by now. */
  readonly why: 'untold' | 'nothing-to-compare' | 'differs' | 'ambiguous' | 'rewritten'
  /** Pairs that are as equal and share a name with this one. */
  readonly rivals: readonly Rename[]
}

export interface Renames {
  readonly renames: readonly Weighed[]
  /** What looks like a rename and is not taken for one. */
  readonly doubts: readonly Doubt[]
}

export const NO_RENAMES: Renames = { renames: [], doubts: [] }

export function nameOf({ table, column }: Named): string {
  return column === null ? table : `${table}.${column}`
}

/** Every pair of something that is gone and something that was added which could be the same by its shape. */
export function renameCandidates(
  base: SchemaShape,
  now: SchemaShape,
  alike: (a: ColumnShape, b: ColumnShape) => boolean,
): Rename[] {
  const out: Rename[] = []
  for (const [table, then] of Object.entries(base.tables)) {
    const live = now.tables[table]
    if (live === undefined) out.push(...tableCandidates(base, now, table))
    else out.push(...columnCandidates(table, then, { table, shape: live }, alike))
  }
  return out
}

/** The same of the columns of tables that bear another name now. */
export function columnsOfRenamed(
  tables: readonly Rename[],
  base: SchemaShape,
  now: SchemaShape,
  alike: (a: ColumnShape, b: ColumnShape) => boolean,
): Rename[] {
  return tables.flatMap(pair => {
    const [then, shape] = [base.tables[pair.was.table], now.tables[pair.now.table]]
    if (then === undefined || shape === undefined || !isTable(pair) || pair.was.table === pair.now.table) return []
    return columnCandidates(pair.was.table, then, { table: pair.now.table, shape }, alike)
  })
}

/** Tables that are gone, and new ones with the same key and most of their columns: one may be the other, and no row proves it. */
export function alikeTables(
  base: SchemaShape,
  now: SchemaShape,
  alike: (a: ColumnShape, b: ColumnShape) => boolean,
): Rename[] {
  const gone = Object.entries(base.tables).filter(([name]) => now.tables[name] === undefined)
  const added = Object.entries(now.tables).filter(([name]) => base.tables[name] === undefined)
  return gone.flatMap(([was, then]) => {
    const fit = added.filter(([, shape]) => {
      if (isSameShape(then, shape) || !sameJson(then.key, shape.key)) return false
      const common = Object.entries(then.columns).filter(([name, column]) => {
        const here = shape.columns[name]
        return here !== undefined && alike(column, here)
      })
      const kept = then.key.every(k => common.some(([name]) => name === k))
      return kept && common.length * 2 > Object.keys(then.columns).length
    })
    return fit.map(([name]) => ({ was: { table: was, column: null }, now: { table: name, column: null } }))
  })
}

/** Of these a column counts only where its table is taken for the same one, too. */
export function inTheirTables(renames: readonly Rename[], tables: readonly Rename[]): Rename[] {
  return renames.filter(
    ({ was, now }) =>
      now.column === null ||
      was.table === now.table ||
      tables.some(t => isTable(t) && t.was.table === was.table && t.now.table === now.table),
  )
}

export function isTable({ was, now }: Rename): boolean {
  return was.column === null && now.column === null
}

function columnCandidates(
  table: string,
  then: TableShape,
  live: { readonly table: string; readonly shape: TableShape },
  alike: (a: ColumnShape, b: ColumnShape) => boolean,
): Rename[] {
  const added = Object.entries(live.shape.columns).filter(([name]) => then.columns[name] === undefined)
  return Object.entries(then.columns).flatMap(([was, a]) => {
    if (live.shape.columns[was] !== undefined || a.generated) return []
    const fit = added.filter(([, b]) => !b.generated && alike(a, b))
    return fit.map(([name]) => ({ was: { table, column: was }, now: { table: live.table, column: name } }))
  })
}

/** What is called the same but for the case of letters, for systems that do not tell such names apart. `tables`: those of tables too. */
export function recased(base: SchemaShape, now: SchemaShape, tables: boolean): Rename[] {
  const out: Rename[] = []
  for (const [table, then] of Object.entries(base.tables)) {
    const name = now.tables[table] === undefined && tables ? alikeIn(now.tables, base.tables, table) : table
    const live = now.tables[name ?? table]
    if (name === null || live === undefined) continue
    if (name !== table) out.push({ was: { table, column: null }, now: { table: name, column: null } })
    for (const column of Object.keys(then.columns).filter(c => live.columns[c] === undefined)) {
      const other = alikeIn(live.columns, then.columns, column)
      if (other !== null) out.push({ was: { table, column }, now: { table: name, column: other } })
    }
  }
  return out
}

/** The only name among those that were added. */
function alikeIn(now: Readonly<Record<string, unknown>>, base: Readonly<Record<string, unknown>>, name: string) {
  const same = Object.keys(now).filter(n => base[n] === undefined && n.toLowerCase() === name.toLowerCase())
  return same.length === 1 ? (same[0] ?? null) : null
}

function isSameShape(a: TableShape, b: TableShape): boolean {
  return sameJson([a.columns, a.key], [b.columns, b.key])
}

function tableCandidates(base: SchemaShape, now: SchemaShape, gone: string): Rename[] {
  const then = base.tables[gone]
  return Object.entries(now.tables)
    .filter(([name]) => base.tables[name] === undefined)
    .filter(([, shape]) => then !== undefined && isSameShape(then, shape))
    .map(([name]) => ({ was: { table: gone, column: null }, now: { table: name, column: null } }))
}

/** Takes for renames what is equal in every row and cannot be mixed up. Everything else stays a loss. */
export function settle(weighed: readonly Weighed[]): Renames {
  const equal = weighed.filter(w => w.untold === null && w.equal === w.rows && w.telling > 0)
  const placed = equal.filter(w => w.samePlace && !rivalsOf(w, equal).some(r => r.samePlace))
  const left = equal.filter(w => !placed.some(p => p === w || share(p, w)))
  const renames = [...placed, ...left.filter(w => rivalsOf(w, left).length === 0)]
  const free = weighed.filter(w => !renames.some(r => r === w || share(r, w)))
  return { renames, doubts: free.flatMap(w => doubtOf(w, rivalsOf(w, equal), equal.includes(w))) }
}

function doubtOf(weighed: Weighed, rivals: readonly Weighed[], equal: boolean): Doubt[] {
  const because = (why: Doubt['why']): Doubt[] => [{ ...weighed, why, rivals }]
  if (weighed.untold !== null) return because('untold')
  if (equal) return because('ambiguous')
  // What differs wherever there is a value is another thing, and no doubt.
  if (weighed.equal < weighed.rows) return weighed.telling > 0 ? because('differs') : []
  return because('nothing-to-compare')
}

function rivalsOf(one: Weighed, all: readonly Weighed[]): Weighed[] {
  return all.filter(other => other !== one && share(one, other))
}

function share(a: Rename, b: Rename): boolean {
  return sameJson(a.was, b.was) || sameJson(a.now, b.now)
}
