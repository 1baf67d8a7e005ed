import type { Destroys, ReadScript } from './down-script.ts'
import { altered } from './down-script-alter.ts'
import { calls, isHarmlessCall } from './sql-calls.ts'
import {
  after,
  deletedFrom,
  nameAt,
  namesFrom,
  statementsOf,
  type Token,
  topLevel,
  updatedIn,
  wordAt,
} from './sql-words.ts'

type Kind = 'mysql' | 'sqlite'

/** Begin statements that take no row and no cell away, whatever follows. */
const HARMLESS = new Set(
  `COMMIT ROLLBACK SAVEPOINT RELEASE START USE SHOW DESCRIBE DESC LOCK UNLOCK FLUSH GRANT REVOKE OPTIMIZE CHECK CHECKSUM RENAME
  VACUUM REINDEX ATTACH DETACH DEALLOCATE COMMENT`.split(/\s+/),
)
/** What may be made anew, or another one in its place, without rows being lost. */
const OBJECTS = new Set(
  'INDEX VIEW TRIGGER FUNCTION PROCEDURE EVENT SEQUENCE USER ROLE PACKAGE DATABASE SCHEMA SERVER PREPARE'.split(' '),
)
const NAMED: Readonly<Record<string, Destroys['object']>> = {
  TABLE: 'table',
  TABLES: 'table',
  VIEW: 'view',
  SCHEMA: 'schema',
  DATABASE: 'schema',
}
const BEFORE_OBJECT = new Set(
  'OR REPLACE UNIQUE FULLTEXT SPATIAL TEMP TEMPORARY VIRTUAL AGGREGATE DEFINER SQL SECURITY INVOKER ALGORITHM ONLINE OFFLINE MERGE UNDEFINED TEMPTABLE'.split(
    ' ',
  ),
)
const VERBS = new Set(['SELECT', 'VALUES', 'INSERT', 'REPLACE', 'UPDATE', 'DELETE', 'TABLE'])
/** Settings that touch no row. */
const PRAGMAS =
  /^(?:foreign_keys|foreign_key_check|foreign_key_list|defer_foreign_keys|legacy_alter_table|user_version|journal_mode|synchronous|busy_timeout|integrity_check|quick_check|table_info|table_xinfo|index_list|encoding|cache_size|recursive_triggers|optimize)$/i

const NOTHING: ReadScript = { destroys: [], unread: [] }
const one = (does: Destroys['does'], name: string): ReadScript => ({
  destroys: [{ does, object: 'table', name }],
  unread: [],
})

/** Reads statements word by word: enough to find what destroys. What it does not know it calls unread. */
export function readStatements(sql: string, kind: Kind): ReadScript {
  const read = statementsOf(sql, kind).map(words => {
    const { destroys, unread } = readStatement(words, kind)
    return { destroys, unread: [...unread, ...(kind === 'mysql' ? strangeCalls(words).map(calls) : [])] }
  })
  return { destroys: read.flatMap(r => r.destroys), unread: read.flatMap(r => r.unread) }
}

function readStatement(words: readonly Token[], kind: Kind): ReadScript {
  const first = wordAt(words, 0)
  const unread = { destroys: [], unread: [`${first || (words[0]?.text ?? '')} does what only the database knows`] }
  if (HARMLESS.has(first)) return NOTHING
  const read = WRITES[first] ?? OTHERS[first]
  return read?.(words, kind) ?? unread
}

/** null: nobody can tell. */
type Read = (words: readonly Token[], kind: Kind) => ReadScript | null

/** Statements that write rows. */
const WRITES: Readonly<Record<string, Read>> = {
  TRUNCATE: words => one('empties', nameAt(words, wordAt(words, 1) === 'TABLE' ? 2 : 1).name),
  DELETE: words => ({
    destroys: deletedFrom(words).map(name => ({ does: 'deletes from', object: 'table', name })),
    unread: [],
  }),
  UPDATE: words => {
    const tables = updatedIn(words)
    return tables === null ? null : { destroys: tables.flatMap(name => one('changes', name).destroys), unread: [] }
  },
  REPLACE: words => one('changes', nameAt(words, into(words)).name),
  INSERT: words => {
    const all = words.map((_, i) => wordAt(words, i)).join(' ')
    const replaces = /^INSERT OR REPLACE\b|\bON DUPLICATE KEY UPDATE\b|\bON CONFLICT\b.*\bDO UPDATE\b/s.test(all)
    return replaces ? one('changes', nameAt(words, into(words)).name) : NOTHING
  },
  LOAD: words => {
    const table = topLevel(words, 0).find(i => wordAt(words, i) === 'TABLE')
    if (table === undefined) return null
    return wordAt(words, table - 2) === 'REPLACE' ? one('changes', nameAt(words, table + 1).name) : NOTHING
  },
}

