import { DatabaseSync } from 'node:sqlite'
import type { Connected, Database, Row } from '../database.ts'

const BUSY_MS = 5000
/** SQLITE_CONSTRAINT_UNIQUE */
const UNIQUE = 2067

export function openSqlite(path: string): Connected {
  const db = new DatabaseSync(path, { timeout: BUSY_MS })
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON')
  const inside: Database = {
    all: async (sql, values = []) => db.prepare(sql).all(...values) as Row[],
    run: async (sql, values = []) => Number(db.prepare(sql).run(...values).changes),
  }
  // One connection: what is asked in the middle of a transaction waits until it has ended.
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work)
    last = turn.catch(() => {})
    return turn
  }
  const whole = async <T>(work: (db: Database) => Promise<T>): Promise<T> => {
    db.exec('BEGIN IMMEDIATE')
    try {
      const result = await work(inside)
      db.exec('COMMIT')
      return result
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      throw error
    }
  }
  return {
    all: (sql, values) => inTurn(() => inside.all(sql, values)),
    run: (sql, values) => inTurn(() => inside.run(sql, values)),
    transaction: work => inTurn(() => whole(work)),
    isTaken: error => (error as { errcode?: number }).errcode === UNIQUE,
    close: () => inTurn(async () => db.close()),
  }
}
