import { sameJson } from '../../core/json.ts'
import type { Dialect, Image, Reader } from '../engine.ts'
import type { Fingerprint } from '../fingerprint.ts'
import {
  columnsOfRenamed,
  type Doubt,
  NO_RENAMES,
  type Rename,
  type Renames,
  renameCandidates,
  settle,
  type Weighed,
} from '../renames.ts'
import type { ColumnShape, SchemaShape, TableShape } from '../schema.ts'
import { type Touched, writtenIn } from '../touched.ts'
import { plain } from '../touched-targets.ts'
import { byContent, joined, type Match, matchOf, type Pair } from './compare.ts'
import { readLive } from './level.ts'
import { type Sides, withSides } from './sides.ts'
import type { Site } from './site.ts'

/** What is known of the data as it was. */
export interface Then {
  readonly schema: SchemaShape
  /** For where there is no copy to ask. */
  readonly data: Fingerprint
}

type Evidence = Pick<Weighed, 'rows' | 'equal' | 'telling' | 'untold'>

/** `constant`: all rows had one value, as a column has that was just added with a default: any other such column is equal. */
type Found = Evidence & { readonly constant?: boolean }

const NOTHING: Evidence = { rows: 0, equal: 0, telling: 0, untold: null }

/** Pairs of names that could stand for one thing, by their shape alone. */
export function candidates({ engine }: Site, base: SchemaShape, live: SchemaShape): Rename[] {
  return renameCandidates(base, live, alikeFor(engine.dialect))
}

export function alikeFor(dialect: Dialect): (a: ColumnShape, b: ColumnShape) => boolean {
  return (a, b) => dialect.alike?.(a, b) ?? a.type === b.type
}

/** The part of a fingerprint that renames are looked for in. */
export function dataFor(pairs: readonly Rename[], data: Fingerprint): Fingerprint {
  const names = new Set(pairs.map(pair => pair.was.table))
  return { method: data.method, tables: Object.fromEntries(Object.entries(data.tables).filter(([t]) => names.has(t))) }
}

/** Finds out what was renamed since. `image`: the data as it was, whole; null: only its fingerprint is known. */
export function findRenames(site: Site, then: Then & { image: Image | null }, signal: AbortSignal): Promise<Renames> {
  return withSides(site.engine, then.image, signal, async sides => {
    const { schema } = await readLive(site, sides.now)
    return renamesOver(site, sides, then, schema, signal)
  })
}

/**
 * What another database or the migrations' own statements know, and what these may have written (null: nobody can tell).
 * `maybe`: tables that a person may say to be the same, of which the columns are looked at too.
 */
export interface Told {
  readonly renames: readonly Rename[]
  readonly touched: Touched | null
  readonly maybe?: readonly Rename[]
}

/** First what the database knows, or was `told` by another that does, then what the rows say of the rest. */
export async function renamesOver(
  site: Site,
  sides: Sides,
  then: Then,
  live: SchemaShape,
  signal: AbortSignal,
  told: Told = { renames: [], touched: null },
): Promise<Renames> {
  const own = await sides.now.renames(then.schema, then.data, live)
  const others = told.renames.filter(pair => !own.some(k => sameJson(k.was, pair.was)))
  const anew: Doubt[] = []
  for (const pair of others) {
    const evidence = await writtenAnew(site, sides, then, live, pair, told.touched)
    if (evidence !== null) anew.push({ ...pair, ...evidence, samePlace: true, why: 'rewritten', rivals: [] })
  }
  const borne = others.filter(pair => !anew.some(d => sameJson(d.was, pair.was)))
  const known = meant([...borne, ...own], live)
  const elsewhere = columnsOfRenamed(
    [...known, ...(told.maybe ?? [])],
    then.schema,
    live,
    alikeFor(site.engine.dialect),
  )
  const all = [...candidates(site, then.schema, live), ...elsewhere]
  if (known.length + all.length === 0) return { ...NO_RENAMES, doubts: anew }
  const said = [...known, ...anew]
  const open = all.filter(pair => !said.some(k => sameJson(k.was, pair.was) || sameJson(k.now, pair.now)))
  const order = sides.base === null ? null : await readLive(site, sides.base)
  const weighed: Weighed[] = []
  for (const pair of open) {
    signal.throwIfAborted()
    const there = then.schema.tables[pair.was.table]
    const here = live.tables[pair.now.table]
    if (there === undefined || here === undefined) continue
    const samePlace = order !== null && pair.now.column !== null && standsWhereItStood(order.schema, live, pair)
    const { constant = false, ...found } = await weigh(site, sides, then, pair, { there, here })
    weighed.push({ ...pair, ...found, telling: constant && !samePlace ? 0 : found.telling, samePlace })
  }
  const { renames, doubts } = settle(weighed)
  return { renames: [...known.map(certain), ...renames], doubts: [...anew, ...doubts] }
}

