import { createPool, type ResultSetHeader } from 'mysql2/promise'
import type { Connected, Database, Row, Value } from '../database.ts'

const CONNECTIONS = 4
const SHOP_LOCK = `'shop'`
const LOCK_SECONDS = 10
/** ER_DUP_ENTRY */
const UNIQUE = 1062

interface Asked {
  query(sql: string, values: Value[]): Promise<[unknown, unknown]>
}

/** MariaDB: rows that are inserted are given back, which MySQL does not do. */
export function openMysql(uri: string): Connected {
  const pool = createPool({ uri, connectionLimit: CONNECTIONS, decimalNumbers: true })
  return {
    ...within(pool),
    async transaction(work) {
      const link = await pool.getConnection()
      try {
        await link.query(`SELECT GET_LOCK(${SHOP_LOCK}, ${LOCK_SECONDS})`)
        await link.beginTransaction()
        const result = await work(within(link))
        await link.commit()
        await link.query(`SELECT RELEASE_LOCK(${SHOP_LOCK})`)
        link.release()
        return result
      } catch (error) {
        // What is open on it, the lock too, ends with the connection.
        link.destroy()
        throw error
      }
    },
    isTaken: error => (error as { errno?: number }).errno === UNIQUE,
    close: () => pool.end(),
  }
}

function within(asked: Asked): Database {
  return {
    all: async (sql, values = []) => (await asked.query(sql, [...values]))[0] as Row[],
    run: async (sql, values = []) => ((await asked.query(sql, [...values]))[0] as ResultSetHeader).affectedRows,
  }
}
