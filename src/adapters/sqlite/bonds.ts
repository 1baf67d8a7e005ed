import type { DatabaseSync } from 'node:sqlite'
import type { Bonds, Reference, Unique } from '../../data/engine.ts'
import { all, type Row } from './database.ts'

const ON_DELETE: Record<string, Reference['onDelete']> = {
  CASCADE: 'cascade',
  'SET NULL': 'set-null',
  'SET DEFAULT': 'set-default',
}

/** Keys and references of every table of the file that is used. */
export function bondsOf(db: DatabaseSync): Record<string, Bonds> {
  const rows = all(db, `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')`)
  const names = rows.map(row => String(row['name'])).filter(name => !name.startsWith('sqlite_'))
  return Object.fromEntries(
    names.map(name => [name, { uniques: uniquesOf(db, name), references: referencesOf(db, name, names) }]),
  )
}

function uniquesOf(db: DatabaseSync, table: string): Unique[] {
  const indexes = all(db, `SELECT * FROM pragma_index_list(?, 'main')`, table).filter(index => index['unique'] === 1)
  const key = keyOf(db, table)
  const own =
    key.length === 0 || indexes.some(index => index['origin'] === 'pk') ? [] : [{ name: 'primary key', columns: key }]
  return [...own, ...indexes.map(index => ({ name: String(index['name']), columns: columnsOf(db, index) }))]
}

function keyOf(db: DatabaseSync, table: string): string[] {
  const rows = all(db, `SELECT name FROM pragma_table_info(?, 'main') WHERE pk > 0 ORDER BY pk`, table)
  return rows.map(row => String(row['name']))
}

/** An index made by hand may compare otherwise than its columns do; one of a constraint never does. */
function columnsOf(db: DatabaseSync, index: Row): string[] | null {
  if (index['partial'] === 1) return null
  const parts = all(
    db,
    `SELECT * FROM pragma_index_xinfo(?, 'main') WHERE key = 1 ORDER BY seqno`,
    String(index['name']),
  )
  const plain = parts.every(p => Number(p['cid']) >= -1 && p['name'] !== null)
  const alike = index['origin'] !== 'c' || parts.every(p => p['coll'] === 'BINARY')
  return plain && alike ? parts.map(p => String(p['name'])) : null
}

function referencesOf(db: DatabaseSync, table: string, names: readonly string[]): Reference[] {
  const rows = all(db, `SELECT * FROM pragma_foreign_key_list(?, 'main') ORDER BY id, seq`, table)
  return [...Map.groupBy(rows, row => row['id']).values()].flatMap(parts => {
    const first = parts[0] as Row
    const named = String(first['table'])
    const parent = names.find(name => name.toLowerCase() === named.toLowerCase())
    if (parent === undefined) return []
    const key = keyOf(db, parent)
    const columns = parts.map(p => String(p['from']))
    const to = parts.map((p, i) => (p['to'] === null ? (key[i] ?? '') : String(p['to'])))
    const onDelete = ON_DELETE[String(first['on_delete']).toUpperCase()] ?? 'refuse'
    const name = `${table} (${columns.join(', ')}) to ${parent}`
    return to.includes('') ? [] : [{ name, columns, table: parent, to, onDelete }]
  })
}
