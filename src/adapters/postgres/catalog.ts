import { OWN } from './names.ts'

/** Schemas that hold what an application has. `n` is pg_namespace. */
const OURS = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname !~ '^${OWN}'`

/** True for what an extension brought: it comes back with the extension. */
function fromExtension(catalog: string, oid: string): string {
  return madeBy(catalog, oid, "'e'")
}

function madeBy(catalog: string, oid: string, types: string): string {
  return `EXISTS (SELECT FROM pg_depend e WHERE e.classid = '${catalog}'::regclass AND e.objid = ${oid} AND e.deptype IN (${types}))`
}

/** Tables that hold rows under a name of their own: a partition does not, an ordinary child table does. */
const IS_TABLE = `c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname !~ '^${OWN}'
  AND ${OURS} AND NOT ${fromExtension('pg_class', 'c.oid')}`

const COLLATION = `(SELECT format(' COLLATE %s', a.attcollation::regcollation) FROM pg_type t
  WHERE t.oid = a.atttypid AND a.attcollation <> t.typcollation AND a.attcollation <> 0)`

/** Since version 18 rows may be without a value though the column forbids it from now on. `a` is pg_attribute. */
export const NEVER_NULL = `(a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint v
  WHERE v.conrelid = a.attrelid AND v.contype = 'n' AND v.conkey[1] = a.attnum AND NOT v.convalidated))`

const COLUMNS = `(SELECT coalesce(json_agg(json_build_object(
    'name', a.attname, 'number', a.attnum,
    'type', format_type(a.atttypid, a.atttypmod) || coalesce(${COLLATION}, ''),
    'notNull', ${NEVER_NULL}, 'default', pg_get_expr(d.adbin, d.adrelid),
    'identity', a.attidentity, 'generated', a.attgenerated) ORDER BY a.attnum), '[]')
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)`

const KEY = `(SELECT json_agg(a.attname ORDER BY k.n)
  FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(num, n), pg_attribute a
  WHERE i.indrelid = c.oid AND i.indisprimary AND k.n <= i.indnkeyatts AND a.attrelid = c.oid AND a.attnum = k.num)`

/** Indexes that no constraint made. One that is not valid serves nobody, and no dump holds it. */
const INDEXES = `(SELECT coalesce(json_agg(json_build_object('name', x.relname, 'unique', i.indisunique,
    'on', regexp_replace(pg_get_indexdef(x.oid), '^.*? USING ', '')) ORDER BY x.relname), '[]')
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
  WHERE i.indrelid = c.oid AND (i.indisvalid OR c.relkind = 'p')
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x')))`

const CONSTRAINTS = `(SELECT coalesce(json_agg(pg_get_constraintdef(k.oid)), '[]') FROM pg_constraint k
  WHERE k.conrelid = c.oid AND (k.contype IN ('p', 'u', 'x', 'c', 'f') OR (k.contype = 'n' AND NOT k.convalidated)) AND k.conparentid = 0)`

/** What else binds the rows: inheritance, partitions, row-level security. */
const MORE = `(SELECT coalesce(json_agg(t), '[]') FROM (
    SELECT 'partitioned by ' || pg_get_partkeydef(c.oid) AS t WHERE c.relkind = 'p'
    UNION ALL SELECT 'row-level security' WHERE c.relrowsecurity
    UNION ALL SELECT 'row-level security forced' WHERE c.relforcerowsecurity
    UNION ALL SELECT 'unlogged' WHERE c.relpersistence = 'u'
    UNION ALL SELECT 'inherits ' || h.inhparent::regclass FROM pg_inherits h WHERE h.inhrelid = c.oid
    UNION ALL SELECT format('partition %s of %s %s', p.relid, p.parentrelid, pg_get_expr(x.relpartbound, x.oid))
      FROM pg_partition_tree(c.oid) p JOIN pg_class x ON x.oid = p.relid WHERE c.relkind = 'p' AND p.level > 0
    UNION ALL SELECT format('partition %s: %s', p.relid, regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE ', ''))
      FROM pg_partition_tree(c.oid) p JOIN pg_index i ON i.indrelid = p.relid
      WHERE c.relkind = 'p' AND p.level > 0 AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
    UNION ALL SELECT format('partition %s: %s', p.relid, pg_get_constraintdef(k.oid))
      FROM pg_partition_tree(c.oid) p JOIN pg_constraint k ON k.conrelid = p.relid
      WHERE c.relkind = 'p' AND p.level > 0 AND k.contype IN ('c', 'f') AND k.conparentid = 0 AND k.coninhcount = 0
  ) s)`

/** The owner's too. Roles that are gone have none. */
const RIGHTS = `(SELECT coalesce(json_agg(t ORDER BY t COLLATE "C"), '[]') FROM (
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee) END || ': ' || a.privilege_type AS t
    FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a) r)`

export const TABLES = `SELECT c.oid, n.nspname AS schema, c.relname AS name, ${COLUMNS} AS columns, ${KEY} AS key,
    ${INDEXES} AS indexes, ${CONSTRAINTS} AS constraints, ${MORE} AS more, ${RIGHTS} AS rights
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${IS_TABLE}`

export const VIEWS = `SELECT n.nspname AS schema, c.relname AS name,
    concat(CASE c.relkind WHEN 'm' THEN 'materialized ' END, '(' || array_to_string(c.reloptions, ', ') || ') ',
      btrim(pg_get_viewdef(c.oid)),
      (SELECT string_agg(E'\\n' || pg_get_indexdef(i.indexrelid), '' ORDER BY i.indexrelid::regclass::text)
       FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid)) AS text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('v', 'm') AND c.relname !~ '^${OWN}' AND ${OURS} AND NOT ${fromExtension('pg_class', 'c.oid')}`

export const TRIGGERS = `SELECT n.nspname AS schema, c.relname AS name, t.tgname AS trigger,
    pg_get_triggerdef(t.oid)
      || CASE t.tgenabled WHEN 'D' THEN ' disabled' WHEN 'R' THEN ' in replicas' WHEN 'A' THEN ' always' ELSE '' END AS text
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE NOT t.tgisinternal AND NOT c.relispartition AND c.relname !~ '^${OWN}' AND ${OURS}
    AND NOT ${fromExtension('pg_class', 'c.oid')}`

const AGGREGATE = `(SELECT format('transition %s state %s final %s start %s sort %s kind %s', g.aggtransfn, format_type(g.aggtranstype, NULL),
    g.aggfinalfn, g.agginitval, g.aggsortop, g.aggkind) FROM pg_aggregate g WHERE g.aggfnoid = p.oid)`

const FUNCTIONS = `SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
    n.nspname AS schema, p.proname AS name, '(' || pg_get_function_identity_arguments(p.oid) || ')' AS more,
    CASE p.prokind WHEN 'a' THEN ${AGGREGATE} ELSE pg_get_functiondef(p.oid) END AS text
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE ${OURS} AND NOT ${madeBy('pg_proc', 'p.oid', "'e', 'i'")}`

const TYPES = `SELECT 'type', n.nspname, t.typname, '', CASE t.typtype
    WHEN 'e' THEN 'enum ' || coalesce((SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)::text FROM pg_enum e WHERE e.enumtypid = t.oid), '[]')
    WHEN 'd' THEN concat('domain over ', format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN ' not null' END,
      ' default ' || t.typdefault, (SELECT format(' COLLATE %s', t.typcollation::regcollation) FROM pg_type b
        WHERE b.oid = t.typbasetype AND b.typcollation <> t.typcollation),
      (SELECT string_agg(' ' || pg_get_constraintdef(k.oid), '' ORDER BY k.conname) FROM pg_constraint k
       WHERE k.contypid = t.oid AND k.contype = 'c'))
    WHEN 'c' THEN 'composite ' || (SELECT coalesce(json_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum), '[]')::text
      FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
    WHEN 'r' THEN (SELECT format('range of %s %s %s %s', format_type(r.rngsubtype, NULL), r.rngcollation::regcollation, r.rngcanonical, r.rngsubdiff)
      FROM pg_range r WHERE r.rngtypid = t.oid)
    ELSE 'base' END
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE ${OURS} AND t.typtype IN ('e', 'd', 'c', 'r', 'b') AND (c.oid IS NULL OR c.relkind = 'c')
    AND NOT EXISTS (SELECT FROM pg_type x WHERE x.typarray = t.oid) AND NOT ${fromExtension('pg_type', 't.oid')}`

const SEQUENCES = `SELECT 'sequence', n.nspname, c.relname, '', format('%s from %s by %s within %s and %s cache %s%s%s',
    format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
    CASE WHEN s.seqcycle THEN ' cycle' END,
    (SELECT format(' of %s.%I', d.refobjid::regclass, a.attname) FROM pg_depend d
     JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_class'::regclass LIMIT 1))
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE ${OURS} AND c.relname !~ '^${OWN}' AND NOT ${fromExtension('pg_class', 'c.oid')}`

const POLICIES = `SELECT 'policy', n.nspname, c.relname, '.' || p.polname, format('%s %s to %s using %s check %s',
    CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, p.polcmd,
    (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE r::regrole::text END, ', ' ORDER BY r::regrole::text) FROM unnest(p.polroles) r),
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${OURS}`

const RULES = `SELECT 'rule', n.nspname, c.relname, '.' || r.rulename, pg_get_ruledef(r.oid)
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE r.rulename <> '_RETURN' AND ${OURS} AND NOT ${fromExtension('pg_class', 'c.oid')}`

const FOREIGN = `SELECT 'foreign table', n.nspname, c.relname, '', concat(s.srvname, ' ', f.ftoptions::text, ' ',
    (SELECT json_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
  FROM pg_foreign_table f JOIN pg_class c ON c.oid = f.ftrelid JOIN pg_foreign_server s ON s.oid = f.ftserver
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${OURS}`

/** Columns of pg_collation have other names in other versions. */
const COLLATIONS = `SELECT 'collation', n.nspname, c.collname, '', concat_ws(' ', c.collprovider, c.collisdeterministic,
    CASE WHEN c.collprovider = 'c' THEN c.collcollate || ' ' || c.collctype
      ELSE coalesce(to_jsonb(c) ->> 'colliculocale', to_jsonb(c) ->> 'colllocale', c.collcollate) END, to_jsonb(c) ->> 'collicurules')
  FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
  WHERE ${OURS} AND NOT ${fromExtension('pg_collation', 'c.oid')}`

const OPERATORS = `SELECT 'operator', n.nspname, o.oprname, format('(%s, %s)', format_type(o.oprleft, NULL), format_type(o.oprright, NULL)),
    o.oprcode::text FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
  WHERE ${OURS} AND NOT ${fromExtension('pg_operator', 'o.oid')}`

const SEARCH = `SELECT 'text search configuration', n.nspname, g.cfgname, '', (SELECT string_agg(format('%s %s %s', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), ', '
    ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = g.oid)
  FROM pg_ts_config g JOIN pg_namespace n ON n.oid = g.cfgnamespace
  WHERE ${OURS} AND NOT ${fromExtension('pg_ts_config', 'g.oid')}
  UNION ALL SELECT 'text search dictionary', n.nspname, g.dictname, '', concat_ws(' ', t.tmplname, g.dictinitoption)
  FROM pg_ts_dict g JOIN pg_namespace n ON n.oid = g.dictnamespace JOIN pg_ts_template t ON t.oid = g.dicttemplate
  WHERE ${OURS} AND NOT ${fromExtension('pg_ts_dict', 'g.oid')}`

/** What lies in no schema. An extension's version is that of the server it was made on: it does not come with a dump. */
const GLOBALS = `SELECT 'schema', NULL, n.nspname, '', '' FROM pg_namespace n
    WHERE ${OURS} AND n.nspname <> 'public' AND NOT ${fromExtension('pg_namespace', 'n.oid')}
  UNION ALL SELECT 'extension', NULL, x.extname, '', 'in ' || n.nspname
    FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
  UNION ALL SELECT 'cast', NULL, format('%s to %s', format_type(k.castsource, NULL), format_type(k.casttarget, NULL)), '',
    format('%s %s %s', k.castfunc::regprocedure, k.castcontext, k.castmethod)
    FROM pg_cast k JOIN pg_type t ON t.oid = k.casttarget
    WHERE k.oid >= 16384 AND t.typtype <> 'm' AND NOT ${fromExtension('pg_cast', 'k.oid')}
  UNION ALL SELECT 'event trigger', NULL, v.evtname, '', format('%s %s %s %s', v.evtevent, v.evtfoid::regproc, v.evtenabled, v.evttags)
    FROM pg_event_trigger v WHERE NOT ${fromExtension('pg_event_trigger', 'v.oid')}
  UNION ALL SELECT 'foreign server', NULL, s.srvname, '', concat_ws(' ', w.fdwname, s.srvtype, s.srvversion)
    FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
    WHERE NOT ${fromExtension('pg_foreign_server', 's.oid')}
  UNION ALL SELECT 'publication', NULL, u.pubname, '', format('%s %s %s %s %s %s', u.puballtables, u.pubinsert, u.pubupdate, u.pubdelete, u.pubtruncate,
    (SELECT string_agg(format('%s.%s', t.schemaname, t.tablename), ', ' ORDER BY 1) FROM pg_publication_tables t WHERE t.pubname = u.pubname))
    FROM pg_publication u`

/** Rows of (kind, schema, name, more, text): everything that is no table, view or trigger. */
export const OTHERS = [
  FUNCTIONS,
  TYPES,
  SEQUENCES,
  POLICIES,
  RULES,
  FOREIGN,
  COLLATIONS,
  OPERATORS,
  SEARCH,
  GLOBALS,
].join('\nUNION ALL ')
