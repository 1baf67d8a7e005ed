export type Value = string | number | null
export type Row = Readonly<Record<string, Value>>

/** SQL with `?` for values, as every database of the shop understands it. */
export interface Database {
  all(sql: string, values?: readonly Value[]): Promise<Row[]>
  /** How many rows it touched. */
  run(sql: string, values?: readonly Value[]): Promise<number>
}

export interface Connected extends Database {
  /** All of it or nothing, and one at a time over all instances of the shop. */
  transaction<T>(work: (db: Database) => Promise<T>): Promise<T>
  /** Whether the database refused it because there is such a row already. */
  isTaken(error: unknown): boolean
  close(): Promise<void>
}

/** By its URL: `sqlite:PATH`, `postgres://…` or `mysql://…`. A driver is loaded where it is used only. */
export async function openDatabase(url: string): Promise<Connected> {
  const scheme = url.slice(0, url.indexOf(':'))
  if (scheme === 'sqlite') return (await import('./database/sqlite.ts')).openSqlite(url.slice('sqlite:'.length))
  if (scheme === 'postgres') return (await import('./database/postgres.ts')).openPostgres(url)
  if (scheme === 'mysql') return (await import('./database/mysql.ts')).openMysql(url)
  throw new Error(`there is no database of the kind "${scheme}"`)
}

/** The number of a new row; null where there is such a row already. */
export async function insert(db: Connected, sql: string, values: readonly Value[]): Promise<number | null> {
  try {
    return await insertWithin(db, sql, values)
  } catch (error) {
    if (db.isTaken(error)) return null
    throw error
  }
}

/** The same as part of a transaction, which fails where there is such a row already. */
export async function insertWithin(db: Database, sql: string, values: readonly Value[]): Promise<number> {
  const [row] = await db.all(`${sql} RETURNING id`, values)
  return Number(row?.id)
}
