import { writtenIn } from '../touched.ts'
import { plain } from '../touched-targets.ts'
import { type Cell, cellsOf, isTelling, unlikeBase } from './cells.ts'
import { markWhere } from './checks.ts'
import { countedRows } from './counted.ts'
import type { MappedColumn, MappedTable } from './mapping.ts'
import type { Anew, Ground, Piece } from './piece.ts'
import { saysWhenChanged } from './quarantine.ts'
import type { Since } from './since.ts'
import type { CarrySource } from './source.ts'
import { sumsOf } from './sums.ts'
import { codeOf, INSERT } from './words.ts'

/**
 * What rows that were there tell of what new ones hold. Where it is known that the migration wrote a column, one value that is
 * another says that it may mean something else; where nobody can tell who did, users edit some, and a migration most. Where
 * nobody told when it had ended, users had all the time since the release, and only nearly all values keep new rows back.
 */
export async function anewIn(
  ground: Ground,
  source: CarrySource,
  piece: Piece,
  since: Since,
  signal: AbortSignal,
): Promise<Anew> {
  const cells = cellsOf(ground, piece).filter(c => after(c) !== null && !piece.key.includes(c.column.ours))
  if (!piece.keyed || cells.length === 0) return { columns: [], notes: [], guessed: [] }
  const [known, named] = [wroteKnown(source, piece.table), wroteNamed(source, piece.table)]
  const changed = await othersThen(ground, source, piece, { cells, named, since, signal })
  const columns: string[] = []
  const notes: string[] = []
  const guessed: string[] = []
  const { ours: table } = piece.table
  for (const { column } of cells) {
    const { others, same, filled, nearly } = changed.get(column) ?? NONE
    if (others === 0 && (same > 0 || !named(column))) continue
    if (others === 0) {
      // Nothing was there that could have become another value: what came where there was none is no other unit.
      if (filled > 0) notes.push(filledOf(table, column.ours))
      else columns.push(column.ours)
      continue
    }
    const all = known(column) ? 0 : await valuesOf(source, table, column.base, signal)
    const most = others * 2 >= all
    const untold = source.untold !== null && !known(column)
    // Whoever changes a row writes when: that it did so in all of them says nothing of the unit.
    const waits = untold ? nearly && !saysWhenChanged(column.theirs) : most
    if (waits) columns.push(column.ours)
    if (waits && untold) guessed.push(heldOf(table, column.ours, others, all))
    else if (!waits && most) guessed.push(mostOf(table, column.ours, others, all))
    else if (!waits && source.untold === null) notes.push(noteOf(table, column.ours, others, all))
  }
  return { columns, notes, guessed }
}

/** By a person's word, or by the migration's own statements. */
function wroteKnown(source: CarrySource, table: MappedTable): (column: MappedColumn) => boolean {
  return source.ownWork ? () => true : wroteNamed(source, table)
}

/** Where the very column is named. */
function wroteNamed({ untold, ...told }: CarrySource, table: MappedTable): (column: MappedColumn) => boolean {
  const touched = untold === null ? told.touched : untold.touched
  const wrote = touched === null ? null : writtenIn([table.theirs, table.ours], touched)
  return ({ ours, theirs }) => [ours, theirs].some(name => wrote?.includes(plain(name)) === true)
}

/** The cell as the migrations left it, as far as that is known; null: they did not write it. */
function after({ migrated, theirs, column }: Cell): string | null {
  return migrated ?? (column.unsure === true ? theirs : null)
}

/** Values of the release right after migrating: others, the same ones, and those that came where there was none. */
interface Then {
  readonly others: number
  /** Those that could tell and are others. */
  readonly telling: number
  readonly same: number
  readonly filled: number
  /** Of three or more that could tell, nine in ten are others. */
  readonly nearly: boolean
}

const NONE: Then = { others: 0, telling: 0, same: 0, filled: 0, nearly: false }

