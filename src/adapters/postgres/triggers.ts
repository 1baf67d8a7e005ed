import { type Verb, writtenBy } from './written.ts'
import { OWN, quote } from './names.ts'
import type { Session } from './session.ts'

/** A trigger that fires, and that this role may switch off: SQL names. */
interface Firing {
  readonly table: string
  readonly trigger: string
}

/** Those of the application that fire as they do at first: not those that were switched off, or told to fire always. */
const FIRES = `NOT t.tgisinternal AND t.tgenabled = 'O' AND c.relkind IN ('r', 'p')`

const ON_TABLES = `pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace`

/** Tables of which this role cannot switch triggers off, as a query; `ours`: which schemas count. */
export const unowned = (ours: string) =>
  `SELECT DISTINCT format('%I.%I', n.nspname, c.relname) FROM ${ON_TABLES}
   WHERE ${FIRES} AND ${ours} AND NOT pg_has_role(c.relowner, 'USAGE')`

/** What the rows of a statement may lead to in other tables: parts of a table, and what foreign keys do by themselves. */
const REACHED = `WITH RECURSIVE reached(rel, verb) AS (
    SELECT to_regclass($1)::oid, $2
  UNION
    SELECT x.rel, x.verb FROM reached AS r CROSS JOIN LATERAL (
      SELECT i.inhrelid AS rel, r.verb AS verb FROM pg_inherits i WHERE i.inhparent = r.rel
      UNION ALL
      -- A row that moves into another part is taken out of the one and put into the other.
      SELECT r.rel, 'delete' FROM pg_class c WHERE c.oid = r.rel AND c.relkind = 'p' AND r.verb = 'update'
      UNION ALL
      SELECT k.conrelid, CASE WHEN r.verb = 'delete' AND k.confdeltype = 'c' THEN 'delete' ELSE 'update' END FROM pg_constraint k
      WHERE k.contype = 'f' AND k.confrelid = r.rel
        AND CASE r.verb WHEN 'delete' THEN k.confdeltype WHEN 'update' THEN k.confupdtype END IN ('c', 'n', 'd')
    ) AS x)`

/** That the application's own code runs all the same, which may write anywhere: it cannot be switched off. */
const LOUD = `EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgrelid IN (SELECT rel FROM reached)
    AND NOT t.tgisinternal AND (t.tgenabled = 'A' OR (t.tgenabled = 'O' AND NOT pg_has_role(c.relowner, 'USAGE'))))
  OR EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class IN (SELECT rel FROM reached))
  OR EXISTS (SELECT FROM reached WHERE rel IS NULL)`

const OWNED = `SELECT format('%I.%I', n.nspname, c.relname) AS table, t.tgname AS trigger
  FROM ${ON_TABLES} WHERE ${FIRES} AND n.nspname !~ '^pg_' AND n.nspname !~ '^${OWN}' AND pg_has_role(c.relowner, 'USAGE')`

const SORTED = 'ORDER BY 1, 2'

/**
 * Keeps the application's triggers quiet within a transaction, of those tables only that it writes to: nobody else ever sees
 * them switched off, but waits to write there.
 */
export class Silence {
  readonly #session: Session
  /** What a statement may fire, by table and verb. */
  readonly #known = new Map<string, readonly Firing[]>()
  #all: readonly Firing[] | null = null
  #off: readonly Firing[] = []

  constructor(session: Session) {
    this.#session = session
  }

  /** Nothing is switched off in a transaction that begins. */
  begin(): void {
    this.#off = []
  }

  /** What is switched off right now. Where a savepoint is taken back, so is what was switched off since: `backTo`. */
  get off(): readonly Firing[] {
    return this.#off
  }

  backTo(off: readonly Firing[]): void {
    this.#off = off
  }

  /** Switches off what a statement would fire, before it runs. */
  async before(sql: string): Promise<void> {
    const written = writtenBy(sql)
    if (written === null) return
    const firing = written === 'anything' ? await this.#everything() : await this.#firedBy(written.table, written.verb)
    const more = firing.filter(f => !this.#off.some(o => o.table === f.table && o.trigger === f.trigger))
    if (more.length === 0) return
    await this.#session.query(more.map(each => altering(each, 'DISABLE')).join('; '))
    this.#off = [...this.#off, ...more]
  }

  /** Statements that end it. What waits for the end of the transaction is looked at before: until then the table is in use. */
  get end(): string[] {
    if (this.#off.length === 0) return []
    return ['SET CONSTRAINTS ALL IMMEDIATE', ...this.#off.map(each => altering(each, 'ENABLE'))]
  }

  async #firedBy(table: string, verb: Verb): Promise<readonly Firing[]> {
    const key = `${verb} ${table}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const [row] = await this.#session.query(`${REACHED} SELECT ${LOUD} AS loud`, [table, verb])
    const firing =
      row?.['loud'] === true
        ? await this.#everything()
        : firingIn(
            await this.#session.query(`${REACHED} ${OWNED} AND c.oid IN (SELECT rel FROM reached) ${SORTED}`, [
              table,
              verb,
            ]),
          )
    this.#known.set(key, firing)
    return firing
  }

  async #everything(): Promise<readonly Firing[]> {
    this.#all ??= firingIn(await this.#session.query(`${OWNED} ${SORTED}`))
    return this.#all
  }
}

function firingIn(rows: readonly Readonly<Record<string, unknown>>[]): Firing[] {
  return rows.map(row => ({ table: String(row['table']), trigger: quote(String(row['trigger'])) }))
}

function altering({ table, trigger }: Firing, how: 'ENABLE' | 'DISABLE'): string {
  return `ALTER TABLE ONLY ${table} ${how} TRIGGER ${trigger}`
}
