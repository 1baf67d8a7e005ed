import { DatabaseSync, type SQLInputValue } from 'node:sqlite'

type Done = (this: { lastID: number; changes: number }, error: Error | null, rows?: unknown[]) => void

export const OPEN_READWRITE = 2
export const OPEN_CREATE = 4

/** The part of sqlite3's interface that Sequelize uses, on the SQLite that Node brings: nothing is compiled. */
export class Database {
  readonly #db: DatabaseSync
  readonly filename: string

  constructor(path: string, _mode: number, done: (error: Error | null) => void) {
    this.filename = path
    this.#db = new DatabaseSync(path, { timeout: 2000 })
    setImmediate(done, null)
  }

  serialize(work: () => void): void {
    work()
  }

  run(sql: string, ...more: unknown[]): this {
    return this.#ask(sql, more, false)
  }

  all(sql: string, ...more: unknown[]): this {
    return this.#ask(sql, more, true)
  }

  exec(sql: string, ...more: unknown[]): this {
    this.#db.exec(sql)
    const done = more.at(-1) as Done | undefined
    setImmediate(() => done?.call({ lastID: 0, changes: 0 }, null))
    return this
  }

  close(done?: (error: Error | null) => void): void {
    this.#db.close()
    if (done !== undefined) setImmediate(done, null)
  }

  #ask(sql: string, more: readonly unknown[], rows: boolean): this {
    const done = typeof more.at(-1) === 'function' ? (more.at(-1) as Done) : undefined
    const [values = []] = more.filter(each => each !== done && each !== undefined)
    const context = { lastID: 0, changes: 0 }
    let error: Error | null = null
    let found: unknown[] | undefined
    try {
      const statement = this.#db.prepare(sql)
      const given = Array.isArray(values) ? (values as SQLInputValue[]) : [values as Record<string, SQLInputValue>]
      if (rows) found = statement.all(...(given as SQLInputValue[]))
      else {
        const { lastInsertRowid, changes } = statement.run(...(given as SQLInputValue[]))
        Object.assign(context, { lastID: Number(lastInsertRowid), changes: Number(changes) })
      }
    } catch (thrown) {
      error = thrown as Error
    }
    setImmediate(() => done?.call(context, error, found))
    return this
  }
}
