import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'

/** The part of better-sqlite3's interface that migration tools use, on the SQLite that Node brings: nothing is compiled. */
class Statement {
  readonly #statement: StatementSync
  readonly reader: boolean

  constructor(statement: StatementSync) {
    this.#statement = statement
    this.reader = statement.columns().length > 0
  }

  all(...values: SQLInputValue[]) {
    return this.#statement.all(...values.flat())
  }

  get(...values: SQLInputValue[]) {
    return this.#statement.get(...values.flat())
  }

  run(...values: SQLInputValue[]) {
    return this.#statement.run(...values.flat())
  }
}

export default class Database {
  readonly #db: DatabaseSync

  constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 2000 })
  }

  prepare(sql: string): Statement {
    return new Statement(this.#db.prepare(sql))
  }

  exec(sql: string): void {
    this.#db.exec(sql)
  }

  pragma(text: string): unknown[] {
    return this.#db.prepare(`PRAGMA ${text}`).all()
  }

  close(): void {
    this.#db.close()
  }
}
