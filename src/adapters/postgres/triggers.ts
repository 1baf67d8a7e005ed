import { OWN, quote } from './names.ts'
import type { Session } from './session.ts'

/** A trigger that fires, and that this role may switch off: SQL names. */
export interface Firing {
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

const OWNED = `SELECT format('%I.%I', n.nspname, c.relname) AS table, t.tgname AS trigger
  FROM ${ON_TABLES} WHERE ${FIRES} AND n.nspname !~ '^pg_' AND n.nspname !~ '^${OWN}' AND pg_has_role(c.relowner, 'USAGE')
  ORDER BY 1, 2`

export async function firingOf(session: Session): Promise<Firing[]> {
  const rows = await session.query(OWNED)
  return rows.map(row => ({ table: String(row['table']), trigger: quote(String(row['trigger'])) }))
}

/** Statements that keep them quiet in this transaction. Nobody else ever sees them switched off, but waits to write there. */
export function silencing(firing: readonly Firing[]): string[] {
  return firing.map(each => altering(each, 'DISABLE'))
}

/** Statements that end that. What waits for the end of the transaction is looked at before: until then the table is in use. */
export function firingAgain(firing: readonly Firing[]): string[] {
  if (firing.length === 0) return []
  return ['SET CONSTRAINTS ALL IMMEDIATE', ...firing.map(each => altering(each, 'ENABLE'))]
}

function altering({ table, trigger }: Firing, how: 'ENABLE' | 'DISABLE'): string {
  return `ALTER TABLE ONLY ${table} ${how} TRIGGER ${trigger}`
}
