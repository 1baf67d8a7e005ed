import type { Bonds, Dialect } from '../engine.ts'
import type { Rename } from '../renames.ts'
import type { ColumnShape, SchemaShape, TableShape } from '../schema.ts'

export interface Schemas {
  readonly ours: SchemaShape
  readonly theirs: SchemaShape
  readonly base: SchemaShape
  readonly migrated: SchemaShape | null
}

export interface MappedColumn {
  readonly ours: string
  readonly theirs: string
  readonly base: string
  readonly migrated: string | null
  /** In ours and base. */
  readonly type: string
  readonly theirType: string
  readonly migratedType: string | null
  /** Ours takes no NULL. */
  readonly required: boolean
  /** The migrations may have written it, and nobody told when they had ended. */
  readonly unsure?: boolean
}

/** A table of theirs and the place that its rows have in ours. */
export interface MappedTable {
  readonly ours: string
  readonly theirs: string
  readonly migrated: string | null
  readonly columns: readonly MappedColumn[]
  /** Lists of columns that could tell the rows apart, best first; names in ours. Whether they do is for the rows to say. */
  readonly keys: readonly (readonly string[])[]
  /** Columns of theirs that have no place in ours. */
  readonly unplaced: readonly string[]
  /** Columns of ours that theirs has no more. */
  readonly gone: readonly string[]
  /** Those of the gone ones that a new row needs a value for. */
  readonly needed: readonly string[]
  /** Columns of ours that an update changes by itself where it does not name them. */
  readonly stamps?: readonly string[]
  /** The migrations brought and took no row: all that came or went did so by users. */
  readonly rowsAreUsers?: boolean
  /** Nobody told when the migrations had ended, and they may have removed rows (`gone`), or are known to have brought or removed some. */
  readonly unsure?: 'gone' | 'rows'
  /** The migrations put rows into it. */
  readonly rowsCame?: boolean
  /** The migrations wrote in the key: a row that came then may be one that was there, under another key. */
  readonly keyWritten?: boolean
}

export interface Mapping {
  readonly tables: readonly MappedTable[]
  /** Tables of theirs that have no place in ours. */
  readonly unplaced: readonly string[]
  /** Tables of ours that theirs has no more. */
  readonly gone: readonly string[]
}

/** Finds for everything in the schema right before the restore its place in that of the release, by name and by what was renamed (base to theirs). */
export function mapSchemas(
  schemas: Schemas,
  renames: readonly Rename[],
  bonds: Readonly<Record<string, Bonds>>,
  dialect: Dialect,
): Mapping {
  const { ours, theirs, base } = schemas
  const newName = new Map(renames.filter(r => r.was.column === null).map(r => [r.was.table, r.now.table]))
  const taken = new Set(newName.values())
  const pairs: [string, string][] = []
  const gone: string[] = []
  for (const name of Object.keys(ours.tables).sort()) {
    const now = newName.get(name) ?? (taken.has(name) ? undefined : name)
    const there = now !== undefined && theirs.tables[now] !== undefined && base.tables[name] !== undefined
    if (there) pairs.push([name, now])
    else gone.push(name)
  }
  const placed = new Set(pairs.map(([, name]) => name))
  return {
    tables: pairs.map(pair => mapTable(pair, schemas, renames, bonds, dialect)),
    unplaced: Object.keys(theirs.tables)
      .filter(name => !placed.has(name))
      .sort(),
    gone,
  }
}

