import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'

/** Writes without being asked, as a timer or a queue's consumer does. */
const pool = new Pool({ connectionString: process.env['DATABASE_URL'] ?? '', max: 1 })
pool.on('error', () => {})
process.once('SIGTERM', () => process.exit())
for (;;) {
  await pool.query('INSERT INTO ticks DEFAULT VALUES').catch(() => {})
  await sleep(200)
}
