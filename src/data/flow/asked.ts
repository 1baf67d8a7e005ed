import { BackoutError } from '../../core/errors.ts'
import type { Reader } from '../engine.ts'

/**
 * The first number of a query that may fail, as where it names what is not there any more; null: it cannot be asked. Throws
 * where it was the database, not the query: busy, gone, full.
 */
export async function askedNumber(db: Reader, sql: string): Promise<number | null> {
  // A statement that fails would end the snapshot of some systems with it.
  await db.query('SAVEPOINT backout_asked')
  const answer = await db.query(sql).catch((error: unknown) => {
    if (error instanceof BackoutError && error.code !== 'database_failed') throw error
    return null
  })
  // Where the connection itself is gone this fails too, and says so.
  if (answer === null) await db.query('ROLLBACK TO SAVEPOINT backout_asked')
  await db.query('RELEASE SAVEPOINT backout_asked')
  return answer === null ? null : Number(Object.values(answer[0] ?? {})[0] ?? 0)
}
