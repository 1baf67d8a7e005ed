import type { Reader } from '../engine.ts'

/** The first number of a query that may fail, as where it names what is not there any more; null: it cannot be asked. */
export async function askedNumber(db: Reader, sql: string): Promise<number | null> {
  // A statement that fails would end the snapshot of some systems with it.
  await db.query('SAVEPOINT backout_asked')
  const rows = await db.query(sql).catch(() => null)
  // Where the connection itself is gone this fails too, and says so.
  if (rows === null) await db.query('ROLLBACK TO SAVEPOINT backout_asked')
  await db.query('RELEASE SAVEPOINT backout_asked')
  return rows === null ? null : Number(Object.values(rows[0] ?? {})[0] ?? 0)
}
