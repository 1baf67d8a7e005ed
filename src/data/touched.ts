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

/** What migrations may have written: names in lower case, as their statements have them. Says too much rather than too little. */
export interface Touched {
  /** What tables may be called. */
  readonly tables: readonly string[]
  /** Of those of which no row came or went: the only columns in which cells were written. */
  readonly columns: Readonly<Record<string, readonly string[]>>
}

/** Every cell, and rows may have come and gone. */
const ALL = 'all'
type Wrote = ReadonlySet<string> | typeof ALL

/** By what the statements of migrations name. null: nobody can tell, for something else than plain statements takes part. */
export function touchedBy(
  scripts: readonly string[],
  kind: DatabaseKind,
  schemas: readonly SchemaShape[],
): Touched | null {
  const text = scripts.join(';\n')
  // Bodies of functions, and strings in which a quote may not end them.
  if (text.includes('$') || text.includes('\\')) return null
  const read = statementsOf(text, kind === 'mysql' ? 'mysql' : 'sqlite').map(readStatement)
  if (read.includes(null)) return null
  const all = read.filter(r => r !== null)
  if (all.some(r => r.wrote !== null) && schemas.some(actsByItself)) return null
  const touched = new Map<string, Wrote>()
  for (const { names, wrote } of all) {
    if (wrote !== null) for (const name of names) touched.set(name, union(touched.get(name), wrote))
  }
  const renames = all.filter(r => r.renames)
  for (let before = ''; before !== sizeOf(touched); ) {
    before = sizeOf(touched)
    for (const { names } of renames) follow(touched, names)
  }
  return told(touched)
}

/** What has another name: whatever one of the names had written, each of them may have had, and they may be its columns. */
function follow(touched: Map<string, Wrote>, names: readonly string[]): void {
  const known = names.flatMap(name => touched.get(name) ?? [])
  if (known.length === 0) return
  const wrote = [new Set(names), ...known].reduce<Wrote>((a, b) => union(a, b), new Set())
  for (const name of names) touched.set(name, wrote)
}

function union(a: Wrote | undefined, b: Wrote): Wrote {
  return a === ALL || b === ALL ? ALL : new Set([...(a ?? []), ...b])
}

function sizeOf(touched: ReadonlyMap<string, Wrote>): string {
  return [...touched].map(([name, wrote]) => `${name} ${wrote === ALL ? ALL : wrote.size}`).join('\n')
}

function told(touched: ReadonlyMap<string, Wrote>): Touched {
  const tables = [...touched.keys()].sort()
  const columns = tables.flatMap(name => {
    const wrote = touched.get(name)
    return wrote === undefined || wrote === ALL ? [] : [[name, [...wrote].sort()] as const]
  })
  return { tables, columns: Object.fromEntries(columns) }
}

/**
 * The columns of a table of `SchemaShape`, by any of its names, in which migrations may have written cells; null: rows may
 * have come and gone, too. None: it was left alone.
 */
export function writtenIn(names: readonly string[], touched: Touched): readonly string[] | null {
  const all = names.flatMap(table => [plain(table), plain(table.split('.').at(-1) ?? table)])
  const known = [...new Set(all)].filter(name => touched.tables.includes(name))
  const columns = known.map(name => touched.columns[name])
  return columns.includes(undefined) ? null : columns.flatMap(list => list ?? [])
}

/** A name as it stands in `Touched`. */
export function plain(name: string): string {
  return name.replaceAll('"', '').toLowerCase()
}

interface Read {
  /** In whatever it names; null: nothing. */
  readonly wrote: Wrote | null
  readonly renames: boolean
  /** All words of the statement, in lower case. */
  readonly names: readonly string[]
}

function readStatement(tokens: readonly Token[]): Read | null {
  const words = tokens.map(t => (t.name ? '' : t.text.toUpperCase()))
  const names = tokens.map(t => t.text.toLowerCase())
  const [first = ''] = words
  if (HARMLESS.has(first)) return { wrote: null, renames: false, names: [] }
  if (first === 'UPDATE') return { wrote: columnsSet(words, names) ?? ALL, renames: false, names }
  if (WRITES.has(first)) return { wrote: ALL, renames: false, names }
  if (first !== 'CREATE' && first !== 'ALTER' && first !== 'DROP') return null
  const object = words.slice(1).find(word => !BEFORE_OBJECT.has(word)) ?? ''
  if (!OBJECTS.has(object) || reachesFar(first, object, words)) return null
  if (object !== 'TABLE') return { wrote: null, renames: false, names }
  const wrote = first === 'DROP' ? ALL : first === 'ALTER' ? columnsAltered(words, names) : null
  return { wrote, renames: words.includes('RENAME'), names }
}

/** The columns of `UPDATE … SET a = …, t.b = …`; null where they are written in another way. */
function columnsSet(words: readonly string[], names: readonly string[]): ReadonlySet<string> | null {
  const columns = new Set<string>()
  let depth = 0
  let starts = false
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    if (word === '(') depth++
    if (word === ')') depth--
    if (depth === 0 && (word === 'SET' || (word === ',' && columns.size > 0))) starts = true
    else if (starts) {
      while (words[i + 1] === '.') i += 2
      if (words[i + 1] !== '=' || names[i] === undefined) return null
      columns.add(names[i] ?? '')
      starts = false
    }
  }
  return columns.size === 0 ? null : columns
}

/** null: cells stay as they are. */
function columnsAltered(words: readonly string[], names: readonly string[]): Wrote | null {
  const anew = words.filter(word => REWRITES.has(word))
  if (anew.length === 0) return null
  if (!anew.every(word => word === 'TYPE' || word === 'USING')) return ALL
  const at = words.flatMap((word, i) => (i > 0 && word === 'ALTER' ? [words[i + 1] === 'COLUMN' ? i + 2 : i + 1] : []))
  return new Set(at.map(i => names[i] ?? ''))
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
