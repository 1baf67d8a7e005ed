import type { DatabaseKind } from './engine.ts'
import { deletedFrom, nameAt, namesFrom, type Token, topLevel, updatable, wordAt } from './sql-words.ts'

/** Every cell, and rows may have come and gone. */
export const ALL = 'all'
export type Wrote = ReadonlySet<string> | typeof ALL

/** Begin a statement that writes rows. */
const WRITES = new Set(['UPDATE', 'INSERT', 'DELETE', 'REPLACE', 'TRUNCATE', 'MERGE'])
/** Begin one that writes none, whatever follows. */
const HARMLESS = new Set(['BEGIN', 'START', 'COMMIT', 'END', 'COMMENT', 'GRANT', 'REVOKE'])
/** What may be made, changed or dropped without a row being written. */
const OBJECTS = new Set(['TABLE', 'INDEX', 'VIEW', 'SEQUENCE', 'SCHEMA', 'TYPE', 'DOMAIN'])
const BEFORE_OBJECT = new Set(['OR', 'REPLACE', 'UNIQUE', 'TEMP', 'TEMPORARY', 'IF', 'EXISTS', 'NOT', 'CONCURRENTLY'])
/** In a change of a table: cells may be written anew, or come from elsewhere. */
const REWRITES = new Set(
  'TYPE USING MODIFY CHANGE CONVERT PARTITION INHERIT AS GENERATED IMPORT DISCARD EXCHANGE'.split(' '),
)
const BEFORE_COLUMN = new Set(['COLUMN', 'IF', 'NOT', 'EXISTS'])

/** What one statement does. Names are in lower case. */
export interface Read {
  /** In whatever it names; null: nothing. */
  readonly wrote: Wrote | null
  /** All words of the statement. */
  readonly names: readonly string[]
  /** What it writes rows in, or takes away. null: it cannot be read. */
  readonly targets: readonly string[] | null
  /** It writes rows, or asks for some: triggers and functions may take part. */
  readonly fires: boolean
  /** It may put rows into its target that were nowhere. */
  readonly brings: boolean
  /** A table that it makes. `kept`: unless there is one. `part`: its rows are another one's. */
  readonly made: { readonly name: string; readonly kept: boolean; readonly part: boolean } | null
  /** A table that it changes: columns that may be other ones from then on, and what it calls itself then. */
  readonly altered: Altered | null
}

export interface Altered {
  readonly table: string
  readonly anew: readonly string[]
  readonly now: string | null
  /** Pairs of names, old and new. */
  readonly columns: readonly (readonly [string, string])[]
}

const NOTHING: Read = { wrote: null, names: [], targets: [], fires: false, brings: false, made: null, altered: null }

/** null: nobody can tell. */
export function readStatement(tokens: readonly Token[], kind: DatabaseKind): Read | null {
  const words = tokens.map((_, i) => wordAt(tokens, i))
  const names = tokens.map(t => t.text.toLowerCase())
  const [first = '', second] = words
  // What MariaDB runs as a block begins with BEGIN NOT ATOMIC.
  if (HARMLESS.has(first)) return first === 'BEGIN' && second === 'NOT' ? null : NOTHING
  if (WRITES.has(first)) {
    const wrote = first === 'UPDATE' && second !== 'OR' ? (columnsSet(words, names) ?? ALL) : ALL
    // Takes the rows of others with it, whatever their references say.
    if (first === 'TRUNCATE' && words.includes('CASCADE')) return null
    if (words.some((word, i) => WRITES.has(word) && words[i - 1] === '(' && words[i + 1] !== '(')) return null
    const brings = ['INSERT', 'REPLACE', 'MERGE'].includes(first)
    return { ...NOTHING, wrote, names, targets: targetsOf(tokens), fires: true, brings }
  }
  if (first === 'RENAME') return kind === 'mysql' ? renamedBy(tokens, names) : null
  if (first !== 'CREATE' && first !== 'ALTER' && first !== 'DROP') return null
  const at = words.findIndex((word, i) => i > 0 && !BEFORE_OBJECT.has(word))
  const object = words[at] ?? ''
  if (!OBJECTS.has(object) || reachesFar(first, object, words)) return null
  if (object !== 'TABLE') return NOTHING
  if (first === 'CREATE') return { ...NOTHING, fires: words.includes('SELECT'), made: madeBy(tokens, at + 1) }
  if (first === 'DROP') return { ...NOTHING, wrote: ALL, names, targets: lower(namesFrom(tokens, at + 1)) }
  return { ...NOTHING, wrote: columnsAltered(words, names), names, altered: alteredBy(tokens, at + 1, kind) }
}

