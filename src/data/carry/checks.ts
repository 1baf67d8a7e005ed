import type { Bonds, Reference, Unique } from '../engine.ts'
import { type Aliases, type Ground, type Piece, pending } from './piece.ts'
import { codeOf, DELETE, INSERT, type Kind, TAKE, UPDATE } from './words.ts'

/** Everything that is merged, parents first. */
export interface Whole {
  readonly ground: Ground
  readonly pieces: readonly Piece[]
  readonly bonds: Readonly<Record<string, Bonds>>
}

/**
 * Finds the rows that a unique or a foreign key of ours would refuse, or whose deletion would take others with it, until
 * nothing new is found: a row that stays behind may keep others behind.
 */
export async function foresee(whole: Whole): Promise<void> {
  const pieces = whole.pieces.filter(piece => !piece.empty)
  for (;;) {
    let found = 0
    for (const piece of pieces) {
      found += await markReferences(whole, piece)
      found += await markUniques(whole, piece)
    }
    for (const piece of pieces.toReversed()) found += await markDeletes(whole, piece)
    if (found === 0) return
  }
}

/** Sets columns of the rows of a work table that a query names by `n`. */
export function mark(
  ground: Ground,
  piece: Piece,
  sets: Readonly<Record<string, number>>,
  select: string,
): Promise<number> {
  const list = Object.entries(sets).map(([name, value]) => [name, String(value)] as const)
  return ground.merger.run(ground.dialect.update(piece.work, list, `(${select}) AS x`, 'o.n = x.n'))
}

/** Sets columns of the rows `w` of a work table for which a condition on nothing else is true. */
export function markWhere(
  { merger }: Ground,
  piece: Piece,
  sets: Readonly<Record<string, number>>,
  where: string,
): Promise<number> {
  const list = Object.entries(sets).map(([name, value]) => `${name} = ${value}`)
  return merger.run(`UPDATE ${piece.work} AS w SET ${list.join(', ')} WHERE ${where}`)
}

export function conflict(kind: Kind): { kind: number } {
  return { kind: codeOf(kind) }
}

/** Rows without a parent: neither in ours nor to come. */
async function markReferences(whole: Whole, piece: Piece): Promise<number> {
  let found = 0
  for (const reference of whole.bonds[piece.table.ours]?.references ?? []) {
    const select = orphans(whole, piece, reference)
    if (select !== null) found += await mark(whole.ground, piece, conflict('foreign-key'), select)
  }
  return found
}

function orphans(whole: Whole, piece: Piece, reference: Reference): string | null {
  const values = reference.columns.map(name => piece.final(name))
  const indexes = reference.columns.map(name => piece.indexOf(name)).filter(i => i >= 0)
  if (values.some(v => v === null) || indexes.length === 0) return null
  const touched = piece.keyed ? indexes.map(i => piece.written(i)).join(' OR ') : '1 = 0'
  const there = noParent(whole, reference, values as string[])
  const filled = values.map(v => `${v} IS NOT NULL`).join(' AND ')
  return `SELECT DISTINCT w.n AS n FROM ${piece.from()}${piece.withOurs()} WHERE ${pending()} AND w.act <> ${DELETE}
    AND (w.act = ${INSERT} OR ${touched}) AND ${filled} AND ${there}`
}

/** Ours has no row that is referred to, and none is to come. */
function noParent(whole: Whole, reference: Reference, values: readonly string[]): string {
  const { ground, pieces } = whole
  const fits = reference.to.map((name, j) => `${column(ground, 'p', name)} = ${values[j]}`).join(' AND ')
  const parent = pieces.find(p => p.table.ours === reference.table)
  const own = parent === undefined ? '' : noStranger(parent, reference)
  const there = `SELECT 1 FROM ${ground.merger.table('ours', reference.table)} AS p WHERE ${fits}${own}`
  return `NOT EXISTS (${there})${toCome(whole, reference, values)}`
}

/** The row `p` of ours is not another one, under the key of a row that came in theirs. */
function noStranger(parent: Piece, { to }: Reference): string {
  if (!parent.keyed || to.join('\0') !== parent.key.join('\0')) return ''
  const same = parent.same(parent.keyOf('sw', 'work'), parent.keyOf('p', 'ours'))
  return ` AND NOT EXISTS (SELECT 1 FROM ${parent.work} AS sw WHERE ${same} AND sw.act = ${INSERT} AND sw.op = 1
    AND sw.done = 0 AND sw.take NOT IN (${TAKE.theirs}, ${TAKE.set}))`
}

/** No row that is to come has the key that is referred to. */
function toCome({ ground, pieces }: Whole, reference: Reference, values: readonly string[]): string {
  const parent = pieces.find(p => p.table.ours === reference.table)
  if (parent === undefined || !parent.keyed) return ''
  return inTail(ground, parent, reference, values) + inWork(parent, reference, values)
}

