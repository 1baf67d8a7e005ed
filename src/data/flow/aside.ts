import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Dialect, Reader } from '../engine.ts'
import { type AtRisk, atRisk } from '../loss.ts'
import { nameOf } from '../renames.ts'
import { compareSchemas, type SchemaShape } from '../schema.ts'
import { filterOf, type Way } from './lost.ts'
import type { Site } from './site.ts'

const LINES_AT_ONCE = 1_000

/** Writes what going down would destroy into files of lines of JSON below `dir`. Answers which files hold what. */
export async function writeAside(site: Site, db: Reader, way: Way, dir: string): Promise<Record<string, string>> {
  const { dialect } = site.engine
  const files: Record<string, string> = {}
  const jobs = atRisk(compareSchemas(way.base, way.live), way.renames).flatMap(item => {
    const sql = rowsOf(dialect, way.live, item)
    return sql === null ? [] : [{ what: nameOf(item), sql }]
  })
  for (const d of way.declared) if (d.rows !== undefined) jobs.push({ what: d.what, sql: d.rows })
  for (const { what, sql } of jobs) {
    const path = join('lost', `${encodeURIComponent(what)}.ndjson`)
    if ((await writeRows(db, sql, join(dir, path))) > 0) files[what] = path
  }
  return files
}

function rowsOf(dialect: Dialect, live: SchemaShape, item: AtRisk): string | null {
  const shape = live.tables[item.table]
  const filter = filterOf(dialect, live, item)
  if (shape === undefined || filter === null) return null
  const table = dialect.table(item.table)
  if (item.column === null) return `SELECT * FROM ${table}`
  const number = dialect.rowNumber?.(item.table, shape) ?? null
  const key = shape.key.length > 0 ? shape.key.map(k => dialect.quote(k)) : number === null ? [] : [number]
  return `SELECT ${[...key, dialect.quote(item.column)].join(', ')} FROM ${table} WHERE ${filter}`
}

async function writeRows(db: Reader, sql: string, path: string): Promise<number> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await using file = await open(path, 'w', 0o600)
  let rows = 0
  let lines: string[] = []
  const flush = async () => {
    await file.write(lines.join(''))
    lines = []
  }
  await db.each(sql, [], row => {
    rows++
    lines.push(`${JSON.stringify(row, plainValue)}\n`)
    return lines.length < LINES_AT_ONCE ? undefined : flush()
  })
  await flush()
  return rows
}

function plainValue(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return { $integer: value.toString() }
  // What a Buffer makes of itself before it comes here.
  const bytes = value as { type?: unknown; data?: unknown } | null
  if (bytes?.type === 'Buffer' && Array.isArray(bytes.data))
    return { $base64: Buffer.from(bytes.data).toString('base64') }
  return value instanceof Uint8Array ? { $base64: Buffer.from(value).toString('base64') } : value
}
