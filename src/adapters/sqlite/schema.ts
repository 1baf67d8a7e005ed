import type { DatabaseSync } from 'node:sqlite'
import type { ColumnShape, SchemaShape, TableShape } from '../../data/schema.ts'
import { all, type Row } from './database.ts'

/** Names of the tables that hold data, the hidden ones of full-text search and the like included. */
function tablesOf(db: DatabaseSync): string[] {
  const rows = all(db, `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')`)
  return rows
    .map(row => String(row['name']))
    .filter(name => !/^(sqlite|backout)_/i.test(name))
    .sort()
}

/** Everything that binds an application. Names that begin with `backout_` are Backout's own. */
export function readSchema(db: DatabaseSync): SchemaShape {
  return {
    tables: Object.fromEntries(tablesOf(db).map(name => [name, tableShape(db, name)])),
    views: { ...texts(db, 'view'), ...virtuals(db) },
    triggers: texts(db, 'trigger'),
    others: {},
  }
}

function columnsOf(db: DatabaseSync, table: string): Row[] {
  return all(db, `SELECT * FROM pragma_table_xinfo(?, 'main')`, table)
}

function tableShape(db: DatabaseSync, table: string): TableShape {
  const rows = columnsOf(db, table).filter(row => row['hidden'] !== 1)
  const key = rows.filter(row => Number(row['pk']) > 0).sort((a, b) => Number(a['pk']) - Number(b['pk']))
  const sql = plain(sqlOf(db, 'table', table))
  const computed = computedIn(sql)
  const indexes = all(db, `SELECT * FROM pragma_index_list(?, 'main')`, table)
  const own = indexes.filter(index => index['origin'] === 'c')
  const implied = indexes.filter(index => index['origin'] === 'u')
  return {
    columns: Object.fromEntries(rows.map(row => [String(row['name']), columnShape(row, computed)])),
    key: key.map(row => String(row['name'])),
    indexes: Object.fromEntries(
      own.map(index => {
        const name = String(index['name'])
        return [name, { unique: index['unique'] === 1, on: afterOn(plain(sqlOf(db, 'index', name))) }]
      }),
    ),
    constraints: [
      ...implied.map(index => `unique (${indexColumns(db, String(index['name']))})`),
      ...foreignKeys(db, table),
      ...checks(sql),
      ...[...sql.matchAll(/\bcollate (\w+)/g)].map(m => `collate ${m[1]}`),
      ...['autoincrement', 'without rowid', 'strict'].filter(word =>
        new RegExp(`\\b${word}\\b`).test(outside(sql, word)),
      ),
    ].sort(),
  }
}

function columnShape(row: Row, computed: ReadonlyMap<string, string>): ColumnShape {
  const generated = row['hidden'] === 2 || row['hidden'] === 3
  const as = generated ? computed.get(String(row['name']).toLowerCase()) : undefined
  return {
    type: String(row['type']).toUpperCase(),
    nullable: row['notnull'] === 0,
    default: row['dflt_value'] === null ? null : String(row['dflt_value']),
    generated,
    ...(as === undefined ? {} : { computed: as }),
  }
}

/** By what columns are computed, as far as their names are plain words. SQLite tells it in no other way. */
function computedIn(sql: string): Map<string, string> {
  const found = new Map<string, string>()
  const open = sql.indexOf('(')
  let [depth, quoted, from] = [0, false, open + 1]
  for (let at = open; at >= 0 && at < sql.length; at++) {
    const sign = sql[at]
    if (sign === "'") quoted = !quoted
    else if (!quoted && sign === '(') depth++
    else if (!quoted && sign === ')') depth--
    if (quoted || !((depth === 1 && sign === ',') || depth === 0)) continue
    const [, name, as] = /^(\w+)\b.*?\bas(\(.*)$/s.exec(sql.slice(from, at).trim()) ?? []
    if (name !== undefined && as !== undefined) found.set(name, as)
    from = at + 1
    if (depth === 0) break
  }
  return found
}

function indexColumns(db: DatabaseSync, index: string): string {
  const rows = all(db, `SELECT name FROM pragma_index_info(?, 'main') ORDER BY seqno`, index)
  return rows.map(row => String(row['name'])).join(', ')
}

function foreignKeys(db: DatabaseSync, table: string): string[] {
  const byId = Map.groupBy(
    all(db, `SELECT * FROM pragma_foreign_key_list(?, 'main') ORDER BY id, seq`, table),
    r => r['id'],
  )
  return [...byId.values()].map(rows => {
    const [first] = rows
    const list = (name: string) => rows.map(row => String(row[name] ?? '')).join(', ')
    const one = (name: string) => String(first?.[name] ?? '')
    const rules = `on update ${one('on_update')} on delete ${one('on_delete')}`.toLowerCase()
    return `foreign key (${list('from')}) references ${one('table')} (${list('to')}) ${rules}`
  })
}

/** Texts of the CHECK constraints, found by counting brackets: SQLite tells them in no other way. */
function checks(sql: string): string[] {
  return [...sql.matchAll(/\bcheck ?\(/g)].map(match => {
    let depth = 0
    const from = match.index + match[0].length - 1
    for (let at = from; at < sql.length; at++) {
      if (sql[at] === '(') depth++
      if (sql[at] === ')' && --depth === 0) return `check ${sql.slice(from, at + 1)}`
    }
    return `check ${sql.slice(from)}`
  })
}

/** Options of the table stand behind its last bracket, `autoincrement` within. */
function outside(sql: string, word: string): string {
  return word === 'autoincrement' ? sql : sql.slice(sql.lastIndexOf(')'))
}

function afterOn(sql: string): string {
  return sql.slice(sql.indexOf(' on ') + 4)
}

function sqlOf(db: DatabaseSync, type: string, name: string): string {
  const [row] = all(db, 'SELECT sql FROM sqlite_schema WHERE type = ? AND name = ?', type, name)
  return String(row?.['sql'] ?? '')
}

function texts(db: DatabaseSync, type: string): Record<string, string> {
  const rows = all(
    db,
    `SELECT name, sql FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'backout\\_%' ESCAPE '\\' ORDER BY name`,
    type,
  )
  return Object.fromEntries(rows.map(row => [String(row['name']), plain(String(row['sql']))]))
}

/** Virtual tables keep their rows in other tables, so that they are looked at as views are. */
function virtuals(db: DatabaseSync): Record<string, string> {
  const rows = all(db, `SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'create virtual table%'`)
  return Object.fromEntries(rows.map(row => [String(row['name']), plain(String(row['sql']))]))
}

/** One text for one meaning: names unquoted, white space single, lower case outside of literals. */
function plain(sql: string): string {
  const parts = sql.match(/'(?:[^']|'')*'|[^']+/g) ?? []
  return parts
    .map(part => {
      if (part.startsWith("'")) return part
      const bare = part.replaceAll(/--[^\n]*/g, ' ').replaceAll(/\/\*[\s\S]*?\*\//g, ' ')
      return bare
        .replaceAll(/["`[\]]/g, '')
        .replaceAll(/\s+/g, ' ')
        .replaceAll(/ ?([(),<>=!|*/+-]) ?/g, '$1')
        .toLowerCase()
    })
    .join('')
    .trim()
}