/**
 * A column that is the same one by its number, and that the migration wrote anew, holds something else by now (cents, where
 * there were euros): what users write into it since has no place under the old name. Users who edit it meanwhile change rows
 * of it, a migration that gives it another meaning changes most. null: it holds what it held.
 */
async function writtenAnew(
  { engine }: Site,
  sides: Sides,
  then: Then,
  live: SchemaShape,
  pair: Rename,
  touched: Touched | null,
): Promise<Evidence | null> {
  const [there, here] = [then.schema.tables[pair.was.table], live.tables[pair.now.table]]
  const [was, now] = [pair.was.column, pair.now.column]
  if (there === undefined || here === undefined || was === null || now === null || there.key.includes(was)) return null
  const wrote = touched === null ? null : writtenIn([pair.was.table, pair.now.table], touched)
  if (wrote !== null && ![was, now].some(name => wrote.includes(plain(name)))) return null
  const tables: Pair = {
    now: { table: pair.now.table, shape: here },
    base: { table: pair.was.table, shape: there },
    columns: [{ now, base: was, inOldType: true }],
  }
  const match = matchOf(engine.dialect, tables)
  if (match !== null) {
    const { joined: rows, equal, telling } = await joined(engine.dialect, sides, tables, match)
    return rows - equal > telling ? { rows, equal, telling, untold: null } : null
  }
  const rows = then.data.tables[pair.was.table]?.rows ?? 0
  const { deleted } = await byContent(engine.dialect, sides, tables)
  const equal = Math.max(0, rows - deleted)
  return deleted > equal ? { rows, equal, telling: equal, untold: null } : null
}

/** Without tables that were put aside for a new one under their old name: that one is what users went on with. */
function meant(known: readonly Rename[], live: SchemaShape): Rename[] {
  const aside = known.filter(
    ({ was, now }) =>
      now.table !== was.table && live.tables[was.table] !== undefined && !known.some(k => k.now.table === was.table),
  )
  return known.filter(k => !aside.some(a => a.was.table === k.was.table))
}

function certain({ was, now }: Rename): Weighed {
  return { was, now, ...NOTHING, samePlace: true, known: true }
}

interface Shapes {
  readonly there: TableShape
  readonly here: TableShape
}

function weigh(site: Site, sides: Sides, then: Then, pair: Rename, shapes: Shapes): Promise<Found> {
  return sides.base === null ? byDigest(site, sides.now, then.data, pair, shapes) : byRow(site, sides, pair, shapes)
}

/** Every row that is in the copy and here: is under the new name what was under the old one? */
async function byRow({ engine }: Site, sides: Sides, pair: Rename, { there, here }: Shapes): Promise<Found> {
  const { column } = pair.now
  const columns =
    column === null ? valuesOf(here).map(c => ({ now: c, base: c })) : [{ now: column, base: pair.was.column ?? '' }]
  const tables: Pair = {
    now: { table: pair.now.table, shape: here },
    base: { table: pair.was.table, shape: there },
    columns,
  }
  const match = matchOf(engine.dialect, tables)
  if (match === null || comparesItself(match, here, column)) {
    return { ...NOTHING, untold: 'the rows of then and now cannot be told apart' }
  }
  const found = await joined(engine.dialect, sides, tables, match)
  const constant =
    pair.was.column !== null && sides.base !== null && (await isConstant(engine.dialect, sides.base, pair.was))
  return { rows: found.joined, equal: found.equal, telling: found.telling, untold: null, constant }
}

