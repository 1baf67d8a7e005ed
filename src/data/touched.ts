import type { DatabaseKind } from './engine.ts'
import type { SchemaShape } from './schema.ts'
import { statementsOf } from './sql-words.ts'
import { ALL, type Altered, type Read, readStatement, type Wrote } from './touched-statement.ts'
import { type Moved, movedBy } from './touched-renames.ts'
import { isKnown, partsOf, plain, writesElsewhere } from './touched-targets.ts'

/** What migrations may have written: names in lower case, as their statements have them. Says too much rather than too little. */
export interface Touched {
  /** What tables may be called. */
  readonly tables: readonly string[]
  /** Of those of which no row came or went: the only columns in which cells were written. */
  readonly columns: Readonly<Record<string, readonly string[]>>
  /** Those that were there before and that rows were put into. Left out: none. */
  readonly came?: readonly string[] | undefined
  /** Tables that the statements of one upgrade give another name. Left out: none, or nobody can tell. */
  readonly moved?: Moved | undefined
}

/**
 * By what the statements of migrations name. null: nobody can tell, for something else than plain statements takes part.
 * `schemas`: before and after them.
 */
export function touchedBy(
  scripts: readonly string[],
  kind: DatabaseKind,
  schemas: readonly SchemaShape[],
): Touched | null {
  const text = scripts.join(';\n')
  // Bodies of functions, and strings in which a quote may not end them.
  if (text.includes('$') || text.includes('\\')) return null
  const read = statementsOf(text, kind).map(tokens => readStatement(tokens, kind))
  const all = read.filter(r => r !== null)
  if (all.length < read.length || (all.some(r => r.fires || r.wrote !== null) && schemas.some(actsByItself)))
    return null
  if (writesElsewhere(all, schemas)) return null
  const touched = new Map<string, Wrote>()
  const add = (names: readonly string[], wrote: Wrote) => {
    for (const name of names) touched.set(name, union(touched.get(name), wrote))
  }
  for (const one of all) {
    if (one.wrote !== null) add(one.names, withOwn(one, schemas))
    const anew = columnsAnew(one, schemas)
    if (anew.length > 0) add([lastOf(one.altered?.table ?? '')], new Set(anew))
  }
  for (const name of tablesAnew(all, schemas)) add([name], ALL)
  for (let before = ''; before !== sizeOf(touched); ) {
    before = sizeOf(touched)
    for (const { altered } of all) if (altered !== null) follow(touched, altered)
  }
  const came = broughtInto(all, schemas[0])
  const moved = movedBy(all, schemas[0])
  return {
    ...told(touched),
    ...(came.length === 0 ? {} : { came }),
    ...(moved.length === 0 ? {} : { moved }),
  }
}

/** Not what the migrations made or renamed: rows that came into those were somewhere before. */
function broughtInto(all: readonly Read[], base: SchemaShape | undefined): string[] {
  const anew = all.flatMap(({ made, altered }) => [
    made?.name ?? '',
    altered?.now ?? '',
    altered?.now == null ? '' : altered.table,
  ])
  const into = all.flatMap(({ brings, targets }) => (brings ? (targets ?? []) : [])).map(lastOf)
  const own = into.filter(name => base !== undefined && isKnown(base, name) && !anew.map(lastOf).includes(name))
  return [...new Set(own)].sort()
}

function lastOf(name: string): string {
  return name.split('.').at(-1) ?? name
}

/** What is dropped, added or named so, and there before and after: it is called the same and may be something else. */
function columnsAnew({ altered }: Read, schemas: readonly SchemaShape[]): string[] {
  if (altered === null) return []
  const { table, anew } = altered
  return anew.filter(column => schemas.every(schema => columnsOf(schema, table).includes(column)))
}

/** Columns of the table, or of all where there is none of that name: it may have had another one. */
function columnsOf({ tables }: SchemaShape, table: string): string[] {
  const own = Object.keys(tables).filter(name => partsOf(name).includes(lastOf(table)))
  return (own.length > 0 ? own : Object.keys(tables)).flatMap(name =>
    Object.keys(tables[name]?.columns ?? {}).map(plain),
  )
}

/** Tables that were made, or took another one's name: all that they hold came by the migrations. */
function tablesAnew(all: readonly Read[], [base, ...more]: readonly SchemaShape[]): string[] {
  const given = all.flatMap(({ altered }) => (altered?.now == null ? [] : [altered]))
  const moved = given.flatMap(({ table, now }) => [lastOf(table), lastOf(now ?? '')])
  const made = all.flatMap(({ made: one }) => {
    if (one === null) return []
    const name = lastOf(one.name)
    const there = base !== undefined && isKnown(base, name)
    return moved.includes(name) || (there && !one.kept) ? [name] : []
  })
  const taken = given.map(({ now }) => lastOf(now ?? ''))
  return [...made, ...taken.filter(name => [base, ...more].every(s => s !== undefined && isKnown(s, name)))]
}

