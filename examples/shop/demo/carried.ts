import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import type { Database, Row } from '../app/common/database.ts'
import { type Discount, discountsIn, ordersIn, reading } from '../world/database.ts'
import type { Store } from '../world/store.ts'
import type { CarryStatus } from './backout.ts'

/** The columns of each table that v1.2.9 knows; v1.3.0 calls `orders.total` otherwise. */
const TABLES = {
  products: ['sku', 'name', 'price'],
  users: ['id', 'email', 'password', 'created_at'],
  orders: ['id', 'user_id', 'sku', 'qty', 'total', 'status', 'created_at'],
  payments: ['id', 'order_id', 'amount', 'paid_at'],
} as const
const RENAMED: Readonly<Record<string, string>> = { total: 'total_cents' }

/** The same database at three moments: copies that the demo made itself; null: the database as it is. */
export interface Moments {
  /** When the release began: what was backed up. */
  readonly released: string | null
  /** Just before going back, on the schema of v1.3.0. */
  readonly before: string | null
  /** After the restore, with what was carried forward. */
  readonly restored: string | null
}

/** What the rows themselves say, counted without asking Backout. */
export interface Counted {
  /** Rows added or changed between the release and going back. */
  readonly written: Readonly<Record<string, number>>
  /** Rows of just before going back that are not there after the restore, or not as they were; and the other way round. */
  readonly differing: number
  /** Tables, indexes and migrations of the release that are not there after the restore. */
  readonly schemaMissing: number
  readonly discounts: readonly Discount[]
  /** Orders after the restore. */
  readonly orders: ReadonlyMap<number, { readonly total: number }>
}

/** What Backout says of the restore. */
export interface Told {
  readonly carried: number
  readonly proven: boolean
  readonly conflicts: number
  readonly archived: readonly Discount[]
}

/** Compares the three moments, row by row. Throws where one of them is not there or is no database of the shop. */
export async function countRows(store: Store, { released, before, restored }: Moments): Promise<Counted> {
  const at = (moment: string | null) => reading(store, db => contentOf(db, store.built), moment ?? undefined)
  const [then, bad, now] = [await at(released), await at(before), await at(restored)]
  const names = Object.keys(TABLES) as (keyof typeof TABLES)[]
  return {
    written: Object.fromEntries(names.map(t => [t, less(rows(bad, t, RENAMED), rows(then, t))])),
    differing: names.reduce(
      (sum, t) => sum + less(rows(bad, t, RENAMED), rows(now, t)) + less(rows(now, t), rows(bad, t, RENAMED)),
      0,
    ),
    schemaMissing: less(then.level, now.level),
    discounts: await discountsIn(store, before ?? undefined),
    orders: new Map((await ordersIn(store, restored ?? undefined)).map(({ id, total }) => [id, { total }])),
  }
}

interface Content {
  readonly tables: Readonly<Record<string, readonly Row[]>>
  /** How everything is built, and the migrations that are noted. */
  readonly level: readonly string[]
}

async function contentOf(db: Database, built: string): Promise<Content> {
  const tables: Record<string, Row[]> = {}
  for (const name of Object.keys(TABLES)) tables[name] = await db.all(`SELECT * FROM ${name}`)
  const migrations = await db.all('SELECT version FROM schema_migrations')
  const level = [
    ...(await db.all(built)).map(row => String(row.line)),
    ...migrations.map(m => `migration ${m.version}`),
  ]
  return { tables, level }
}

/** Each row of a table as one text. */
function rows(
  { tables }: Content,
  table: keyof typeof TABLES,
  called: Readonly<Record<string, string>> = {},
): string[] {
  return (tables[table] ?? []).map(row =>
    JSON.stringify(
      TABLES[table].map(column => {
        const value = row[called[column] ?? column]
        if (value === undefined) throw new Error(`no such column: ${called[column] ?? column}`)
        return value
      }),
    ),
  )
}

/** How many of the first are not among the second. */
function less(first: readonly string[], second: readonly string[]): number {
  const there = new Set(second)
  return first.filter(each => !there.has(each)).length
}

/** What Backout says that it carried, and the values that it put into the archive in this folder. */
export async function whatWasTold({ last, now }: CarryStatus, archive: string): Promise<Told> {
  const conflicts = now.tables.flatMap(t => Object.values(t.conflicts)).reduce((sum, n) => sum + n, 0)
  const archived = await archivedIn(archive)
  return { carried: last?.carried ?? 0, proven: last?.proof.ok === true, conflicts, archived }
}

interface Line {
  readonly key: { readonly id: string }
  readonly values: { readonly discount?: string | null }
}

/** Every value of a column that had no place in the schema of the release: `orders.discount` is the only one of v1.3.0. */
async function archivedIn(folder: string): Promise<Discount[]> {
  const files = (await readdir(folder)).filter(name => name.startsWith('columns-'))
  const texts = await Promise.all(files.map(async name => zstdDecompressSync(await readFile(join(folder, name)))))
  const lines = texts.flatMap(text => text.toString('utf8').split('\n')).filter(line => line !== '')
  return lines
    .map(line => JSON.parse(line) as Line)
    .map(({ key, values }) => ({ id: Number(key.id), discount: Number(values.discount) }))
}
