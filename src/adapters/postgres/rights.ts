import { z } from 'zod'
import type { Lack } from '../../data/engine.ts'
import { list, OURS } from './survey.ts'
import { unowned } from './triggers.ts'

const rightsShape = z.object({
  /** Quoted where SQL wants it. */
  role: z.string(),
  database: z.string(),
  owner: z.string(),
  version: z.number(),
  superuser: z.boolean(),
  createdb: z.boolean(),
  owns: z.boolean(),
  signals: z.boolean(),
  temporary: z.boolean(),
  quiet: z.boolean(),
  unreadable: z.array(z.string()),
  unwritable: z.array(z.string()),
  /** Tables with triggers that fire for what this role writes, whatever it does. */
  firing: z.array(z.string()),
  hidden: z.array(z.string()),
  largeObjects: z.number(),
  owners: z.array(z.string()),
  /** Those of all owners that are superusers: whoever may act as one is one. */
  supers: z.array(z.string()),
  sessions: z.array(z.string()),
  extensions: z.array(z.string()),
})
export type Rights = z.infer<typeof rightsShape>

/** Relations that a dump reads. */
const RELATIONS = `FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${OURS}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`
const NAME = `format('%I.%I', n.nspname, c.relname)`
const USABLE = `has_schema_privilege(n.oid, 'USAGE')`

const UNREADABLE = `SELECT ${NAME} ${RELATIONS} AND (
    c.relkind IN ('r', 'p') AND NOT (has_table_privilege(c.oid, 'SELECT') AND ${USABLE})
    OR c.relkind = 'S' AND NOT (has_sequence_privilege(c.oid, 'SELECT') AND ${USABLE}))`
const UNWRITABLE = `SELECT ${NAME} ${RELATIONS} AND c.relkind IN ('r', 'p') AND NOT (${USABLE}
    AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))`
const HIDDEN = `SELECT ${NAME} ${RELATIONS} AND c.relkind IN ('r', 'p') AND c.relrowsecurity AND row_security_active(c.oid)`

const LARGE_OBJECTS = `SELECT count(*) FROM pg_largeobject_metadata m WHERE NOT pg_has_role(m.lomowner, 'USAGE')
    AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))`

/** The schema that every database begins with belongs to the first superuser before version 15; no dump says so. */
const AS_MADE = `(n.nspname = 'public' AND n.nspowner = 10)`

/** Roles that a restored object is given to. `may`: what being allowed to do so is called. */
const owners = (may: string) => `SELECT DISTINCT format('%I', r.rolname) FROM (
    SELECT c.relowner AS r ${RELATIONS}
    UNION SELECT p.proowner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${OURS}
    UNION SELECT t.typowner FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE ${OURS}
    UNION SELECT n.nspowner FROM pg_namespace n WHERE ${OURS} AND NOT ${AS_MADE}
    UNION SELECT datdba FROM pg_database WHERE datname = current_database()
  ) AS every(r) JOIN pg_roles r ON r.oid = every.r WHERE r.rolname !~ '^pg_' AND NOT pg_has_role(r.oid, '${may}')`

const SUPERS = `SELECT format('%I', rolname) FROM pg_roles WHERE rolsuper`

const SESSIONS = `SELECT DISTINCT format('%I', a.usename) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
  WHERE a.datname = current_database() AND NOT pg_has_role(r.oid, 'USAGE') AND NOT pg_has_role('pg_signal_backend', 'USAGE')`

/** Before version 13 none was trusted, and nobody said so. */
const EXTENSIONS = `SELECT e.extname FROM pg_extension e
  JOIN pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion
  WHERE v.superuser AND e.extname <> 'plpgsql' AND NOT coalesce((to_jsonb(v) ->> 'trusted')::boolean, false)`

/** One question for everything. `version`: the server's number, 150008 for 15.8. */
export function rightsQuery(version: number): string {
  const quiet = version >= 150_000 ? `has_parameter_privilege('session_replication_role', 'SET')` : 'me.rolsuper'
  return `SELECT json_build_object(
    'role', format('%I', current_user), 'database', format('%I', d.datname), 'owner', format('%I', pg_get_userbyid(d.datdba)),
    'version', ${version}, 'superuser', me.rolsuper, 'createdb', me.rolcreatedb, 'owns', pg_has_role(d.datdba, 'USAGE'),
    'signals', pg_has_role('pg_signal_backend', 'USAGE'), 'temporary', has_database_privilege(d.oid, 'TEMP'),
    'quiet', ${quiet},
    'unreadable', ${list(UNREADABLE)}, 'unwritable', ${list(UNWRITABLE)}, 'firing', ${list(unowned(OURS))}, 'hidden', ${list(HIDDEN)},
    'largeObjects', (${LARGE_OBJECTS}), 'owners', ${list(owners(version >= 160_000 ? 'SET' : 'MEMBER'))},
    'supers', ${list(SUPERS)}, 'sessions', ${list(SESSIONS)}, 'extensions', ${list(EXTENSIONS)}
  ) FROM pg_database d, pg_roles me WHERE d.datname = current_database() AND me.rolname = current_user`
}

export function rightsOf(json: string): Rights {
  return rightsShape.parse(JSON.parse(json))
}

