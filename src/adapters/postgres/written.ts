export type Verb = 'insert' | 'update' | 'delete'

/** A table that a statement writes to, as an SQL name. */
export interface Written {
  readonly verb: Verb
  readonly table: string
}

const PART = String.raw`(?:"(?:[^"]|"")+"|[a-z_][\w$]*)`
const WRITES = new RegExp(
  String.raw`^\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?(${PART}(?:\.${PART})?)`,
  'i',
)
/** Statements of which no row of a table changes: this program gives no others that write behind these words. */
const HARMLESS =
  /^\s*(SELECT|SAVEPOINT|RELEASE|ROLLBACK|SET|DROP TABLE IF EXISTS pg_temp|CREATE (TEMP TABLE|INDEX)|ANALYZE|DECLARE|FETCH|CLOSE)\b/i

/** null: no table that others see. `anything`: nobody can tell. */
export function writtenBy(sql: string): Written | 'anything' | null {
  const [, verb = '', table = ''] = WRITES.exec(sql) ?? []
  if (verb === '') return HARMLESS.test(sql) ? null : 'anything'
  if (/^"?pg_temp"?\./i.test(table)) return null
  return { verb: verb.slice(0, 6).toLowerCase() as Verb, table }
}
