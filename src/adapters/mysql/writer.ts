import { BackoutError } from '../../core/errors.ts'
import { afterDeadlocks } from '../../data/deadlock.ts'
import type { Job, Row, Writer } from '../../data/engine.ts'
import { dialect } from './dialect.ts'
import { codeOf } from './errors.ts'
import { CARRIES } from './guard.ts'
import { text } from './names.ts'
import type { Session } from './session.ts'

/**
 * By these the server takes a whole transaction back: a deadlock, and a row that was changed since the transaction first looked,
 * which MariaDB minds from 11.6 on, and before where `innodb_snapshot_isolation` is on.
 */
const TAKEN_BACK = [1213, 1020]

/** Transactions of one session. */
export class SessionWriter implements Writer {
  readonly #db: Session
  readonly #job: Job

  constructor(db: Session, job: Job) {
    this.#db = db
    this.#job = job
  }

  query(sql: string): Promise<Row[]> {
    return this.#db.query(sql)
  }

  run(sql: string): Promise<number> {
    return this.#db.run(sql)
  }

  transaction<T>(work: () => Promise<T>): Promise<T> {
    return afterDeadlocks(
      error => TAKEN_BACK.includes(numberOf(error)),
      () => this.#once(work),
    )
  }

  async #once<T>(work: () => Promise<T>): Promise<T> {
    this.#job.guard()
    await this.#db.run(`SET ${CARRIES} = 1`)
    for (const sql of dialect.quiet.on) await this.#db.run(sql)
    await this.#db.run('START TRANSACTION')
    try {
      const answer = await work()
      this.#job.guard()
      await this.#db.run('COMMIT')
      return answer
    } catch (error) {
      await this.#db.run('ROLLBACK').catch(() => {})
      throw error
    }
  }

  /** What was taken back whole is no answer. */
  async savepoint(work: () => Promise<void>): Promise<unknown> {
    await this.#db.run('SAVEPOINT backout_part')
    try {
      await work()
      await this.#db.run('RELEASE SAVEPOINT backout_part')
      return null
    } catch (error) {
      if (TAKEN_BACK.includes(numberOf(error))) throw error
      await this.#db.run('ROLLBACK TO SAVEPOINT backout_part')
      return error
    }
  }
}

/**
 * What one statement reads and writes elsewhere would be locked row by row, in ours too. A log of statements needs that: there
 * the server refuses this level.
 */
export async function lockLess(db: Session): Promise<void> {
  const rows = await db.query("SHOW SESSION VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')")
  const { log_bin: logs, binlog_format: format } = Object.fromEntries(
    rows.map(row => [text(row['Variable_name']), text(row['Value'])]),
  )
  if (logs === 'ON' && format === 'STATEMENT') return
  await db.run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
}

/** Of the server's error, also where it was explained; 0: it is none of the server's. */
export function numberOf(error: unknown): number {
  const code = codeOf(error instanceof BackoutError ? error.cause : error)
  return typeof code === 'number' ? code : 0
}
