import { literal, quote } from './names.ts'
import { type Session, textOf } from './session.ts'

/** What is known of a column that rows are copied of. */
export interface CopiedColumn {
  readonly name: string
  /** As it is written, domains resolved: what is staged is not checked again. */
  readonly type: string
  /** Words of an enum, or of the enum that it is an array of; null: the type is another one. */
  readonly words: readonly string[] | null
  readonly array: boolean
  /** SQL name of the collation that it has in place of its type's; null: none. */
  readonly collation: string | null
}

/** Columns of the relations `$1`, in their order. */
const COPIED = `
  WITH RECURSIVE base(oid, at, mod, kind, below) AS (
    SELECT t.oid, t.oid, t.typtypmod, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid IN (SELECT atttypid
      FROM pg_attribute WHERE attrelid = ANY ($1::text[]::regclass[]))
    UNION ALL SELECT b.oid, t.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE b.mod END, t.typtype, t.typbasetype
      FROM base b JOIN pg_type t ON b.kind = 'd' AND t.oid = b.below)
  SELECT r.rel, a.attname AS name, format_type(t.oid, CASE WHEN t.oid = a.atttypid THEN a.atttypmod ELSE b.mod END) AS type,
    CASE WHEN k.typtype = 'e' THEN (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)::text FROM pg_enum e WHERE e.enumtypid = k.oid) END AS words,
    k.oid <> t.oid AS array, CASE WHEN a.attcollation <> t.typcollation THEN
      (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname) FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
      WHERE c.oid = a.attcollation) END AS collation
  FROM unnest($1::text[]) AS r(rel) JOIN pg_attribute a ON a.attrelid = r.rel::regclass JOIN base b ON b.oid = a.atttypid AND b.kind <> 'd' JOIN pg_type t ON t.oid = b.at
  JOIN pg_type k ON k.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A' THEN t.typelem ELSE t.oid END
  WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY r.rel, a.attnum`

/** Columns of relations by the SQL names of these, and their own. */
export async function copiedColumns(
  session: Session,
  relations: readonly string[],
): Promise<Map<string, Map<string, CopiedColumn>>> {
  const out = new Map<string, Map<string, CopiedColumn>>()
  for (const row of await session.query(COPIED, [relations])) {
    const [rel, name, words] = [String(row['rel']), String(row['name']), textOf(row, 'words')]
    const known = { type: String(row['type']), array: row['array'] === true, collation: textOf(row, 'collation') }
    const columns = out.get(rel) ?? new Map<string, CopiedColumn>()
    const column = { name, ...known, words: words === null ? null : (JSON.parse(words) as string[]) }
    out.set(rel, columns.set(name, column))
  }
  return out
}

/** Makes types in the live session by which columns of an image are staged. */
export class StagedTypes {
  readonly #session: Session
  readonly #made = new Map<string, string>()
  readonly #there = new Map<string, boolean>()

  constructor(session: Session) {
    this.#session = session
  }

  /**
   * The type for a staged column: that of the image where the live database has the very same. An enum that has other words
   * gets a twin of its own, which is taken by a column of ours as far as its words are known there. Else text.
   */
  async typeFor(column: CopiedColumn, ours: CopiedColumn | undefined): Promise<string> {
    const there = await this.#isThere(column.type.replace(/\([^)]*\)/, ''))
    if (column.words === null) return there ? column.type : 'text'
    const same = there && (await this.#wordsOf(column.type)) === JSON.stringify(column.words)
    if (same || column.array) return same ? column.type : 'text'
    return this.#twin(column.words, ours)
  }

  async #isThere(type: string): Promise<boolean> {
    const known = this.#there.get(type)
    if (known !== undefined) return known
    const [found] = await this.#session.query('SELECT to_regtype($1) IS NOT NULL AS there', [type])
    this.#there.set(type, found?.['there'] === true)
    return found?.['there'] === true
  }

  async #wordsOf(type: string): Promise<string | null> {
    const sql = `SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)::text AS words 
      FROM pg_enum e JOIN pg_type t ON t.oid = to_regtype($1) WHERE e.enumtypid IN (t.oid, t.typelem)`
    const words = textOf((await this.#session.query(sql, [type]))[0], 'words')
    return words === null ? null : JSON.stringify(JSON.parse(words))
  }

  /** Goes with the session, and the cast with it. */
  async #twin(words: readonly string[], ours: CopiedColumn | undefined): Promise<string> {
    const to = ours?.words == null || ours.array ? null : ours.type
    const key = JSON.stringify([words, to])
    const known = this.#made.get(key)
    if (known !== undefined) return known
    const name = `pg_temp.${quote(`backout_words_${this.#made.size}`)}`
    await this.#session.query(`CREATE TYPE ${name} AS ENUM (${words.map(literal).join(', ')})`)
    if (to !== null) await this.#session.query(`CREATE CAST (${name} AS ${to}) WITH INOUT AS ASSIGNMENT`)
    this.#made.set(key, name)
    return name
  }
}
