import type { Destroys, ReadScript } from './down-script.ts'

/** A word, a quoted name or a mark of SQL. `name`: it is an identifier that was quoted. */
export interface Token {
  readonly text: string
  readonly name: boolean
}

const NAMES = /"((?:[^"]|"")*)"|`((?:[^`]|``)*)`|\[([^\]]*)\]|[\p{L}_][\p{L}\p{N}_$]*|[0-9][0-9.]*|\S/u.source
const STANDARD = new RegExp(`--[^\\n]*|/\\*[\\s\\S]*?\\*/|'(?:[^']|'')*'|${NAMES}`, 'gu')
/** Backslashes escape, "--" wants a space after it, "#" begins a comment. */
const MYSQL = new RegExp(
  `--(?=\\s|$)[^\\n]*|#[^\\n]*|/\\*[\\s\\S]*?\\*/|'(?:[^'\\\\]|''|\\\\[\\s\\S])*'|${NAMES}`,
  'gu',
)

/** Reads statements word by word: enough to find what destroys. */
export function readStatements(sql: string, kind: 'mysql' | 'sqlite'): ReadScript {
  const read = statementsOf(sql, kind).map(readStatement)
  return { destroys: read.flatMap(r => r.destroys), unread: read.flatMap(r => r.unread) }
}

export function statementsOf(sql: string, kind: 'mysql' | 'sqlite'): Token[][] {
  const out: Token[][] = [[]]
  // MySQL executes what stands in comments that begin with "/*!".
  const text = kind === 'mysql' ? sql.replaceAll(/\/\*!\d*([\s\S]*?)\*\//g, ' $1 ') : sql
  for (const match of text.matchAll(kind === 'mysql' ? MYSQL : STANDARD)) {
    const [text, double, back, square] = match
    const quoted = double ?? back ?? square
    if (quoted === undefined && /^(?:--.|#.|\/\*|'.)/s.test(text)) continue
    if (text === ';') out.push([])
    else out.at(-1)?.push({ text: quoted?.replaceAll(/""|``/g, m => m.slice(1)) ?? text, name: quoted !== undefined })
  }
  return out.filter(words => words.length > 0)
}

function readStatement(words: Token[]): ReadScript {
  const at = (i: number) => (words[i]?.name === false ? words[i].text.toUpperCase() : '')
  const unread = (why: string) => ({ destroys: [], unread: [why] })
  const one = (destroys: Destroys) => ({ destroys: [destroys], unread: [] })
  switch (at(0)) {
    case 'DROP':
      return dropped(words)
    case 'ALTER':
      return altered(words)
    case 'TRUNCATE':
      return one({ does: 'empties', object: 'table', name: nameAt(words, at(1) === 'TABLE' ? 2 : 1).name })
    case 'DELETE':
      return one({ does: 'deletes from', object: 'table', name: nameAt(words, after(words, 'FROM')).name })
    case 'UPDATE':
      return one({ does: 'changes', object: 'table', name: nameAt(words, at(1) === 'OR' ? 3 : 1).name })
    case 'REPLACE':
      return one({ does: 'changes', object: 'table', name: nameAt(words, at(1) === 'INTO' ? 2 : 1).name })
    case 'WITH': {
      const verb = words.findIndex((_, i) => ['DELETE', 'UPDATE'].includes(at(i)))
      return verb < 0 ? { destroys: [], unread: [] } : readStatement(words.slice(verb))
    }
    case 'CALL':
    case 'DO':
    case 'EXECUTE':
    case 'PREPARE':
      return unread(`${at(0)} does what only the database knows`)
    default:
      return { destroys: [], unread: [] }
  }
}

function after(words: readonly Token[], word: string): number {
  return words.findIndex(w => !w.name && w.text.toUpperCase() === word) + 1
}

/** A name, and the place after it. */
function nameAt(words: readonly Token[], start: number): { name: string; next: number } {
  let i = start
  const skipped = new Set(['IF', 'EXISTS', 'NOT', 'ONLY', 'LOW_PRIORITY', 'IGNORE', 'QUICK', 'TEMPORARY'])
  while (words[i]?.name === false && skipped.has(words[i]?.text.toUpperCase() ?? '')) i++
  const parts = [words[i]?.text ?? '']
  while (words[i + 1]?.text === '.' && words[i + 2] !== undefined) {
    parts.push(words[i + 2]?.text ?? '')
    i += 2
  }
  return { name: parts.join('.'), next: i + 1 }
}

const OBJECTS: Readonly<Record<string, Destroys['object']>> = {
  TABLE: 'table',
  VIEW: 'view',
  TYPE: 'type',
  SCHEMA: 'schema',
  DATABASE: 'schema',
}

function dropped(words: readonly Token[]): ReadScript {
  const kind = words[1]?.text.toUpperCase() === 'TEMPORARY' ? 2 : 1
  const object = OBJECTS[words[kind]?.text.toUpperCase() ?? '']
  if (object === undefined) return { destroys: [], unread: [] }
  const destroys: Destroys[] = []
  let at = kind + 1
  do {
    const { name, next } = nameAt(words, at)
    destroys.push({ does: 'drops', object, name })
    at = next + 1
  } while (words[at - 1]?.text === ',')
  return { destroys, unread: [] }
}

/** What ends the name of a column right after DROP, because it is none. */
const NOT_COLUMNS = new Set([
  'CONSTRAINT',
  'INDEX',
  'KEY',
  'PRIMARY',
  'FOREIGN',
  'CHECK',
  'DEFAULT',
  'NOT',
  'PARTITION',
])

function altered(words: readonly Token[]): ReadScript {
  if (words[1]?.text.toUpperCase() !== 'TABLE') return { destroys: [], unread: [] }
  const { name: table, next } = nameAt(words, 2)
  const destroys: Destroys[] = []
  for (let i = next; i < words.length; i++) {
    if (words[i]?.name !== false) continue
    const word = words[i]?.text.toUpperCase()
    const starts = i === next || words[i - 1]?.text === ','
    if (!starts) continue
    const second = words[i + 1]?.text.toUpperCase() ?? ''
    const column = () => `${table}.${nameAt(words, second === 'COLUMN' ? i + 2 : i + 1).name}`
    if (word === 'DROP' && (words[i + 1]?.name === true || !NOT_COLUMNS.has(second))) {
      destroys.push({ does: 'drops', object: 'column', name: column() })
    }
    // CHANGE and MODIFY say the whole column again; ALTER COLUMN may say its type.
    const types = word === 'ALTER' && words.slice(i).some(w => !w.name && w.text.toUpperCase() === 'TYPE')
    if (word === 'MODIFY' || word === 'CHANGE' || types)
      destroys.push({ does: 'narrows', object: 'column', name: column() })
  }
  return { destroys, unread: [] }
}
