import type { Holder } from '../../data/engine.ts'
import { APPLICATION, type Session } from './session.ts'

/** Sessions of this database, and transactions that were prepared and left. `$1`: the database, `$2`: Backout's own name. */
const HOLDERS = `
  SELECT pid::text AS id, format('%s (%s) from %s, %s', coalesce(usename, '?'), coalesce(nullif(application_name, ''), 'no name'),
      coalesce(host(client_addr), 'this machine'), CASE WHEN shown THEN coalesce(state, backend_type) ELSE 'not shown to this role' END)
    || CASE WHEN shown AND coalesce(xact_start, state_change) IS NOT NULL
      THEN to_char(coalesce(xact_start, state_change) AT TIME ZONE 'UTC', '" since "HH24:MI:SS" UTC"') ELSE '' END AS text,
    NOT shown OR xact_start IS NOT NULL OR state IS DISTINCT FROM 'idle' AS busy
  FROM (SELECT *, query IS DISTINCT FROM '<insufficient privilege>' AS shown FROM pg_stat_activity
    WHERE datname = $1 AND coalesce(backend_type, 'client backend') IN ('client backend', 'walsender') AND pid <> pg_backend_pid()
      AND (application_name = $2 AND usename = current_user) IS NOT TRUE) a
  UNION ALL SELECT gid, format('prepared transaction %L of %s since %s UTC', gid, owner,
      to_char(prepared AT TIME ZONE 'UTC', 'HH24:MI:SS')), true
  FROM pg_prepared_xacts WHERE database = $1
  ORDER BY 1`

export async function holdersOf(session: Session, database: string): Promise<Holder[]> {
  const rows = await session.query(HOLDERS, [database, APPLICATION])
  return rows.map(row => ({ id: String(row['id']), text: String(row['text']), busy: row['busy'] === true }))
}