/** What is missing, with the statement that gives it. `provenElsewhere`: proofs are made on another server. */
export function lacksOf(rights: Rights, provenElsewhere: boolean): Lack[] {
  if (rights.superuser) return []
  return [
    ...reading(rights),
    ...(rights.createdb ? [] : [maker(rights.role, provenElsewhere ? 'restore' : 'capture', rights.database)]),
    ...restoring(rights, provenElsewhere),
    ...carrying(rights),
  ]
}

/** Rights to functions are each database's own: `maintenance` is where the server is asked for its number. */
export function numberless(role: string, maintenance: string): Lack {
  const what = `${role} may not read the server's number, so a server that moves counts as another one`
  return lack(
    'comfort',
    what,
    `GRANT EXECUTE ON FUNCTION pg_control_system() TO ${role}, in the database ${maintenance}`,
  )
}

function lack(what: Lack['for'], text: string, remedy: string): Lack {
  return { for: what, code: 'right_missing', what: text, remedy }
}

export function maker(role: string, what: Lack['for'], where: string): Lack {
  return lack(
    what,
    `${role} may not make the copies of ${where} that backups are loaded into`,
    `ALTER ROLE ${role} CREATEDB`,
  )
}

/** "a, b and 3 more". */
function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}

function schemasOf(names: readonly string[]): string {
  return [...new Set(names.map(name => /^("(?:[^"]|"")*"|[^.]+)\./.exec(name)?.[1] ?? name))].join(', ')
}

function reading({ role, version, unreadable, hidden, largeObjects }: Rights): Lack[] {
  const schemas = schemasOf(unreadable)
  const each = ['TABLES', 'SEQUENCES'].map(kind => `GRANT SELECT ON ALL ${kind} IN SCHEMA ${schemas} TO ${role}`)
  const grant =
    version >= 140_000
      ? `GRANT pg_read_all_data TO ${role}`
      : [`GRANT USAGE ON SCHEMA ${schemas} TO ${role}`, ...each].join('; ')
  return [
    ...(unreadable.length === 0 ? [] : [lack('capture', `${role} may not read ${some(unreadable)}`, grant)]),
    ...(hidden.length === 0
      ? []
      : [
          lack(
            'capture',
            `row-level security may hide rows of ${some(hidden)} from ${role}`,
            `ALTER ROLE ${role} BYPASSRLS`,
          ),
        ]),
    ...(largeObjects === 0
      ? []
      : [
          lack(
            'capture',
            `${role} may not read ${largeObjects} large objects`,
            `GRANT the role that owns them TO ${role}, or GRANT SELECT ON LARGE OBJECT … TO ${role}`,
          ),
        ]),
  ]
}

function restoring(
  { role, database, owner, owns, signals, owners, supers, sessions, extensions }: Rights,
  provenElsewhere: boolean,
): Lack[] {
  const out: Lack[] = []
  const safe = !supers.includes(owner)
  if (!owns && safe) {
    out.push(lack('restore', `${role} does not own ${database}, so it may not rename it`, `GRANT ${owner} TO ${role}`))
  }
  const others = owners.filter(name => !supers.includes(name) && (owns || name !== owner))
  const above = owners.filter(name => supers.includes(name))
  if (above.length > 0) {
    const what = `${role} may not own what ${above.join(', ')} owns in ${database}: to act for a superuser is to be one`
    const remedy = `name a superuser in \`user:\`; or let another role own it: ALTER DATABASE ${database} OWNER TO ${role}, and the same for what is in it`
    out.push(lack('restore', what, remedy))
  }
  if (others.length > 0) {
    out.push(
      lack(
        'restore',
        `${role} may not give what it restores back to ${some(others)}`,
        `GRANT ${others.join(', ')} TO ${role}`,
      ),
    )
  }
  if (!signals) {
    const whose = sessions.length === 0 ? 'other roles' : some(sessions)
    const what = `${role} may not end sessions of ${whose}`
    out.push(lack(sessions.length === 0 ? 'comfort' : 'restore', what, `GRANT pg_signal_backend TO ${role}`))
  }
  if (extensions.length > 0) {
    const remedy = provenElsewhere
      ? 'name a superuser in `user:`: making these extensions takes one'
      : 'name a superuser in `user:`, or in `scratch:` for proofs: making these extensions takes one'
    out.push(lack(provenElsewhere ? 'restore' : 'capture', `${role} may not make ${some(extensions)} anew`, remedy))
  }
  return out
}

function carrying({ role, version, database, temporary, quiet, unwritable, firing }: Rights): Lack[] {
  const out: Lack[] = []
  if (unwritable.length > 0) {
    const grant =
      version >= 140_000
        ? `GRANT pg_write_all_data TO ${role}`
        : `GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schemasOf(unwritable)} TO ${role}`
    out.push(lack('carry', `${role} may not write ${some(unwritable)}`, grant))
  }
  if (!temporary) {
    out.push(
      lack('carry', `${role} may not make temporary tables`, `GRANT TEMPORARY ON DATABASE ${database} TO ${role}`),
    )
  }
  if (!quiet && firing.length > 0) {
    const what = `${role} may not keep triggers of ${some(firing)} quiet`
    const remedy =
      version >= 150_000
        ? `GRANT SET ON PARAMETER session_replication_role TO ${role}`
        : `GRANT the role that owns them TO ${role}`
    out.push({ for: 'quiet', code: 'triggers_fire', what, remedy })
  }
  return out
}