async function isConstant(
  dialect: Site['engine']['dialect'],
  base: Reader,
  { table, column }: Rename['was'],
): Promise<boolean> {
  const name = dialect.quote(column ?? '')
  const values = `SELECT DISTINCT ${name} AS v FROM ${dialect.table(table)} WHERE ${name} IS NOT NULL LIMIT 2`
  return (await base.query(values)).length < 2
}

/** The column that is the row's number would be compared with itself. */
function comparesItself(match: Match, shape: TableShape, column: string | null): boolean {
  if (!('number' in match) || column === null) return false
  return shape.key.join('\0') === column && shape.columns[column]?.type === 'INTEGER'
}

/** No copy to ask: the first rows of now, as many as there were then, must have the digests of then. */
async function byDigest(
  { engine }: Site,
  db: Reader,
  data: Fingerprint,
  pair: Rename,
  { there, here }: Shapes,
): Promise<Found> {
  const known = data.tables[pair.was.table]
  const gone = { ...NOTHING, untold: "the release's backup cannot be read, and rows came between or went since" }
  const number = (name: string, shape: TableShape) => engine.dialect.rowNumber?.(name, shape) ?? null
  if (known === undefined) return gone
  if ((number(pair.was.table, there) === null) !== (number(pair.now.table, here) === null)) return gone
  const key = there.key.filter(k => k !== pair.was.column)
  if (key.some(k => here.columns[k] === undefined)) return gone
  const { column } = pair.now
  const columns = column === null ? Object.keys(known.columns) : [...key, column]
  const table = pair.now.table
  const part = { tables: [table], columns: { [table]: columns }, rows: known.rows }
  const found = await db.fingerprint(
    { tables: { [table]: here }, views: {}, triggers: {}, others: {} },
    part,
    data.method,
  )
  const first = found.tables[table]
  if (first === undefined || found.method !== data.method || first.rows !== known.rows) return gone
  if (key.some(k => first.columns[k] !== known.columns[k])) return gone
  const equal = columns.every(c => first.columns[c] === known.columns[c === column ? (pair.was.column ?? c) : c])
  const told = equal ? await countTelling(engine.dialect, db, pair, here, known.rows) : { telling: 0, constant: false }
  return { rows: known.rows, equal: equal ? known.rows : 0, untold: null, ...told }
}

async function countTelling(
  dialect: Site['engine']['dialect'],
  db: Reader,
  pair: Rename,
  shape: TableShape,
  rows: number,
): Promise<{ telling: number; constant: boolean }> {
  const values = pair.now.column === null ? '1' : dialect.quote(pair.now.column)
  const number = dialect.rowNumber?.(pair.now.table, shape) ?? null
  const order = number === null ? shape.key.map(k => dialect.quote(k)) : [number]
  const by = order.length === 0 ? '' : `ORDER BY ${order.join(', ')}`
  const first = `SELECT ${values} AS v FROM ${dialect.table(pair.now.table)} ${by} LIMIT ${rows}`
  const [row] = await db.query(`SELECT count(v) AS n, count(DISTINCT v) AS values_there FROM (${first}) AS oldest`)
  const constant = pair.now.column !== null && Number(row?.['values_there']) < 2
  return { telling: Number(row?.['n'] ?? 0), constant }
}

/** A column that was added stands at the end; one that was renamed has what followed it still behind it. */
function standsWhereItStood(base: SchemaShape, live: SchemaShape, { was, now }: Rename): boolean {
  const [then, here] = [columnsOf(base, was.table), columnsOf(live, now.table)]
  const at = then.indexOf(was.column ?? '')
  return at === here.indexOf(now.column ?? '') && then.some((name, i) => i > at && here[i] === name)
}

/** In the order of the table: as a reader gives them. */
function columnsOf(schema: SchemaShape, table: string): string[] {
  return Object.keys(schema.tables[table]?.columns ?? {})
}

function valuesOf(shape: TableShape): string[] {
  return Object.keys(shape.columns).filter(c => shape.columns[c]?.generated === false)
}
