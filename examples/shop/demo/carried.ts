import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { zstdDecompressSync } from 'node:zlib'
import type { CarryStatus } from './backout.ts'

/** The columns of each table that v1.2.9 knows; v1.3.0 calls `orders.total` otherwise. */
const TABLES = {
  products: ['sku', 'name', 'price'],
  users: ['id', 'email', 'password', 'created_at'],
  orders: ['id', 'user_id', 'sku', 'qty', 'total', 'status', 'created_at'],
  payments: ['id', 'order_id', 'amount', 'paid_at'],
} as const
const RENAMED: Readonly<Record<string, string>> = { total: 'total_cents' }

/** The same database at three moments, as files that the demo copied itself. */
export interface Moments {
  /** When the release began: what was backed up. */
  readonly released: string
  /** Just before going back, on the schema of v1.3.0. */
  readonly before: string
  /** After the restore, with what was carried forward. */
  readonly restored: string
}

export interface Discount {
  readonly id: number
  readonly discount: number
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
export function countRows({ released, before, restored }: Moments): Counted {
  const db = new DatabaseSync(restored, { readOnly: true })
  try {
    db.prepare('ATTACH ? AS released').run(released)
    db.prepare('ATTACH ? AS before').run(before)
    const count = (sql: string) => Number(db.prepare(`SELECT count(*) AS n FROM (${sql})`).get()?.n)
    const less = (a: string, b: string) => count(`${a} EXCEPT ${b}`)
    const names = Object.keys(TABLES) as (keyof typeof TABLES)[]
    const differing = names.map(
      t => less(rows('before', t), rows('main', t)) + less(rows('main', t), rows('before', t)),
    )
    const level = (of: string) =>
      `SELECT type, name, sql FROM ${of}.sqlite_schema UNION ALL SELECT 'migration', version, '' FROM ${of}.schema_migrations`
    const orders = db.prepare('SELECT id, total FROM orders').all() as { id: number; total: number }[]
    return {
      written: Object.fromEntries(names.map(t => [t, less(rows('before', t), rows('released', t))])),
      differing: differing.reduce((sum, n) => sum + n, 0),
      schemaMissing: less(`SELECT * FROM (${level('released')})`, `SELECT * FROM (${level('main')})`),
      discounts: db
        .prepare('SELECT id, discount FROM before.orders WHERE discount IS NOT NULL ORDER BY id')
        .all() as unknown as Discount[],
      orders: new Map(orders.map(({ id, total }) => [id, { total }])),
    }
  } finally {
    db.close()
  }
}

function rows(of: 'main' | 'released' | 'before', table: keyof typeof TABLES): string {
  const columns = TABLES[table].map(c => (of === 'before' ? (RENAMED[c] ?? c) : c))
  return `SELECT ${columns.join(', ')} FROM ${of}.${table}`
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

/** Every value of a column that had no place in the old schema: `orders.discount` is the only one of v1.3.0. */
async function archivedIn(folder: string): Promise<Discount[]> {
  const files = (await readdir(folder)).filter(name => name.startsWith('columns-'))
  const texts = await Promise.all(files.map(async name => zstdDecompressSync(await readFile(join(folder, name)))))
  const lines = texts.flatMap(text => text.toString('utf8').split('\n')).filter(line => line !== '')
  return lines
    .map(line => JSON.parse(line) as Line)
    .map(({ key, values }) => ({ id: Number(key.id), discount: Number(values.discount) }))
}