const OTHERS: Readonly<Record<string, Read>> = {
  DROP: dropped,
  ALTER: words => (altersTable(words) ? altered(words) : OBJECTS.has(objectOf(words)) ? NOTHING : null),
  CREATE: created,
  SELECT: () => NOTHING,
  VALUES: () => NOTHING,
  BEGIN: words => (words.length <= 3 && wordAt(words, 1) !== 'NOT' ? NOTHING : null),
  END: words => (words.length <= 2 ? NOTHING : null),
  SET: (words, kind) => {
    if (wordAt(words, 1) !== 'STATEMENT') return NOTHING
    const inner = after(words, 'FOR')
    return inner === 0 ? null : readStatement(words.slice(inner), kind)
  },
  WITH: (words, kind) => {
    const verb = topLevel(words, 1).find(i => VERBS.has(wordAt(words, i)))
    return verb === undefined ? null : readStatement(words.slice(verb), kind)
  },
  PRAGMA: words => (PRAGMAS.test(words[wordAt(words, 2) === '.' ? 3 : 1]?.text ?? '') ? NOTHING : null),
  // SQLite runs nothing that it explains, MySQL only what it is to analyse.
  EXPLAIN: (words, kind) => (wordAt(words, 1) === 'ANALYZE' && kind === 'mysql' ? analysed(words, kind) : NOTHING),
  ANALYZE: (words, kind) => (kind === 'mysql' ? analysed(words, kind) : NOTHING),
}

/** Of tables, or a statement that is run to be measured. */
function analysed(words: readonly Token[], kind: Kind): ReadScript | null {
  if (words.slice(0, 3).some((_, i) => /^TABLES?$/.test(wordAt(words, i)))) return NOTHING
  const verb = words.findIndex((_, i) => i > 0 && (VERBS.has(wordAt(words, i)) || wordAt(words, i) === 'WITH'))
  return verb < 0 ? null : readStatement(words.slice(verb), kind)
}

function into(words: readonly Token[]): number {
  const at = after(words.slice(0, 6), 'INTO')
  return at > 0 ? at : 1
}

function objectOf(words: readonly Token[]): string {
  for (let i = 1; i < words.length; i++) {
    const word = wordAt(words, i)
    if (OBJECTS.has(word) || word === 'TABLE' || word === 'TABLES') return word
    // The value of an option ("DEFINER = `root`@`localhost`") is no object.
    if (wordAt(words, 0) !== 'CREATE' && !BEFORE_OBJECT.has(word)) return ''
  }
  return ''
}

function altersTable(words: readonly Token[]): boolean {
  return (
    ['ONLINE', 'IGNORE', 'TABLE'].includes(wordAt(words, 1)) && words.slice(1, 4).some(w => /^table$/i.test(w.text))
  )
}

function created(words: readonly Token[]): ReadScript | null {
  const object = objectOf(words)
  if (object !== 'TABLE' && object !== 'SEQUENCE') return OBJECTS.has(object) ? NOTHING : null
  if (wordAt(words, 1) !== 'OR') return NOTHING
  const { name } = nameAt(words, after(words, object))
  return { destroys: [{ does: 'drops', object: 'table', name }], unread: [] }
}

function dropped(words: readonly Token[]): ReadScript | null {
  const kind = wordAt(words, 1).startsWith('TEMP') ? 2 : 1
  const word = wordAt(words, kind)
  const object = NAMED[word]
  if (object === undefined) return OBJECTS.has(word) ? NOTHING : null
  return {
    destroys: namesFrom(words, kind + 1).map(name => ({ does: 'drops', object, name })),
    unread: [],
  }
}

/** Stand before a bracket and call nothing. */
const NO_CALLS = new Set(
  `IN EXISTS AND OR XOR NOT ON USING AS FROM JOIN SELECT WHERE VALUES VALUE UNION ALL ANY SOME BETWEEN LIKE THEN ELSE WHEN CASE BY OVER
  DISTINCT IS SET INTERVAL PARTITION HAVING DIV MOD RETURNING LIMIT OFFSET BINARY CHAR VARCHAR DECIMAL NUMERIC FLOAT DOUBLE DATETIME
  SIGNED UNSIGNED EXCEPT INTERSECT KEY INDEX AGAINST MATCH ROW VALUES RECURSIVE`.split(/\s+/),
)

/** Functions of which only the database knows what they do, from where a statement computes something. */
function strangeCalls(words: readonly Token[]): string[] {
  const first = wordAt(words, 0)
  const computes = words.findIndex((_, i) => ['SELECT', 'VALUES', 'VALUE', 'SET', 'WHERE'].includes(wordAt(words, i)))
  const runs = first in WRITES || ['SELECT', 'WITH', 'SET', 'EXPLAIN', 'ANALYZE', 'VALUES'].includes(first)
  const makes = first === 'CREATE' && objectOf(words) === 'TABLE' && wordAt(words, computes) === 'SELECT'
  if (computes < 0 || !(runs || makes)) return []
  return words.flatMap((word, i) => {
    const named = word.name || /^[\p{L}_]/u.test(word.text)
    if (i < computes || !named || wordAt(words, i + 1) !== '(') return []
    // The columns of a table, or of what is named in WITH.
    if (wordAt(words, i - 1) === 'INTO' || (first === 'WITH' && wordAt(words, i - 1) === ',')) return []
    const known = !word.name && (NO_CALLS.has(word.text.toUpperCase()) || isHarmlessCall(word.text))
    return known && wordAt(words, i - 1) !== '.' ? [] : [word.text]
  })
}
