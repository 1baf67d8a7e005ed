import type { Row } from '../../data/engine.ts'
import type { ColumnShape, SchemaShape, TableShape } from '../../data/schema.ts'
import { bareName, isOwn, quoted, shownName, text } from './names.ts'
import { programs } from './programs.ts'
import type { Session } from './session.ts'
import { withShownKeys } from './shown-keys.ts'

/** Rows of a query over information_schema, by table. */
type ByTable = ReadonlyMap<string, readonly Row[]>

/** Everything that binds an application, from information_schema. `database`: the one to look at. */
export async function readSchema(db: Session, database: string): Promise<SchemaShape> {
  const tables = await db.query(
    `SELECT TABLE_NAME AS t, TABLE_TYPE AS type, ENGINE AS engine, TABLE_COLLATION AS collation, CREATE_OPTIONS AS options
     FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1`,
    [database],
  )
  const [columns, indexes, foreign, checks, partitions] = [
    await columnRows(db, database),
    await indexRows(db, database),
    await foreignRows(db, database),
    await checkRows(db, database),
    await partitionRows(db, database),
  ]
  const shapes = tables
    .filter(row => !isOwn(String(row['t'])))
    .map(row => {
      const table = String(row['t'])
      const part = (rows: ByTable) => rows.get(table) ?? []
      return [
        shownName(table),
        {
          columns: columnShapes(part(columns), db.flavour.mariadb),
          key: part(indexes)
            .filter(i => i['name'] === 'PRIMARY')
            .map(i => String(i['col'])),
          indexes: indexShapes(part(indexes)),
          constraints: [
            ...foreignKeys(part(foreign), database),
            ...part(checks).map(c => `check (${text(c['clause'])})${c['enforced'] === 'NO' ? ' not enforced' : ''}`),
            ...partitioning(part(partitions)),
            ...options(row),
          ].sort(),
        } satisfies TableShape,
      ] as const
    })
  const known: Record<string, TableShape> = {}
  for (const [name, shape] of shapes) known[name] = await withShownKeys(db, database, name, shape)
  return { tables: known, ...(await programs(db, database)) }
}

async function byTable(db: Session, sql: string, database: string): Promise<ByTable> {
  return Map.groupBy(await db.query(sql, [database]), row => String(row['t']))
}

function columnRows(db: Session, database: string): Promise<ByTable> {
  return byTable(
    db,
    `SELECT TABLE_NAME AS t, COLUMN_NAME AS name, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset,
       COLLATION_NAME AS collation, IS_NULLABLE AS nullable, COLUMN_DEFAULT AS dflt, EXTRA AS extra,
       GENERATION_EXPRESSION AS expression
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION`,
    database,
  )
}

function columnShapes(rows: readonly Row[], mariadb: boolean): Record<string, ColumnShape> {
  return Object.fromEntries(rows.map(row => [String(row['name']), columnShape(row, mariadb)]))
}

/** The type is all that says which values fit and how they compare, and what the server itself puts into the column. */
function columnShape(row: Row, mariadb: boolean): ColumnShape {
  const extra = text(row['extra']).toLowerCase()
  const expression = text(row['expression'])
  const generated = expression !== ''
  const type = [
    text(row['type']),
    row['charset'] === null ? '' : `character set ${text(row['charset'])} collate ${text(row['collation'])}`,
    extra.includes('auto_increment') ? 'auto_increment' : '',
    /on update (\S+)/.exec(extra)?.[0] ?? '',
    extra.includes('invisible') ? 'invisible' : '',
    extra.includes('without system versioning') ? 'without system versioning' : '',
    generated ? `as (${expression}) ${extra.includes('stored') ? 'stored' : 'virtual'}` : '',
  ]
  return {
    type: type.filter(part => part !== '').join(' '),
    nullable: row['nullable'] === 'YES',
    default: generated ? null : defaultOf(row['dflt'], text(row['type']), extra, mariadb),
    generated,
  }
}

