import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import type { Loss } from '../../core/contract.ts'
import { type AtRisk, atRisk, lossOf } from '../../data/loss.ts'
import { nameOf, type Rename } from '../../data/renames.ts'
import { compareSchemas, type SchemaShape, type TableShape } from '../../data/schema.ts'
import type { SqliteConfig } from './config.ts'
import { all, count, quoted } from './database.ts'
import { orderOf } from './fingerprint.ts'
import { same } from './rows.ts'
import { oldest } from './times.ts'

const KEPT = 'kept in the pre-rollback backup; not brought back by itself'
const DEFAULT_IS_FIXED = /^(-?[\d.]+(e[+-]?\d+)?|0x[\da-f]+|'(?:[^']|'')*'|x'[\da-f]*'|true|false)$/i

type Declared = SqliteConfig['loses'][number]

/** What destroying everything that the baseline does not know, by whatever name, would lose, counted now. */
export function lostByGoingDown(
  db: DatabaseSync,
  base: SchemaShape,
  live: SchemaShape,
  declared: readonly Declared[],
  renames: readonly Rename[],
): Loss[] {
  const found = atRisk(compareSchemas(base, live), renames).map(item => {
    const { rows, since } = countOf(db, live, item)
    return lossOf(item, rows, KEPT, since)
  })
  const named = new Set(declared.map(d => d.what))
  const own = declared.map(d => declaredLoss(db, d))
  return [...found.filter(l => l !== null && !named.has(l.what)), ...own].filter(l => l !== null)
}

function countOf(db: DatabaseSync, live: SchemaShape, item: AtRisk): { rows: number; since: string | null } {
  const shape = live.tables[item.table]
  const filter = filterOf(live, item)
  if (shape === undefined || filter === null) return { rows: 0, since: null }
  const [row] = all(db, `SELECT count(*), ${oldest(shape) ?? 'NULL'} FROM ${quoted(item.table)} WHERE ${filter}`)
  const [rows, since] = Object.values(row ?? {})
  return { rows: Number(rows ?? 0), since: since == null ? null : String(since) }
}

/** Which rows hold something of it: all of a table, those unlike the default of a column, none of a computed one. */
function filterOf(live: SchemaShape, { table, column }: AtRisk): string | null {
  if (column === null) return 'TRUE'
  const shape = live.tables[table]?.columns[column]
  if (shape === undefined || shape.generated) return null
  const fixed = shape.default !== null && DEFAULT_IS_FIXED.test(shape.default)
  return `${quoted(column)} IS NOT NULL${fixed ? ` AND ${quoted(column)} IS NOT ${shape.default}` : ''}`
}

function declaredLoss(db: DatabaseSync, declared: Declared): Loss | null {
  const rows = count(db, declared.sql)
  if (rows === 0) return null
  const row = declared.since === undefined ? undefined : db.prepare(declared.since).get()
  const since = row === undefined ? null : (Object.values(row)[0] ?? null)
  const note = `by undoing ${declared.migration}; ${KEPT}`
  return { what: declared.what, count: rows, unit: 'rows', since: since === null ? null : String(since), note }
}

export interface Since {
  readonly loss: readonly Loss[]
  /** Tables with rows that were deleted since, and how many: a restore brings them back. */
  readonly returning: Readonly<Record<string, number>>
}

/** What a restore would change: everything since the backup, which is attached as `base`. Exact, row by row. */
export async function changedSince(
  db: DatabaseSync,
  base: SchemaShape,
  live: SchemaShape,
  renames: readonly Rename[],
  signal: AbortSignal,
): Promise<Since> {
  const loss = lostByGoingDown(db, base, live, [], renames)
  const returning: Record<string, number> = {}
  for (const [table, now] of Object.entries(live.tables)) {
    const then = base.tables[table]
    if (then === undefined) continue
    signal.throwIfAborted()
    const queries = changesOf(table, then, now)
    loss.push(...rowLoss(table, count(db, queries.added), 'added'))
    if (queries.changed !== null) loss.push(...rowLoss(table, count(db, queries.changed), 'changed'))
    const deleted = count(db, queries.deleted)
    if (deleted > 0) returning[table] = deleted
    await setImmediate()
  }
  return { loss, returning }
}

