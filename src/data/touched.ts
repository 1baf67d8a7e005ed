import type { DatabaseKind } from './engine.ts'
import type { SchemaShape } from './schema.ts'
import { statementsOf, type Token } from './sql-words.ts'

/** Begin a statement that writes rows. */
const WRITES = new Set(['UPDATE', 'INSERT', 'DELETE', 'REPLACE', 'TRUNCATE', 'MERGE'])
/** Begin one that writes none, whatever follows. */
const HARMLESS = new Set(['BEGIN', 'START', 'COMMIT', 'END', 'COMMENT', 'GRANT', 'REVOKE'])
/** What may be made, changed or dropped without a row being written. */
const OBJECTS = new Set(['TABLE', 'INDEX', 'VIEW', 'SEQUENCE', 'SCHEMA', 'TYPE', 'DOMAIN'])
const BEFORE_OBJECT = new Set(['OR', 'REPLACE', 'UNIQUE', 'TEMP', 'TEMPORARY', 'IF', 'EXISTS', 'NOT', 'CONCURRENTLY'])
/** In a change of a table: cells may be written anew. */
const REWRITES = new Set(['TYPE', 'USING', 'MODIFY', 'CHANGE', 'CONVERT', 'PARTITION', 'INHERIT', 'AS', 'GENERATED'])

/**
 * The names that migrations may have written rows of: what their statements name, and what is called by another name through
 * them. Says too much rather than too little. null: nobody can tell, for something else than plain statements takes part.
 */
export function touchedBy(
  scripts: readonly string[],
  kind: DatabaseKind,
  schemas: readonly SchemaShape[],
): string[] | null {
  const text = scripts.join(';\n')
  // Bodies of functions, and strings in which a quote may not end them.
  if (text.includes('$') || text.includes('\\')) return null
  const read = statementsOf(text, kind === 'mysql' ? 'mysql' : 'sqlite').map(readStatement)
  if (read.includes(null)) return null
  const all = read.filter(r => r !== null)
  const wrote = all.some(r => r.writes)
  if (wrote && schemas.some(actsByItself)) return null
  const touched = new Set(all.filter(r => r.writes).flatMap(r => r.names))
  for (let before = -1; before !== touched.size; ) {
    before = touched.size
    for (const { names } of all.filter(r => r.renames && r.names.some(n => touched.has(n)))) {
      for (const name of names) touched.add(name)
    }
  }
  return [...touched].sort()
}

/** Whether a table of this name of `SchemaShape` is none of them, with its schema or without. */
export function isUntouched(table: string, touched: readonly string[]): boolean {
  const bare = table.split('.').at(-1) ?? table
  return ![table, bare].some(name => touched.includes(name.replaceAll('"', '').toLowerCase()))
}

interface Read {
  readonly writes: boolean
  readonly renames: boolean
  /** All words of the statement, in lower case. */
  readonly names: readonly string[]
}

function readStatement(tokens: readonly Token[]): Read | null {
  const words = tokens.map(t => (t.name ? '' : t.text.toUpperCase()))
  const names = tokens.map(t => t.text.toLowerCase())
  const [first = ''] = words
  if (HARMLESS.has(first)) return { writes: false, renames: false, names: [] }
  if (WRITES.has(first)) return { writes: true, renames: false, names }
  if (first !== 'CREATE' && first !== 'ALTER' && first !== 'DROP') return null
  const object = words.slice(1).find(word => !BEFORE_OBJECT.has(word)) ?? ''
  if (!OBJECTS.has(object) || reachesFar(first, object, words)) return null
  if (object !== 'TABLE') return { writes: false, renames: false, names }
  const anew = first === 'DROP' || (first === 'ALTER' && words.some(word => REWRITES.has(word)))
  return { writes: anew, renames: words.includes('RENAME'), names }
}

/** Words of an enum that get another name, and schemas that go with all that is in them, name no table. */
function reachesFar(first: string, object: string, words: readonly string[]): boolean {
  return (object === 'TYPE' && words.includes('RENAME')) || (object === 'SCHEMA' && first !== 'CREATE')
}

/** Writing one row may write others: triggers, functions, references that cascade. */
function actsByItself({ tables, triggers, others }: SchemaShape): boolean {
  const constraints = Object.values(tables).flatMap(t => t.constraints)
  return (
    Object.keys(triggers).length > 0 ||
    Object.keys(others).some(name => /^(function|procedure|rule|event)\b/i.test(name)) ||
    constraints.some(text => /cascade|set\s+(null|default)/i.test(text))
  )
}