/** MariaDB tells a default as SQL, and NULL as text; MySQL tells the bare value, and marks what is an expression. */
export function defaultOf(value: unknown, type: string, extra: string, mariadb: boolean): string | null {
  if (value === null || value === undefined) return null
  const told = text(value)
  if (mariadb) return told.toUpperCase() === 'NULL' ? null : told
  if (extra.includes('default_generated')) return /^current_timestamp/i.test(told) ? told : `(${told})`
  const bare = /^(tinyint|smallint|mediumint|int|bigint|decimal|float|double|year|bit)/.test(type)
  // Of bytes it tells the digits.
  const bytes = /^(var)?binary/.test(type) && /^0x[\da-f]*$/i.test(told)
  if (bytes) return told.length === 2 ? "''" : told
  return bare ? told : `'${told.replaceAll("'", "''")}'`
}

function indexRows(db: Session, database: string): Promise<ByTable> {
  const { mariadb, number } = db.flavour
  const expression = mariadb ? 'NULL' : 'EXPRESSION'
  const off = mariadb ? (number >= 100_600 ? `IGNORED = 'YES'` : '0') : `IS_VISIBLE = 'NO'`
  return byTable(
    db,
    `SELECT TABLE_NAME AS t, INDEX_NAME AS name, NON_UNIQUE AS loose, COLUMN_NAME AS col, SUB_PART AS part,
       COLLATION AS dir, INDEX_TYPE AS type, ${expression} AS expression, ${off} AS unused
     FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX`,
    database,
  )
}

function indexShapes(rows: readonly Row[]): TableShape['indexes'] {
  const groups = Map.groupBy(
    rows.filter(row => row['name'] !== 'PRIMARY'),
    row => String(row['name']),
  )
  return Object.fromEntries(
    [...groups].map(([name, parts]) => {
      const [first] = parts
      const type = text(first?.['type'])
      const on = [
        parts.map(indexPart).join(', '),
        type === 'BTREE' ? '' : type.toLowerCase(),
        Number(first?.['unused']) === 1 ? 'not used' : '',
      ]
      return [name, { unique: Number(first?.['loose']) === 0, on: on.filter(p => p !== '').join(' ') }]
    }),
  )
}

function indexPart(row: Row): string {
  const what = row['col'] === null ? `(${text(row['expression'])})` : text(row['col'])
  return `${what}${row['part'] === null ? '' : `(${text(row['part'])})`}${row['dir'] === 'D' ? ' desc' : ''}`
}

function foreignRows(db: Session, database: string): Promise<ByTable> {
  return byTable(
    db,
    `SELECT k.TABLE_NAME AS t, k.CONSTRAINT_NAME AS name, k.COLUMN_NAME AS col, k.REFERENCED_TABLE_SCHEMA AS schema_to,
       k.REFERENCED_TABLE_NAME AS table_to, k.REFERENCED_COLUMN_NAME AS col_to, r.UPDATE_RULE AS upd, r.DELETE_RULE AS del
     FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.TABLE_SCHEMA = ? AND k.REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1, 2, k.ORDINAL_POSITION`,
    database,
  )
}

/** By what they bind, not by their names, which the server makes up. */
function foreignKeys(rows: readonly Row[], database: string): string[] {
  return [...Map.groupBy(rows, row => row['name']).values()].map(parts => {
    const [first] = parts
    const list = (column: string) => parts.map(p => text(p[column])).join(', ')
    const elsewhere = text(first?.['schema_to']) === database ? '' : `${shownName(text(first?.['schema_to']))}.`
    const to = `${elsewhere}${shownName(text(first?.['table_to']))}`
    const rules = `on update ${ruleOf(first?.['upd'])} on delete ${ruleOf(first?.['del'])}`
    return `foreign key (${list('col')}) references ${to} (${list('col_to')}) ${rules}`
  })
}

