import { Pool, types } from 'pg'
import type { Connected, Database, Row, Value } from '../database.ts'

const CONNECTIONS = 4
/** Any number that nobody else in the database locks. */
const SHOP_LOCK = 7_463
const UNIQUE = '23505'
interface Asked {
  query(sql: string, values: Value[]): Promise<{ rows: unknown[]; rowCount: number | null }>
}

export function openPostgres(url: string): Connected {
  // Counts and sums are whole numbers that a number of JavaScript holds.
  for (const type of [types.builtins.INT8, types.builtins.NUMERIC]) types.setTypeParser(type, Number)
  const pool = new Pool({ connectionString: url, max: CONNECTIONS })
  // An idle connection that breaks is replaced by the next one; whoever asks meanwhile is told.
  pool.on('error', () => {})
  return {
    ...within(pool),
    async transaction(work) {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        await client.query(`SELECT pg_advisory_xact_lock(${SHOP_LOCK})`)
        const result = await work(within(client))
        await client.query('COMMIT')
        client.release()
        return result
      } catch (error) {
        // What is open on it ends with the connection.
        client.release(true)
        throw error
      }
    },
    isTaken: error => (error as { code?: string }).code === UNIQUE,
    close: () => pool.end(),
  }
}

function within(asked: Asked): Database {
  const query = (sql: string, values: readonly Value[] = []) => {
    let n = 0
    return asked.query(
      sql.replaceAll('?', () => `$${(n += 1)}`),
      [...values],
    )
  }
  return {
    all: async (sql, values) => (await query(sql, values)).rows as Row[],
    run: async (sql, values) => (await query(sql, values)).rowCount ?? 0,
  }
}
