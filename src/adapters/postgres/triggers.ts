import { OWN, quote } from './names.ts'
import type { Session } from './session.ts'
import { type Verb, writtenBy } from './written.ts'

/** A trigger or a rule that fires, and that this role may switch off: SQL names. */
interface Firing {
  readonly table: string
  readonly kind: 'TRIGGER' | 'RULE'
  readonly name: string
  /** How it is switched on again as it was: `ENABLE`, `ENABLE ALWAYS`, `ENABLE REPLICA`. */
  readonly on: string
}

/**
 * Which of the application's fire: in a session whose triggers are quiet those that were told to fire always or for replicas,
 * in others those that fire as they do at first or always.
 */
const states = (quiet: boolean) => (quiet ? `('A', 'R')` : `('O', 'A')`)

const fires = (quiet: boolean) => `NOT t.tgisinternal AND t.tgenabled IN ${states(quiet)} AND c.relkind IN ('r', 'p')`

const ON_TABLES = `pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace`

/** Tables of which this role cannot switch triggers off, as a query; `ours`: which schemas count. */
export const unowned = (ours: string) =>
  `SELECT DISTINCT format('%I.%I', n.nspname, c.relname) FROM ${ON_TABLES}
   WHERE ${fires(false)} AND ${ours} AND NOT pg_has_role(c.relowner, 'USAGE')`

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

/** That the application's own code runs all the same, which may write anywhere: this role cannot switch it off. */
const loud = (quiet: boolean) => `EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE t.tgrelid IN (SELECT rel FROM reached) AND NOT t.tgisinternal AND t.tgenabled IN ${states(quiet)} AND NOT pg_has_role(c.relowner, 'USAGE'))
  OR EXISTS (SELECT FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
    WHERE w.ev_class IN (SELECT rel FROM reached) AND w.ev_enabled IN ${states(quiet)} AND NOT pg_has_role(c.relowner, 'USAGE'))
  OR EXISTS (SELECT FROM reached WHERE rel IS NULL)`

const SWITCHED = (state: string) =>
  `'ENABLE' || CASE ${state} WHEN 'A' THEN ' ALWAYS' WHEN 'R' THEN ' REPLICA' ELSE '' END AS on`

/** `among`: which tables, as a condition on `c`. */
const owned = (quiet: boolean, among = 'true') => {
  const own = `n.nspname !~ '^pg_' AND n.nspname !~ '^${OWN}' AND n.nspname <> 'information_schema' AND pg_has_role(c.relowner, 'USAGE') AND ${among}`
  return `SELECT format('%I.%I', n.nspname, c.relname) AS table, 'TRIGGER' AS kind, t.tgname AS name, ${SWITCHED('t.tgenabled')}
    FROM ${ON_TABLES} WHERE ${fires(quiet)} AND ${own}
  UNION ALL SELECT format('%I.%I', n.nspname, c.relname), 'RULE', w.rulename, ${SWITCHED('w.ev_enabled')}
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE w.ev_enabled IN ${states(quiet)} AND c.relkind IN ('r', 'p') AND ${own}`
}

const SORTED = 'ORDER BY 1, 2, 3'

/** Whether any of a table that is another's fires, so that this role cannot switch it off: as a query. */
const foreign = (quiet: boolean) => {
  const others = `n.nspname !~ '^pg_' AND n.nspname !~ '^${OWN}' AND n.nspname <> 'information_schema' AND NOT pg_has_role(c.relowner, 'USAGE')`
  return `SELECT EXISTS (SELECT FROM ${ON_TABLES} WHERE NOT t.tgisinternal AND t.tgenabled IN ${states(quiet)} AND ${others})
    OR EXISTS (SELECT FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE w.ev_enabled IN ${states(quiet)} AND c.relkind IN ('r', 'p') AND ${others}) AS fires`
}

/** Whether any fires although triggers are quiet, as a query. */
export const FIRES_QUIET = `SELECT EXISTS (${owned(true)})`

/**
 * Keeps the application's triggers and rules quiet within a transaction, of those tables only that it writes to: nobody else ever sees
 * them switched off, but waits to write there.
 */
export class Silence {
  readonly #session: Session
  readonly #quiet: boolean
  /** What a statement may fire, by table and verb. */
  readonly #known = new Map<string, readonly Firing[]>()
  #all: readonly Firing[] | null = null
  #off: readonly Firing[] = []

  /** `quiet`: the session keeps those that fire as they do at first quiet by itself. */
  constructor(session: Session, quiet: boolean) {
    this.#session = session
    this.#quiet = quiet
  }

  /** Something may fire all the same. */
  async fails(): Promise<boolean> {
    const [row] = await this.#session.query(foreign(this.#quiet))
    return row?.['fires'] !== false
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
    const more = firing.filter(f => !this.#off.some(o => isSame(o, f)))
    if (more.length === 0) return
    await this.#session.query(more.map(each => altering(each, 'DISABLE')).join('; '))
    this.#off = [...this.#off, ...more]
  }

  /** Statements that end it. What waits for the end of the transaction is looked at before: until then the table is in use. */
  get end(): string[] {
    if (this.#off.length === 0) return []
    return ['SET CONSTRAINTS ALL IMMEDIATE', ...this.#off.map(each => altering(each, each.on))]
  }

  async #firedBy(table: string, verb: Verb): Promise<readonly Firing[]> {
    const key = `${verb} ${table}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const [row] = await this.#session.query(`${REACHED} SELECT ${loud(this.#quiet)} AS loud`, [table, verb])
    const firing =
      row?.['loud'] === true
        ? await this.#everything()
        : firingIn(
            await this.#session.query(
              `${REACHED} ${owned(this.#quiet, 'c.oid IN (SELECT rel FROM reached)')} ${SORTED}`,
              [table, verb],
            ),
          )
    this.#known.set(key, firing)
    return firing
  }

  async #everything(): Promise<readonly Firing[]> {
    this.#all ??= firingIn(await this.#session.query(`${owned(this.#quiet)} ${SORTED}`))
    return this.#all
  }
}

function isSame(a: Firing, b: Firing): boolean {
  return a.table === b.table && a.kind === b.kind && a.name === b.name
}

function firingIn(rows: readonly Readonly<Record<string, unknown>>[]): Firing[] {
  return rows.map(row => ({
    table: String(row['table']),
    kind: row['kind'] === 'RULE' ? 'RULE' : 'TRIGGER',
    name: quote(String(row['name'])),
    on: String(row['on']),
  }))
}

function altering({ table, kind, name }: Firing, how: string): string {
  return `ALTER TABLE ONLY ${table} ${how} ${kind} ${name}`
}
