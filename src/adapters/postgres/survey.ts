import { OWN } from './names.ts'
import { one, type Session } from './session.ts'

/** Facts about a database that tell what a dump of it covers. */
export interface Survey {
  readonly version: string
  readonly major: number
  readonly tableBytes: number
  readonly largeObjects: number
  readonly sequences: Record<string, number>
  readonly roles: string[]
  readonly policyRoles: string[]
  /** "citext 1.6": versions do not come with a dump. */
  readonly extensions: string[]
  /** Tables of extensions whose rows come with a dump. */
  readonly extensionRows: string[]
  readonly foreign: string[]
  readonly materialised: number
  readonly subscriptions: string[]
  readonly slots: string[]
}

export const OURS = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname !~ '^${OWN}'`

export const list = (select: string) => `(SELECT coalesce(json_agg(x ORDER BY x), '[]') FROM (${select}) AS s(x))`

const ROLES = `SELECT DISTINCT pg_get_userbyid(r) FROM (
    SELECT unnest(ARRAY[c.relowner] || (SELECT array_agg(a.grantee) FROM aclexplode(c.relacl) a)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${OURS}
    UNION SELECT unnest(ARRAY[p.proowner] || (SELECT array_agg(a.grantee) FROM aclexplode(p.proacl) a)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${OURS}
    UNION SELECT unnest(ARRAY[n.nspowner] || (SELECT array_agg(a.grantee) FROM aclexplode(n.nspacl) a)) FROM pg_namespace n WHERE ${OURS}
    UNION SELECT t.typowner FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE ${OURS}
    UNION SELECT datdba FROM pg_database WHERE datname = current_database()
  ) AS every(r) WHERE r <> 0 AND EXISTS (SELECT FROM pg_roles WHERE oid = r) AND pg_get_userbyid(r) !~ '^pg_'`

const SURVEY = `SELECT json_build_object(
  'version', split_part(current_setting('server_version'), ' ', 1), 'major', current_setting('server_version_num')::int / 10000,
  'tableBytes', (SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND ${OURS}),
  'largeObjects', (SELECT count(*) FROM pg_largeobject_metadata),
  'sequences', (SELECT coalesce(json_object_agg(format('%I.%I', n.nspname, c.relname), c.oid::int8), '{}') FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND ${OURS}),
  'roles', ${list(ROLES)},
  'policyRoles', ${list('SELECT DISTINCT pg_get_userbyid(r) FROM pg_policy, unnest(polroles) r WHERE r <> 0')},
  'extensions', ${list(`SELECT extname || ' ' || extversion FROM pg_extension WHERE extname <> 'plpgsql'`)},
  'extensionRows', ${list('SELECT DISTINCT extname FROM pg_extension WHERE extconfig IS NOT NULL')},
  'foreign', ${list('SELECT ftrelid::regclass::text FROM pg_foreign_table')},
  'materialised', (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND ${OURS}),
  'subscriptions', ${list('SELECT subname FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())')},
  'slots', ${list('SELECT slot_name FROM pg_replication_slots WHERE database = current_database()')}
) AS survey`

export async function survey(session: Session): Promise<Survey> {
  return JSON.parse(await one(session, SURVEY)) as Survey
}

/** What a restore of the dump brings back. For people. */
export function coversOf(of: Survey): string[] {
  const out = ['tables, views, functions, types, sequences, triggers, policies and rights, all of one instant']
  if (of.largeObjects > 0) out.push(`${of.largeObjects} large objects`)
  if (of.extensionRows.length > 0)
    out.push(`rows that users put into tables of the extensions ${of.extensionRows.join(', ')}`)
  out.push("the database's owner, encoding, collation, rights and settings")
  return out
}

/** What it does not bring back. */
export function leavesOf(of: Survey, rolesKept: boolean): string[] {
  const out = [
    rolesKept
      ? `roles: kept beside the dump in roles.sql, without passwords; not made again by a restore`
      : 'roles: this role may not read them',
    "the server's own settings and tablespaces",
  ]
  if (of.extensions.length > 0)
    out.push(`extensions come in the version that the server has then (now ${of.extensions.join(', ')})`)
  if (of.materialised > 0) out.push(`${of.materialised} materialised views are filled anew`)
  if (of.foreign.length > 0) out.push(`rows of foreign tables: ${of.foreign.join(', ')}`)
  if (of.subscriptions.length > 0) out.push(`subscriptions: ${of.subscriptions.join(', ')}`)
  if (of.slots.length > 0)
    out.push(`logical replication slots stay with the database that a restore sets aside: ${of.slots.join(', ')}`)
  return out
}