function rowLoss(table: string, rows: number, how: 'added' | 'changed'): Loss[] {
  return rows === 0 ? [] : [{ what: `${table} (${how})`, count: rows, unit: 'rows', since: null, note: KEPT }]
}

interface Changes {
  readonly added: string
  readonly deleted: string
  readonly changed: string | null
}

function changesOf(table: string, then: TableShape, now: TableShape): Changes {
  const columns = Object.keys(now.columns).filter(
    c => then.columns[c]?.generated === false && !now.columns[c]?.generated,
  )
  const keyed = now.key.length > 0 && now.key.join() === then.key.join()
  return keyed ? byKey(table, now.key, columns) : byContent(table, columns)
}

function differs(columns: readonly string[]): string {
  return columns.length === 0 ? 'FALSE' : columns.map(c => `NOT ${same(c)}`).join(' OR ')
}

function byKey(table: string, key: readonly string[], columns: readonly string[]): Changes {
  const t = quoted(table)
  const match = key.map(k => `l.${quoted(k)} = b.${quoted(k)}`).join(' AND ')
  const without = (a: string, b: string, from: string, other: string) =>
    `SELECT count(*) FROM ${from}.${t} AS ${a} WHERE NOT EXISTS (SELECT 1 FROM ${other}.${t} AS ${b} WHERE ${match})`
  return {
    added: without('l', 'b', 'main', 'base'),
    deleted: without('b', 'l', 'base', 'main'),
    changed: `SELECT count(*) FROM main.${t} AS l JOIN base.${t} AS b ON ${match} WHERE ${differs(columns)}`,
  }
}

/** Without a key a changed row is one that came and one that went. Equal rows are numbered, so that each counts. */
function byContent(table: string, columns: readonly string[]): Changes {
  const list = columns.map(c => `${quoted(c)} COLLATE BINARY`).join(', ')
  const rows = (side: string) =>
    `SELECT ${list}, row_number() OVER (PARTITION BY ${list}) FROM ${side}.${quoted(table)}`
  const minus = (a: string, b: string) => `SELECT count(*) FROM (${rows(a)} EXCEPT ${rows(b)})`
  return { added: minus('main', 'base'), deleted: minus('base', 'main'), changed: null }
}

/** Writes what going down would destroy into files of lines of JSON below `dir`. Answers which files hold what. */
export async function writeAside(
  db: DatabaseSync,
  base: SchemaShape,
  live: SchemaShape,
  declared: readonly Declared[],
  renames: readonly Rename[],
  dir: string,
): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  const jobs = atRisk(compareSchemas(base, live), renames).flatMap(item => {
    const sql = rowsOf(live, item)
    return sql === null ? [] : [{ what: nameOf(item), sql }]
  })
  for (const d of declared) if (d.rows !== undefined) jobs.push({ what: d.what, sql: d.rows })
  for (const { what, sql } of jobs) {
    const path = join('lost', `${encodeURIComponent(what)}.ndjson`)
    if ((await writeRows(db, sql, join(dir, path))) > 0) files[what] = path
  }
  return files
}

function rowsOf(live: SchemaShape, item: AtRisk): string | null {
  const shape = live.tables[item.table]
  const filter = filterOf(live, item)
  if (shape === undefined || filter === null) return null
  if (item.column === null) return `SELECT * FROM ${quoted(item.table)}`
  const key = shape.key.length > 0 ? shape.key.map(quoted) : orderOf(item.table, shape)
  return `SELECT ${[...key, quoted(item.column)].join(', ')} FROM ${quoted(item.table)} WHERE ${filter}`
}

async function writeRows(db: DatabaseSync, sql: string, path: string): Promise<number> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await using file = await open(path, 'w', 0o600)
  const statement = db.prepare(sql)
  statement.setReadBigInts(true)
  let rows = 0
  let lines: string[] = []
  for (const row of statement.iterate()) {
    rows++
    lines.push(`${JSON.stringify(row, plainValue)}\n`)
    if (lines.length < 1000) continue
    await file.write(lines.join(''))
    lines = []
  }
  await file.write(lines.join(''))
  return rows
}

function plainValue(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    return Number.isSafeInteger(Number(value)) ? Number(value) : { $integer: value.toString() }
  }
  return value instanceof Uint8Array ? { $base64: Buffer.from(value).toString('base64') } : value
}