interface Asked {
  readonly cells: readonly Cell[]
  readonly named: (column: MappedColumn) => boolean
  readonly since: Since
  readonly signal: AbortSignal
}

/**
 * Of the columns that are named, or of which any value is another. A value that came where there was none tells nothing of what
 * others became, and a zero stays one in any unit.
 */
async function othersThen(
  ground: Ground,
  source: CarrySource,
  piece: Piece,
  { cells, named, since, signal }: Asked,
): Promise<ReadonlyMap<MappedColumn, Then>> {
  const told = ground.migrated && piece.table.migrated !== null
  const [alias, image] = told ? (['m', 'migrated'] as const) : (['t', 'theirs'] as const)
  const on = piece.same(piece.keyOf(alias, image), piece.keyOf('b', 'base'))
  const table = `${piece.image('base')} AS b`
  const over = { table, key: piece.keyOf('b', 'base')[0] ?? '', where: '1 = 1' }
  const look = (sums: readonly string[]) =>
    sumsOf(
      ground,
      piece,
      over,
      among => `SELECT ${sums.join(', ')} FROM ${table} JOIN ${piece.image(image)} AS ${alias} ON ${on} WHERE ${among}`,
    )
  // Where all old rows are in theirs as they were, none of them tells of another meaning, whatever was there in between.
  const alike = !since.changed && !since.gone
  // What tells takes ten times as long to see as that nothing is another, which most columns are spared by.
  const differs = cells.map((cell, i) => `count(CASE WHEN ${unlikeThen(ground, piece, cell)} THEN 1 END) AS d${i}`)
  const unlike = alike ? {} : await look(differs)
  const asked = cells.filter(({ column }, i) => (unlike[`d${i}`] ?? 0) !== 0 || named(column))
  if (asked.length === 0) return new Map()
  const found = await look(asked.flatMap((cell, i) => tellingSums(ground, piece, cell, i)))
  const seen = asked.map((cell, i) => ({ cell, then: thenOf(name => found[`${name}${i}`] ?? 0) }))
  // It takes a look at all of base, and most columns are clear without.
  const unclear = seen.filter(({ then }) => then.nearly || (then.others === 0 && then.same === 0))
  const unmoved = await tellingAlike(ground, source, piece, { cells: unclear.map(u => u.cell), signal })
  return new Map(seen.map(({ cell, then }) => [cell.column, withAlike(then, unmoved.get(cell) ?? 0)]))
}

/** Values that could tell, in rows that theirs has as base has them: those need not have been staged. */
async function tellingAlike(
  ground: Ground,
  { images, dialect }: CarrySource,
  piece: Piece,
  { cells, signal }: { cells: readonly Cell[]; signal: AbortSignal },
): Promise<ReadonlyMap<Cell, number>> {
  if (cells.length === 0) return new Map()
  const sums = (base: (cell: Cell) => string) =>
    cells
      .map(cell => `count(CASE WHEN ${isTelling(dialect, base(cell), cell.column.type)} THEN 1 END)`)
      .map((sum, i) => `${sum} AS v${i}`)
      .join(', ')
  const [staged] = await ground.merger.query(`SELECT ${sums(c => c.base)} FROM ${piece.image('base')} AS b`)
  const own = (cell: Cell) => `b.${dialect.quote(cell.column.base)}`
  const [whole] = await images.base.reading(signal, db =>
    db.query(`SELECT ${sums(own)} FROM ${dialect.table(piece.table.ours)} AS b`),
  )
  return new Map(cells.map((cell, i) => [cell, Number(whole?.[`v${i}`]) - Number(staged?.[`v${i}`])]))
}

function unlikeThen(ground: Ground, piece: Piece, cell: Cell): string {
  return unlikeBase(ground, piece, cell, after(cell) ?? '', typeThen(cell))
}

function typeThen({ migrated, column }: Cell): string {
  return migrated === null ? column.theirType : (column.migratedType ?? column.theirType)
}

