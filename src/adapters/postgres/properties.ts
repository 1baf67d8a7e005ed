import { z } from 'zod'
import { literal, quote } from './names.ts'
import { type Session, textOf } from './session.ts'

/** What a database is beside its content: no dump of the content holds it. */
export const propertiesShape = z.object({
  owner: z.string(),
  encoding: z.string(),
  collate: z.string(),
  ctype: z.string(),
  /** c: of the operating system, i: ICU, b: PostgreSQL's own. */
  provider: z.string(),
  locale: z.string().nullable(),
  /** How it sorts otherwise than its locale does, of ICU since version 16. Backups of before do not say it. */
  rules: z.string().nullable().default(null),
  tablespace: z.string(),
  limit: z.number(),
  comment: z.string().nullable(),
  /** null: the rights that every new database has. */
  grants: z.array(z.object({ to: z.string().nullable(), right: z.string(), option: z.boolean() })).nullable(),
  settings: z.array(z.object({ role: z.string().nullable(), name: z.string(), value: z.string() })),
})
export type Properties = z.infer<typeof propertiesShape>

/** Columns of pg_database have other names in other versions. */
const PROPERTIES = `
  SELECT json_build_object('owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
    'collate', d.datcollate, 'ctype', d.datctype, 'provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
    'locale', coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale'),
    'rules', to_jsonb(d) ->> 'daticurules', 'tablespace', t.spcname,
    'limit', d.datconnlimit, 'comment', shobj_description(d.oid, 'pg_database'),
    'grants', CASE WHEN d.datacl IS NOT NULL THEN (SELECT coalesce(json_agg(json_build_object('to', CASE a.grantee WHEN 0 THEN NULL
      ELSE pg_get_userbyid(a.grantee) END, 'right', a.privilege_type, 'option', a.is_grantable)), '[]') FROM aclexplode(d.datacl) a) END,
    'settings', (SELECT coalesce(json_agg(json_build_object('role', CASE s.setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END,
      'name', split_part(c, '=', 1), 'value', substr(c, strpos(c, '=') + 1))), '[]')
      FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setdatabase = d.oid)) AS properties
  FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = $1`

/** Null where there is no such database. */
export async function propertiesOf(session: Session, database: string): Promise<Properties | null> {
  const [row] = await session.query(PROPERTIES, [database])
  return row === undefined ? null : propertiesShape.parse(JSON.parse(textOf(row, 'properties') ?? 'null'))
}

/** How making this database begins, and no other statement. */
export function makingSql(name: string): string {
  return `CREATE DATABASE ${quote(name)}`
}

/** A new, empty database with these properties. `own`: belongs to whoever makes it, in the place where all do. */
export function createSql(name: string, of: Properties, own: boolean): string {
  const provider = {
    i: ['LOCALE_PROVIDER icu ICU_LOCALE', of.locale],
    b: ['LOCALE_PROVIDER builtin BUILTIN_LOCALE', of.locale],
  }
  const [words, locale] = provider[of.provider as 'i' | 'b'] ?? ['', null]
  return [
    `${makingSql(name)} TEMPLATE template0 ENCODING ${literal(of.encoding)}`,
    `LC_COLLATE ${literal(of.collate)} LC_CTYPE ${literal(of.ctype)}`,
    ...(locale == null ? [] : [`${words} ${literal(locale)}`]),
    ...(of.rules === null ? [] : [`ICU_RULES ${literal(of.rules)}`]),
    ...(own ? [] : [`OWNER ${quote(of.owner)} CONNECTION LIMIT ${of.limit}`]),
    // Naming the usual one takes a right that not using it does not.
    ...(own || of.tablespace === 'pg_default' ? [] : [`TABLESPACE ${quote(of.tablespace)}`]),
  ].join(' ')
}

/** Settings whose value is a list that is written as it is kept. */
const LISTS = ['search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries']

/** Statements that give a new database the rights and settings of these properties. */
export function dressSql(name: string, of: Properties): string[] {
  const database = quote(name)
  const who = (to: string | null) => (to === null ? 'PUBLIC' : quote(to))
  const grants = (of.grants ?? []).map(
    ({ to, right, option }) =>
      `GRANT ${right} ON DATABASE ${database} TO ${who(to)}${option ? ' WITH GRANT OPTION' : ''}`,
  )
  const settings = of.settings.map(({ role, name: setting, value }) => {
    const of_ = role === null ? `DATABASE ${database}` : `ROLE ${quote(role)} IN DATABASE ${database}`
    const as = LISTS.includes(setting) ? value : literal(value)
    return `ALTER ${of_} SET ${setting.split('.').map(quote).join('.')} TO ${as === '' ? "''" : as}`
  })
  return [...(of.grants === null ? [] : [`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`, ...grants]), ...settings]
}

export function commentSql(name: string, comment: string | null): string {
  return `COMMENT ON DATABASE ${quote(name)} IS ${comment === null ? 'NULL' : literal(comment)}`
}