function inTail(ground: Ground, parent: Piece, { to }: Reference, values: readonly string[]): string {
  if (parent.tail === null || to.some(name => parent.indexOf(name) < 0)) return ''
  const fits = to.map((name, j) => `${column(ground, 'pt', parent.columnOf(name).theirs)} = ${values[j]}`).join(' AND ')
  return ` AND NOT EXISTS (SELECT 1 FROM ${parent.image('theirs')} AS pt WHERE ${parent.behind('pt', 'theirs')} AND ${fits})`
}

function inWork(parent: Piece, reference: Reference, values: readonly string[]): string {
  const a: Aliases = { w: 'pw', t: 'pt', o: 'po' }
  if (reference.to.join('\0') === parent.key.join('\0')) {
    return ` AND NOT EXISTS (SELECT 1 FROM ${parent.work} AS pw WHERE ${pending('pw')} AND pw.act = ${INSERT}
      AND ${parent.same(parent.keyOf('pw', 'work'), values)})`
  }
  const finals = reference.to.map(name => parent.final(name, a))
  if (finals.some(f => f === null)) return ''
  const fits = finals.map((f, j) => `${f} = ${values[j]}`).join(' AND ')
  return ` AND NOT EXISTS (SELECT 1 FROM ${parent.from(a)}${parent.withOurs(a)} WHERE ${pending('pw')} AND pw.act <> ${DELETE} AND ${fits})`
}

/** Rows whose unique value another row has: in ours, or of those that come with them. */
async function markUniques(whole: Whole, piece: Piece): Promise<number> {
  if (!piece.keyed) return 0
  let found = 0
  for (const unique of whole.bonds[piece.table.ours]?.uniques ?? []) {
    const parts = uniqueParts(piece, unique)
    if (parts === null) continue
    const blocked = `SELECT DISTINCT w.n AS n ${parts.blocked} AND NOT ${parts.released}`
    found += await mark(whole.ground, piece, conflict('unique'), blocked)
    found += await mark(whole.ground, piece, conflict('unique'), parts.twice)
    await mark(whole.ground, piece, { wait: 1 }, `SELECT DISTINCT w.n AS n ${parts.blocked} AND w.wait = 0`)
  }
  return found
}

/** Rows of the tail that a unique or a foreign key of ours would refuse, as far as it can be told ahead. */
export async function tailClashes(whole: Whole, piece: Piece): Promise<boolean> {
  if (piece.tail === null) return false
  const { uniques = [], references = [] } = whole.bonds[piece.table.ours] ?? {}
  const clashes = [
    ...uniques.flatMap(unique => tailTwice(piece, unique)),
    ...references.flatMap(reference => tailAlone(whole, piece, reference)),
  ]
  for (const sql of clashes) if ((await whole.ground.merger.query(`${sql} LIMIT 1`)).length > 0) return true
  return false
}

/** Cells of a row of theirs, by the names of ours; null: one of them has no place there. */
function cellsOfTail(piece: Piece, names: readonly string[]): string[] | null {
  if (names.some(name => piece.indexOf(name) < 0)) return null
  return names.map(name => piece.column('t', piece.columnOf(name).theirs))
}

/** Queries of values that another row of ours has, or of those that come. */
function tailTwice(piece: Piece, unique: Unique): string[] {
  const parts = uniqueParts(piece, unique)
  const values = cellsOfTail(piece, unique.columns ?? [])
  if (parts === null || values === null) return []
  const filled = values.map(v => `${v} IS NOT NULL`).join(' AND ')
  const tail = `FROM ${piece.image('theirs')} AS t`
  const where = `WHERE ${piece.behind('t', 'theirs')} AND ${filled}`
  const same = unique.columns?.map((name, j) => `${piece.column('q', name)} = ${values[j]}`).join(' AND ')
  const us = values.map((_, j) => `u${j}`)
  const coming = `SELECT ${values.map((v, j) => `${v} AS u${j}`).join(', ')} ${tail} ${where}
    UNION ALL SELECT ${us.map(u => `c.${u}`).join(', ')} FROM (${parts.coming}) AS c`
  return [
    `SELECT 1 AS x ${tail} JOIN ${piece.image('ours')} AS q ON ${same} ${where}`,
    `SELECT 1 AS x FROM (${coming}) AS d GROUP BY ${us.join(', ')} HAVING count(*) > 1`,
  ]
}

/** A query of rows whose parent is neither in ours nor to come. */
function tailAlone(whole: Whole, piece: Piece, reference: Reference): string[] {
  const values = cellsOfTail(piece, reference.columns)
  if (values === null) return []
  const filled = values.map(v => `${v} IS NOT NULL`).join(' AND ')
  const rows = `${piece.image('theirs')} AS t WHERE ${piece.behind('t', 'theirs')}`
  return [`SELECT 1 AS x FROM ${rows} AND ${filled} AND ${noParent(whole, reference, values)}`]
}

