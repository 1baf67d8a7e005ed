import { copyFile, rename } from 'node:fs/promises'
import { backup, DatabaseSync } from 'node:sqlite'
import type { Paths } from './paths.ts'
import { run } from './run.ts'

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

/** The migration tool's command for this world's database; run it in the folder of the release whose migrations are meant. */
export function dbmateArgv(paths: Paths, ...verb: string[]): string[] {
  const options = ['--url', `sqlite:${paths.database}`, '--migrations-dir', 'db/migrations', '--no-dump-schema']
  return [paths.dbmate, ...options, ...verb]
}

export async function dbmate(paths: Paths, releaseFolder: string, ...verb: string[]): Promise<string> {
  return run(dbmateArgv(paths, ...verb), releaseFolder)
}

/** Products, and users and orders of earlier days. */
export function seed(paths: Paths): void {
  const db = new DatabaseSync(paths.database)
  try {
    db.exec('PRAGMA journal_mode = WAL; BEGIN')
    const product = db.prepare('INSERT INTO products (sku, name, price) VALUES (?, ?, ?)')
    for (const values of PRODUCTS) product.run(...values)
    const user = db.prepare(`INSERT INTO users (email, password, created_at) VALUES (?, 'none', ?)`)
    for (let i = 0; i < OLD_USERS; i += 1) user.run(`regular-${i}@example.test`, dayOf(i))
    const order = db.prepare(
      `INSERT INTO orders (user_id, sku, qty, total, status, created_at) VALUES (?, ?, ?, ?, 'paid', ?)`,
    )
    const payment = db.prepare('INSERT INTO payments (order_id, amount, paid_at) VALUES (?, ?, ?)')
    for (let i = 0; i < OLD_ORDERS; i += 1) {
      const [sku, , price] = PRODUCTS[i % PRODUCTS.length] ?? PRODUCTS[0]
      const qty = 1 + (i % 3)
      const total = price * qty + Math.floor((price * qty * 8 + 50) / 100)
      const { lastInsertRowid } = order.run(1 + (i % OLD_USERS), sku, qty, total, dayOf(i))
      payment.run(lastInsertRowid, total, dayOf(i))
    }
    db.exec('COMMIT')
  } finally {
    db.close()
  }
}

export function ordersIn(paths: Paths): StoredOrder[] {
  return read(paths, db => {
    const total = columnsOf(db, 'orders').includes('total_cents') ? 'total_cents' : 'total'
    return db.prepare(`SELECT id, ${total} AS total, status FROM orders ORDER BY id`).all() as unknown as StoredOrder[]
  })
}

/** Every discount that was given; none where the schema has no place for them. */
export function discountsIn(paths: Paths): { id: number; discount: number }[] {
  return read(paths, db => {
    if (!columnsOf(db, 'orders').includes('discount')) return []
    const given = db.prepare('SELECT id, discount FROM orders WHERE discount IS NOT NULL ORDER BY id')
    return given.all() as { id: number; discount: number }[]
  })
}

/** Migrations applied, oldest first. */
export function migrationsIn(paths: Paths): string[] {
  return read(paths, db =>
    db
      .prepare('SELECT version FROM schema_migrations ORDER BY version')
      .all()
      .map(row => String(row.version)),
  )
}

/** Writes the database as it is at one moment into a file of its own. */
export async function copyDatabase(paths: Paths, to: string): Promise<void> {
  const db = new DatabaseSync(paths.database, { readOnly: true, timeout: 5000 })
  try {
    await backup(db, to)
  } finally {
    db.close()
  }
}

/** Puts a copy in the place of the database, which is kept as `aside`. Nobody may have it open. */
export async function putDatabase(paths: Paths, copy: string, aside: string): Promise<void> {
  for (const end of ['-wal', '-shm', '']) {
    await rename(`${paths.database}${end}`, `${aside}${end}`).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' || end === '') throw error
    })
  }
  await copyFile(copy, paths.database)
}

function read<T>(paths: Paths, ask: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(paths.database, { readOnly: true, timeout: 5000 })
  try {
    return ask(db)
  } finally {
    db.close()
  }
}

function columnsOf(db: DatabaseSync, table: string): string[] {
  return db
    .prepare('SELECT name FROM pragma_table_info(?)')
    .all(table)
    .map(row => String(row.name))
}

function dayOf(i: number): string {
  return new Date(Date.UTC(2025, 0, 1 + (i % 300))).toISOString()
}
