import { type Connected, type Database, insertWithin, openDatabase } from '../app/common/database.ts'
import type { Paths } from './paths.ts'
import { run } from './run.ts'
import type { Store } from './store.ts'

const PRODUCTS = [
  ['beans', 'Coffee beans, 1 kg', 1890],
  ['cup', 'Cup', 750],
  ['filter', 'Paper filters, 100', 495],
  ['grinder', 'Hand grinder', 5900],
  ['kettle', 'Kettle', 3450],
  ['tea', 'Green tea, 100 g', 1235],
] as const
const OLD_USERS = 50
const OLD_ORDERS = 400

/** An order as it stands in the database, whatever the schema's level. */
export interface StoredOrder {
  readonly id: number
  readonly total: number
  readonly status: string
}

export interface Discount {
  readonly id: number
  readonly discount: number
}

/** The migration tool's command; run it in the folder of the release whose migrations are meant, with DATABASE_URL. */
export function dbmateArgv(paths: Paths, store: Store, ...verb: string[]): string[] {
  return [paths.dbmate, ...store.dbmate, '--migrations-dir', 'db/migrations', '--no-dump-schema', ...verb]
}

export async function dbmate(paths: Paths, store: Store, releaseFolder: string, ...verb: string[]): Promise<string> {
  return run(dbmateArgv(paths, store, ...verb), releaseFolder, { DATABASE_URL: store.url() })
}

/** Opens the database, or a copy of it, for as long as somebody looks. */
export async function reading<T>(store: Store, ask: (db: Connected) => Promise<T>, copy?: string): Promise<T> {
  const db = await openDatabase(store.url(copy))
  try {
    return await ask(db)
  } finally {
    await db.close()
  }
}

/** Products, and users and orders of earlier days. */
export function seed(store: Store): Promise<void> {
  return reading(store, db => db.transaction(fill))
}

async function fill(db: Database): Promise<void> {
  for (const values of PRODUCTS) await db.run('INSERT INTO products (sku, name, price) VALUES (?, ?, ?)', values)
  const users: number[] = []
  for (let i = 0; i < OLD_USERS; i += 1) {
    const user = `INSERT INTO users (email, password, created_at) VALUES (?, 'none', ?)`
    users.push(await insertWithin(db, user, [`regular-${i}@example.test`, dayOf(i)]))
  }
  for (let i = 0; i < OLD_ORDERS; i += 1) {
    const [sku, , price] = PRODUCTS[i % PRODUCTS.length] ?? PRODUCTS[0]
    const qty = 1 + (i % 3)
    const total = price * qty + Math.floor((price * qty * 8 + 50) / 100)
    const order = `INSERT INTO orders (user_id, sku, qty, total, status, created_at) VALUES (?, ?, ?, ?, 'paid', ?)`
    const id = await insertWithin(db, order, [users[i % OLD_USERS] ?? 0, sku, qty, total, dayOf(i)])
    await db.run('INSERT INTO payments (order_id, amount, paid_at) VALUES (?, ?, ?)', [id, total, dayOf(i)])
  }
}

export function ordersIn(store: Store, copy?: string): Promise<StoredOrder[]> {
  const ask = async (db: Database) => {
    const total = (await has(db, 'total_cents')) ? 'total_cents' : 'total'
    const rows = await db.all(`SELECT id, ${total} AS total, status FROM orders ORDER BY id`)
    return rows as unknown as StoredOrder[]
  }
  return reading(store, ask, copy)
}

/** Every discount that was given; none where the schema has no place for them. */
export function discountsIn(store: Store, copy?: string): Promise<Discount[]> {
  const ask = async (db: Database) => {
    if (!(await has(db, 'discount'))) return []
    return db.all('SELECT id, discount FROM orders WHERE discount IS NOT NULL ORDER BY id') as Promise<unknown>
  }
  return reading(store, ask, copy) as Promise<Discount[]>
}

/** Migrations applied, oldest first. */
export function migrationsIn(store: Store): Promise<string[]> {
  return reading(store, async db => {
    const rows = await db.all('SELECT version FROM schema_migrations ORDER BY version')
    return rows.map(row => String(row.version))
  })
}

/** Whether orders have this column. */
async function has(db: Database, column: string): Promise<boolean> {
  const [first] = await db.all('SELECT * FROM orders LIMIT 1')
  if (first === undefined) throw new Error('there is no order, which tells what columns orders have')
  return column in first
}

function dayOf(i: number): string {
  return new Date(Date.UTC(2025, 0, 1 + (i % 300))).toISOString()
}