interface UniqueParts {
  /** A query of the values of rows that come, as `u0`… */
  readonly coming: string
  /** FROM and WHERE of rows whose value a row of ours (`q`) with another key has. */
  readonly blocked: string
  /** That row of ours will be gone or have another value. */
  readonly released: string
  /** Rows that come with the same value as another that comes. */
  readonly twice: string
}

export function uniqueParts(piece: Piece, { columns }: Unique): UniqueParts | null {
  if (columns === null || columns.join('\0') === piece.key.join('\0')) return null
  const values = columns.map(name => piece.final(name))
  const indexes = columns.map(name => piece.indexOf(name)).filter(i => i >= 0)
  if (values.some(v => v === null) || indexes.length === 0) return null
  const touched = (w: string) => indexes.map(i => piece.written(i, w)).join(' OR ')
  const comes = `${pending()} AND w.act <> ${DELETE} AND (w.act = ${INSERT} OR ${touched('w')})`
  const same = columns.map((name, j) => `${piece.column('q', name)} = ${values[j]}`).join(' AND ')
  const other = `NOT (${piece.same(piece.keyOf('q', 'ours'), piece.keyOf('w', 'work'))})`
  const rows = `FROM ${piece.from()}${piece.withOurs()}`
  const groups = values.map((v, j) => `${v} AS u${j}`).join(', ')
  const us = values.map((_, j) => `u${j}`)
  const filled = values.map(v => `${v} IS NOT NULL`).join(' AND ')
  const coming = `SELECT w.n AS n, ${groups} ${rows} WHERE ${comes} AND ${filled}`
  const more = `SELECT ${us.join(', ')} FROM (${coming}) AS c GROUP BY ${us.join(', ')} HAVING count(*) > 1`
  return {
    coming,
    blocked: `${rows} JOIN ${piece.image('ours')} AS q ON ${same} WHERE ${comes} AND ${other}`,
    released: `EXISTS (SELECT 1 FROM ${piece.work} AS bw WHERE ${piece.same(piece.keyOf('bw', 'work'), piece.keyOf('q', 'ours'))}
      AND ${pending('bw')} AND (bw.act = ${DELETE} OR (bw.act = ${UPDATE} AND (${touched('bw')}))))`,
    twice: `SELECT DISTINCT a.n AS n FROM (${coming}) AS a JOIN (${more}) AS b ON ${us.map(u => `a.${u} = b.${u}`).join(' AND ')}`,
  }
}

/** Rows that are to be deleted and that rows of ours refer to which stay. Returns how many were found. */
export async function markDeletes(whole: Whole, piece: Piece): Promise<number> {
  if (!piece.keyed) return 0
  let found = 0
  for (const [table, { references }] of Object.entries(whole.bonds)) {
    for (const reference of references.filter(r => r.table === piece.table.ours && r.within !== true)) {
      const kind = reference.onDelete === 'refuse' ? 'foreign-key' : 'cascade'
      found += await mark(whole.ground, piece, conflict(kind), referredTo(whole, piece, table, reference))
    }
  }
  return found
}

export function referredTo(whole: Whole, piece: Piece, table: string, reference: Reference): string {
  const { ground, pieces } = whole
  const fits = reference.columns.map(
    (name, j) => `${column(ground, 'c', name)} = ${piece.column('o', reference.to[j] ?? '')}`,
  )
  const child = pieces.find(p => p.table.ours === table)
  const goesAlong = reference.onDelete === 'cascade' && child?.keyed === true
  const allowed = goesAlong ? ` AND w.take <> ${TAKE.cascade}` : ''
  return `SELECT DISTINCT w.n AS n FROM ${piece.work} AS w JOIN ${piece.image('ours')} AS o
    ON ${piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work'))}
    JOIN ${ground.merger.table('ours', table)} AS c ON ${fits.join(' AND ')}
    WHERE ${pending()} AND w.act = ${DELETE}${child === undefined ? '' : ` AND NOT ${leaves(child, reference, wholeRow(ground, child, 'c'))}`}${allowed}`
}

/** The row `c` of ours will be gone, or refer to another row. */
function leaves(child: Piece, reference: Reference, whole: string): string {
  const indexes = reference.columns.map(name => child.indexOf(name)).filter(i => i >= 0)
  const moves = child.keyed && indexes.length > 0 ? ` OR ${indexes.map(i => child.written(i, 'cw')).join(' OR ')}` : ''
  const all = `cw.id = ${whole} AND cw.target = 0`
  const same = child.keyed ? child.same(child.keyOf('cw', 'work'), child.keyOf('c', 'ours')) : all
  return `EXISTS (SELECT 1 FROM ${child.work} AS cw WHERE ${same} AND ${pending('cw')} AND (cw.act = ${DELETE}${moves}))`
}

/** The text by which a row of a table without a key is known. */
export function wholeRow({ dialect }: Ground, piece: Piece, alias: string): string {
  return dialect.key(piece.table.columns.map(c => dialect.text(piece.column(alias, c.ours), c.type)))
}

function column(ground: Ground, alias: string, name: string): string {
  return `${alias}.${ground.dialect.quote(name)}`
}