/** With the columns that the database itself writes whenever a row is updated. */
function withOwn({ wrote, names, fires }: Read, schemas: readonly SchemaShape[]): Wrote {
  if (wrote === null || wrote === ALL || !fires) return wrote ?? new Set()
  const own = schemas.flatMap(({ tables }) =>
    Object.entries(tables)
      .filter(([table]) => partsOf(table).some(name => names.includes(name)))
      .flatMap(([, { columns }]) => Object.keys(columns).filter(c => / on update /i.test(columns[c]?.type ?? ''))),
  )
  return new Set([...wrote, ...own.map(plain)])
}

/** What has another name: whatever was written under one of the names may have been under the other. */
function follow(touched: Map<string, Wrote>, { table, now, columns }: Altered): void {
  const names = [table, ...(now === null ? [] : [now])].map(lastOf)
  const known = names.flatMap(name => touched.get(name) ?? [])
  if (known.length === 0) return
  const wrote = known.reduce((a, b) => union(a, b))
  const moved = wrote === ALL ? [] : columns.filter(pair => pair.some(name => wrote.has(name))).flat()
  for (const name of names) touched.set(name, union(wrote, new Set(moved)))
}

function union(a: Wrote | undefined, b: Wrote): Wrote {
  return a === ALL || b === ALL ? ALL : new Set([...(a ?? []), ...b])
}

function sizeOf(touched: ReadonlyMap<string, Wrote>): string {
  return [...touched].map(([name, wrote]) => `${name} ${wrote === ALL ? ALL : wrote.size}`).join('\n')
}

function told(touched: ReadonlyMap<string, Wrote>): Touched {
  const tables = [...touched.keys()].sort()
  const columns = tables.flatMap(name => {
    const wrote = touched.get(name)
    return wrote === undefined || wrote === ALL ? [] : [[name, [...wrote].sort()] as const]
  })
  return { tables, columns: Object.fromEntries(columns) }
}

/**
 * What the migrations of two upgrades, one after the other, may have written. `schemas`: before, between and after them. null:
 * something had a name between them that it has not before or after, so that nobody can tell what it is.
 */
export function touchedByBoth(
  a: Touched,
  b: Touched,
  [before, between, after]: readonly [SchemaShape, SchemaShape, SchemaShape],
): Touched | null {
  const all = new Map<string, Wrote>()
  for (const { tables, columns } of [a, b])
    for (const name of tables)
      all.set(name, union(all.get(name), columns[name] === undefined ? ALL : new Set(columns[name])))
  const columnsIn = (schema: SchemaShape) =>
    new Set(Object.values(schema.tables).flatMap(({ columns }) => Object.keys(columns).map(plain)))
  const [own, ends] = [columnsIn(between), [columnsIn(before), columnsIn(after)]]
  const passing = [...all].some(([name, wrote]) => {
    if (isKnown(between, name) && !isKnown(before, name) && !isKnown(after, name)) return true
    return wrote !== ALL && [...wrote].some(c => own.has(c) && !ends.some(columns => columns.has(c)))
  })
  const came = [...new Set([...(a.came ?? []), ...(b.came ?? [])])].sort()
  return passing ? null : { ...told(all), ...(came.length === 0 ? {} : { came }) }
}

/**
 * The columns of a table of `SchemaShape`, by any of its names, in which migrations may have written cells; null: rows may
 * have come and gone, too. None: it was left alone.
 */
export function writtenIn(names: readonly string[], touched: Touched): readonly string[] | null {
  const all = names.flatMap(partsOf)
  const known = [...new Set(all)].filter(name => touched.tables.includes(name))
  const columns = known.map(name => touched.columns[name])
  return columns.includes(undefined) ? null : columns.flatMap(list => list ?? [])
}

/** Rows of a table, by any of its names, may have come by the migrations. */
export function mayHaveCome(names: readonly string[], { came = [] }: Touched): boolean {
  return names.flatMap(partsOf).some(name => came.includes(name))
}

/** Writing one row may write others: triggers, functions, references that cascade. */
function actsByItself({ tables, triggers, others }: SchemaShape): boolean {
  const constraints = Object.values(tables).flatMap(t => t.constraints)
  return (
    Object.keys(triggers).length > 0 ||
    Object.keys(others).some(name => /^(function|procedure|rule|event)\b/i.test(name)) ||
    constraints.some(text => /cascade|set\s+(null|default)/i.test(text))
  )
}