function tellingSums(ground: Ground, piece: Piece, cell: Cell, i: number): string[] {
  const { dialect } = ground
  const { column, base } = cell
  const then = after(cell) ?? ''
  const other = unlikeThen(ground, piece, cell)
  const told = isTelling(dialect, base, column.type)
  const both = `${base} IS NOT NULL AND ${then} IS NOT NULL`
  const came = `${base} IS NULL AND ${then} IS NOT NULL AND ${isTelling(dialect, then, typeThen(cell))}`
  const conditions = {
    n: `${both} AND ${other}`,
    v: `${both} AND ${told}`,
    o: `${both} AND ${told} AND ${other}`,
    f: came,
  }
  return Object.entries(conditions).map(([name, is]) => `count(CASE WHEN ${is} THEN 1 END) AS ${name}${i}`)
}

function thenOf(of: (name: string) => number): Then {
  return { others: of('n'), filled: of('f'), ...amongTelling(of('o'), of('v') - of('o')) }
}

function withAlike(then: Then, alike: number): Then {
  return { ...then, ...amongTelling(then.telling, then.same + alike) }
}

function amongTelling(telling: number, same: number): Pick<Then, 'telling' | 'same' | 'nearly'> {
  const all = telling + same
  return { telling, same, nearly: all >= 3 && telling * 10 >= all * 9 }
}

/** Rows of base with a value in the column; null: all. */
function valuesOf({ images, dialect }: CarrySource, table: string, column: string | null, signal: AbortSignal) {
  const what = column === null ? '*' : dialect.quote(column)
  return images.base.reading(signal, async db => {
    const [row] = await db.query(`SELECT count(${what}) AS n FROM ${dialect.table(table)}`)
    return Number(row?.['n'])
  })
}

function filledOf(table: string, column: string): string {
  return `the migration wrote ${table}.${column}, where there was no value at the release: nothing tells whether rows that came since hold there what the schema of the release means`
}

function noteOf(table: string, column: string, others: number, all: number): string {
  return `${others} of ${all} values of ${table}.${column} changed between the backup and the end of migrating: if it was the migration, rows that came since may hold something else there than the schema of the release means`
}

function mostOf(table: string, column: string, others: number, all: number): string {
  return `${others} of ${all} values of ${table}.${column} are others than at the release: if the migration gave them another meaning (cents, where there were euros), rows that came since are carried with that meaning`
}

function heldOf(table: string, column: string, others: number, all: number): string {
  return `${others} of ${all} values of ${table}.${column} are others than at the release, by the migration or by users: rows that came since wait, for what they have there may mean something else in the schema of the release (cents, where there were euros); if it does not: --settle ${table}:rewritten=theirs`
}

/** The same in a table without a key, once its rows are compared: new ones wait where old ones became others. */
export async function holdCounted(
  ground: Ground,
  source: CarrySource,
  piece: Piece,
  signal: AbortSignal,
): Promise<void> {
  if (piece.keyed || !ground.migrated || piece.table.migrated === null) return
  const fresh = `w.act = ${INSERT} AND w.kind = 0 AND w.done = 0`
  const [waiting] = await ground.merger.query(`SELECT count(*) AS n FROM ${piece.work} AS w WHERE ${fresh}`)
  if (Number(waiting?.['n']) === 0) return
  const [row] = await ground.merger.query(
    `SELECT sum(CASE WHEN base > migrated THEN base - migrated ELSE 0 END) AS n FROM (${countedRows(ground, piece)}) AS d`,
  )
  const gone = Number(row?.['n'] ?? 0)
  if (gone === 0) return
  const known = piece.table.columns.some(wroteKnown(source, piece.table))
  const all = known ? 0 : await valuesOf(source, piece.table.ours, null, signal)
  if (gone * 2 >= all) await markWhere(ground, piece, { kind: codeOf('rewritten') }, fresh)
}
