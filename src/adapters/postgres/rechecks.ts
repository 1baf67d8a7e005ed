import { OWN, quote } from './names.ts'
import type { Session } from './session.ts'

/**
 * A trigger by which the server checks a unique or an exclusion constraint that may be deferred, or a reference to a time
 * (PERIOD), which no comparison of columns tells. It stays quiet with all others in a transaction of
 * `session_replication_role = replica`, unless it is told to speak always.
 */
export interface Recheck {
  /** SQL names. */
  readonly table: string
  readonly trigger: string
  readonly constraint: string
  readonly deferrable: boolean
}

const TRIGGERS = `SELECT format('%I.%I', n.nspname, c.relname) AS table, t.tgname AS trigger,
  format('%I.%I', kn.nspname, k.conname) AS constraint, k.condeferrable AS deferrable
  FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_namespace kn ON kn.oid = k.connamespace
  WHERE t.tgisinternal AND t.tgenabled = 'O' AND c.relname !~ '^${OWN}'
    AND ((k.condeferrable AND k.contype IN ('p', 'u', 'x')) OR (k.contype = 'f' AND (to_jsonb(k) ->> 'conperiod')::bool))
  ORDER BY 1, 2`

export async function rechecksOf(session: Session): Promise<Recheck[]> {
  const rows = await session.query(TRIGGERS)
  return rows.map(row => ({
    table: String(row['table']),
    trigger: quote(String(row['trigger'])),
    constraint: String(row['constraint']),
    deferrable: row['deferrable'] === true,
  }))
}

/** Statements after which each statement of this transaction is checked at its end. `quiet`: triggers are. */
export function checking(rechecks: readonly Recheck[], quiet: boolean): string[] {
  if (rechecks.length === 0) return []
  const always = rechecks.map(({ table, trigger }) => `ALTER TABLE ONLY ${table} ENABLE ALWAYS TRIGGER ${trigger}`)
  const names = [...new Set(rechecks.filter(each => each.deferrable).map(({ constraint }) => constraint))]
  const now = names.length === 0 ? [] : [`SET CONSTRAINTS ${names.join(', ')} IMMEDIATE`]
  return [...(quiet ? always : []), ...now]
}

/** Statements that end that. */
export function asBefore(rechecks: readonly Recheck[], quiet: boolean): string[] {
  if (!quiet) return []
  return rechecks.map(({ table, trigger }) => `ALTER TABLE ONLY ${table} ENABLE TRIGGER ${trigger}`)
}
