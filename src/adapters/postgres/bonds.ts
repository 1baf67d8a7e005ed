import type { Bonds, Reference, Unique } from '../../data/engine.ts'
import { joined, OWN } from './names.ts'
import type { Session } from './session.ts'

const TABLES = `c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname !~ '^${OWN}'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname !~ '^${OWN}'`

/** Columns of a unique index; null where it compares otherwise than its columns do, or not all rows. */
const UNIQUES = `(SELECT coalesce(json_agg(json_build_object('name', x.relname, 'columns', CASE
      WHEN i.indisexclusion OR i.indpred IS NOT NULL OR i.indexprs IS NOT NULL OR (to_jsonb(i) ->> 'indnullsnotdistinct')::bool THEN NULL
      WHEN EXISTS (SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[]) k(num, coll) JOIN pg_attribute a
        ON a.attrelid = c.oid AND a.attnum = k.num WHERE k.coll <> 0 AND k.coll <> a.attcollation) THEN NULL
      ELSE (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, n), pg_attribute a
        WHERE k.n <= i.indnkeyatts AND a.attrelid = c.oid AND a.attnum = k.num) END)
    ORDER BY i.indisprimary DESC, x.relname), '[]')
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
  WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND i.indisvalid)`

const names = (relation: string, numbers: string) => `(SELECT json_agg(a.attname ORDER BY u.n)
  FROM unnest(${numbers}) WITH ORDINALITY u(num, n), pg_attribute a WHERE a.attrelid = ${relation} AND a.attnum = u.num)`

const WITHIN = `coalesce((to_jsonb(k) ->> 'conperiod')::bool, false)`

/** Of a reference to a time (PERIOD, its last column) those that have to be equal; what the time needs the server says. */
const equal = (numbers: string) => `${numbers}[1:cardinality(${numbers}) - ${WITHIN}::int]`

/** Of those that bind: one that is NOT ENFORCED refuses nothing. */
const REFERENCES = `(SELECT coalesce(json_agg(json_build_object('name', k.conname, 'columns', ${names('k.conrelid', equal('k.conkey'))},
    'schema', tn.nspname, 'table', t.relname, 'to', ${names('k.confrelid', equal('k.confkey'))},
    'onDelete', CASE k.confdeltype WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set-null' WHEN 'd' THEN 'set-default' ELSE 'refuse' END,
    'within', ${WITHIN}) ORDER BY k.conname), '[]')
  FROM pg_constraint k JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
  WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0 AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true))`

type Found = Omit<Reference, 'table'> & { schema: string; table: string }

/** Keys and references of every table. */
export async function bondsOf(session: Session, home: string): Promise<Record<string, Bonds>> {
  const rows = await session.query(
    `SELECT n.nspname AS schema, c.relname AS name, ${UNIQUES} AS uniques, ${REFERENCES} AS refs
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${TABLES}`,
  )
  const named = (schema: string, name: string) => joined(schema === home ? null : schema, name)
  return Object.fromEntries(
    rows.map(row => {
      const references = (JSON.parse(String(row['refs'])) as Found[]).map(
        ({ schema, table, within, ...reference }) => ({
          ...reference,
          ...(within === true ? { within } : {}),
          table: named(schema, table),
        }),
      )
      const uniques = JSON.parse(String(row['uniques'])) as Unique[]
      return [named(String(row['schema']), String(row['name'])), { uniques, references }]
    }),
  )
}