/** RESTRICT and NO ACTION are one thing here. */
function ruleOf(rule: unknown): string {
  const said = text(rule).toLowerCase()
  return said === 'no action' ? 'restrict' : said
}

function checkRows(db: Session, database: string): Promise<ByTable> {
  const sql = db.flavour.mariadb
    ? `SELECT TABLE_NAME AS t, CHECK_CLAUSE AS clause, 'YES' AS enforced
       FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ?`
    : `SELECT t.TABLE_NAME AS t, c.CHECK_CLAUSE AS clause, t.ENFORCED AS enforced
       FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t
         ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME
       WHERE c.CONSTRAINT_SCHEMA = ?`
  return byTable(db, sql, database)
}

function partitionRows(db: Session, database: string): Promise<ByTable> {
  return byTable(
    db,
    `SELECT TABLE_NAME AS t, PARTITION_NAME AS name, PARTITION_METHOD AS method, PARTITION_EXPRESSION AS expression,
       SUBPARTITION_METHOD AS submethod, SUBPARTITION_EXPRESSION AS subexpression, SUBPARTITION_NAME AS subname,
       PARTITION_DESCRIPTION AS upto
     FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = ? AND PARTITION_NAME IS NOT NULL
     ORDER BY 1, PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION`,
    database,
  )
}

function partitioning(rows: readonly Row[]): string[] {
  const [first] = rows
  if (first === undefined) return []
  const sub = first['submethod'] === null ? '' : ` ${text(first['submethod'])} (${text(first['subexpression'])})`
  const parts = rows.map(p =>
    [p['name'], p['subname'], p['upto']]
      .map(text)
      .filter(t => t !== '')
      .join(' '),
  )
  return [
    `partition by ${text(first['method'])} (${text(first['expression'])})${sub}: ${parts.join(', ')}`.toLowerCase(),
  ]
}

function options(table: Row): string[] {
  const said = text(table['options']).replaceAll(/\s*\bpartitioned\b/g, '')
  return [
    `engine ${text(table['engine']).toLowerCase()}`,
    `collate ${text(table['collation'])}`,
    ...(table['type'] === 'SYSTEM VERSIONED' ? ['with system versioning'] : []),
    ...(said.trim() === '' ? [] : [`options ${said.trim()}`]),
  ]
}

/** Tables by rough size, without a look at their rows. */
export interface Extent {
  readonly rows: number
  readonly bytes: number
  /** Reads of it are not of the snapshot's instant. */
  readonly loose: boolean
}

export async function extents(db: Session, database: string): Promise<Map<string, Extent>> {
  const rows = await db.query(
    `SELECT t.TABLE_NAME AS t, t.TABLE_ROWS AS n, t.DATA_LENGTH AS bytes, t.ENGINE AS engine, e.TRANSACTIONS AS safe
     FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
     WHERE t.TABLE_SCHEMA = ? AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')`,
    [database],
  )
  return new Map(
    rows.map(row => [
      shownName(String(row['t'])),
      { rows: Number(row['n'] ?? 0), bytes: Number(row['bytes'] ?? 0), loose: row['safe'] !== 'YES' },
    ]),
  )
}

/** Estimates of the server for large tables, counted where a table is small. */
export async function rowCounts(db: Session, schema: SchemaShape, database: string): Promise<Record<string, number>> {
  const known = await extents(db, database)
  const out: Record<string, number> = {}
  for (const table of Object.keys(schema.tables)) {
    const guess = known.get(table)?.rows ?? 0
    out[table] = guess > 10_000 ? guess : await countRows(db, bareName(table), database)
  }
  return out
}

async function countRows(db: Session, table: string, database: string): Promise<number> {
  const [row] = await db.query(`SELECT COUNT(*) AS n FROM ${quoted(database)}.${quoted(table)}`)
  return Number(row?.['n'] ?? 0)
}