/** `RENAME TABLE a TO b`. Several in one statement, which may exchange names, and into other databases: nobody can tell. */
function renamedBy(tokens: readonly Token[], names: readonly string[]): Read | null {
  const was = nameAt(tokens, 2)
  const now = nameAt(tokens, was.next + 1)
  const [table, to] = lower([was.name, now.name])
  const alone = now.next === tokens.length && wordAt(tokens, was.next) === 'TO' && wordAt(tokens, 1) === 'TABLE'
  if (!alone || table === undefined || to === undefined || `${table}${to}`.includes('.')) return null
  return { ...NOTHING, names, altered: { table, anew: [], now: to, columns: [] } }
}

function madeBy(tokens: readonly Token[], at: number): Read['made'] {
  const kept = wordAt(tokens, at) === 'IF'
  const part = tokens.some((_, i) => wordAt(tokens, i) === 'PARTITION' && wordAt(tokens, i + 1) === 'OF')
  return { name: nameAt(tokens, at).name.toLowerCase(), kept, part }
}

function targetsOf(tokens: readonly Token[]): string[] | null {
  const first = wordAt(tokens, 0)
  if (first === 'UPDATE') return updatable(tokens)?.map(name => name.toLowerCase()) ?? null
  if (first === 'DELETE') return lower(deletedFrom(tokens))
  if (first === 'TRUNCATE') return lower(namesFrom(tokens, wordAt(tokens, 1) === 'TABLE' ? 2 : 1))
  const into = tokens.slice(0, 6).findIndex((_, i) => wordAt(tokens, i) === 'INTO')
  return lower([nameAt(tokens, into < 0 ? 1 : into + 1).name])
}

const lower = (names: readonly string[]): string[] => names.map(name => name.toLowerCase())

/** The columns of `UPDATE … SET a = …, t.b = …`; null where they are written in another way. */
function columnsSet(words: readonly string[], names: readonly string[]): ReadonlySet<string> | null {
  const columns = new Set<string>()
  let depth = 0
  let starts = false
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    if (word === '(' || word === '[') depth++
    if (word === ')' || word === ']') depth--
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

/** The columns that are dropped and added, and what gets another name. */
function alteredBy(tokens: readonly Token[], at: number, kind: DatabaseKind): Altered {
  const { name, next } = nameAt(tokens, at)
  const top = topLevel(tokens, next)
  const places = (word: string) => top.filter(i => wordAt(tokens, i) === word)
  const text = (i: number) => tokens[i]?.text.toLowerCase() ?? ''
  const columns: (readonly [string, string])[] = []
  let now: string | null = null
  for (const i of places('RENAME')) {
    const [a, to] = [wordAt(tokens, i + 1), wordAt(tokens, i + 2)]
    if (a === 'TO' || a === 'AS' || a === '=') now = nameAt(tokens, i + 2).name.toLowerCase()
    else if (to === 'TO') columns.push([text(i + 1), text(i + 3)])
    else if (a === 'COLUMN') columns.push([text(i + 2), text(i + 4)])
    else if (!['INDEX', 'KEY', 'CONSTRAINT'].includes(a)) now = nameAt(tokens, i + 1).name.toLowerCase()
  }
  const anew = [...places('ADD'), ...places('DROP')].flatMap(i => columnsAt(tokens, i + 1))
  const table = name.toLowerCase()
  // Other letters are another name on PostgreSQL; SQLite does not tell tables by them either.
  const given = columns.filter(([was, to]) => kind === 'postgres' || was !== to)
  if (kind === 'sqlite' && now === table) now = null
  return { table, anew: [...lower(anew), ...given.map(([, to]) => to)], now, columns }
}

/** The column that stands there, or several in brackets. */
function columnsAt(tokens: readonly Token[], start: number): string[] {
  let i = start
  while (BEFORE_COLUMN.has(wordAt(tokens, i))) i++
  if (wordAt(tokens, i) !== '(') return [tokens[i]?.text ?? '']
  const rest = tokens.slice(i + 1)
  const top = topLevel(rest, 0)
  const starts = [0, ...top.filter(j => wordAt(rest, j) === ',').map(j => j + 1)]
  return starts.map(j => rest[j]?.text ?? '')
}

/** Words of an enum that get another name, parts of a type, and schemas that go with all that is in them, name no table. */
function reachesFar(first: string, object: string, words: readonly string[]): boolean {
  if (object === 'TYPE') return words.includes('RENAME') || (first === 'ALTER' && words.includes('ATTRIBUTE'))
  return object === 'SCHEMA' && first !== 'CREATE'
}