function mapTable(
  [name, theirName]: readonly [string, string],
  schemas: Schemas,
  renames: readonly Rename[],
  bonds: Readonly<Record<string, Bonds>>,
  dialect: Dialect,
): MappedTable {
  const [mine, base, their] = [schemas.ours.tables[name], schemas.base.tables[name], schemas.theirs.tables[theirName]]
  if (mine === undefined || base === undefined || their === undefined) throw new Error(`${name} has no place`)
  const migrated = schemas.migrated?.tables[theirName]
  const columns = columnsOf(name, { mine, base, their, migrated }, renames).map(c => asDefined(c, schemas, dialect))
  const placed = new Set(columns.map(c => c.theirs))
  const known = new Set(columns.map(c => c.ours))
  const stamps = Object.keys(mine.columns).filter(c => dialect.stamped?.(mine.columns[c]?.type ?? ''))
  const gone = Object.keys(mine.columns).filter(c => mine.columns[c]?.generated === false && !known.has(c))
  return {
    ours: name,
    theirs: theirName,
    migrated: migrated === undefined ? null : theirName,
    columns,
    keys: keysOf(mine, bonds[name], columns, dialect),
    unplaced: Object.entries(their.columns).flatMap(([c, shape]) => (shape.generated || placed.has(c) ? [] : [c])),
    gone,
    needed: gone.filter(c => mine.key.includes(c) || isNeeded(mine.columns[c])),
    ...(stamps.length === 0 ? {} : { stamps }),
  }
}

function isNeeded(column: ColumnShape | undefined): boolean {
  return column !== undefined && !column.nullable && column.default === null
}

interface Shapes {
  readonly mine: TableShape
  readonly base: TableShape
  readonly their: TableShape
  readonly migrated: TableShape | undefined
}

function columnsOf(table: string, { mine, base, their, migrated }: Shapes, renames: readonly Rename[]): MappedColumn[] {
  const own = renames.filter(r => r.was.table === table && r.was.column !== null && r.now.column !== null)
  const newName = new Map(own.map(r => [r.was.column, r.now.column]))
  const taken = new Set(newName.values())
  return Object.entries(mine.columns).flatMap(([name, shape]) => {
    const now = newName.get(name) ?? (taken.has(name) ? null : name)
    const there = now === null ? undefined : their.columns[now]
    if (shape.generated || now === null || there === undefined || base.columns[name] === undefined) return []
    const then = migrated?.columns[now]
    const column: MappedColumn = {
      ours: name,
      theirs: now,
      base: name,
      migrated: then === undefined ? null : now,
      type: shape.type,
      theirType: there.type,
      migratedType: then?.type ?? null,
      required: !shape.nullable,
    }
    return [column]
  })
}

/** A type of the same name may be another one there. */
function asDefined(column: MappedColumn, { ours, theirs, migrated }: Schemas, dialect: Dialect): MappedColumn {
  const { type, theirType, migratedType } = column
  const as = (its: string, there: SchemaShape) => (its === type && dialect.redefined?.(type, there, ours)) || its
  const then = migratedType === null || migrated === null ? migratedType : as(migratedType, migrated)
  return { ...column, theirType: as(theirType, theirs), migratedType: then }
}

/** The primary key, then unique keys that take no NULL; all of their columns must be in theirs, and compare as they are. */
function keysOf(
  mine: TableShape,
  bonds: Bonds | undefined,
  columns: readonly MappedColumn[],
  dialect: Dialect,
): string[][] {
  const uniques = (bonds?.uniques ?? []).flatMap(u => (u.columns === null ? [] : [[...u.columns]]))
  const strict = uniques.filter(list => list.every(c => mine.columns[c]?.nullable === false))
  const all = [...(mine.key.length === 0 ? [] : [[...mine.key]]), ...strict]
  const usable = (name: string) => {
    const column = columns.find(c => c.ours === name)
    return column !== undefined && comparesAsIs(column, dialect)
  }
  return all.filter((list, i) => list.every(usable) && all.findIndex(l => l.join('\0') === list.join('\0')) === i)
}

/** Values of theirs are found under keys of ours as they are, or once they are said in its type. */
function comparesAsIs({ type, theirType, migratedType }: MappedColumn, dialect: Dialect): boolean {
  const found = (from: string) =>
    from === type || dialect.convert('v', from, type)?.value === 'v' || dialect.recast?.(from, type) === true
  return found(theirType) && (migratedType === null || found(migratedType))
}
