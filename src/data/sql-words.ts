/** A word, a quoted name or a mark of SQL. `name`: it is an identifier that was quoted. */
export interface Token {
  readonly text: string
  readonly name: boolean
}

/** `brackets` are quotes around a name; elsewhere they stand around what an array holds. */
const names = (brackets: string) =>
  `"((?:[^"]|"")*)"|\`((?:[^\`]|\`\`)*)\`|${brackets}[\\p{L}_][\\p{L}\\p{N}_$]*|[0-9][0-9.]*|\\S`
const STANDARD = `--[^\\n]*|/\\*[\\s\\S]*?\\*/|'(?:[^']|'')*'|`
const POSTGRES = new RegExp(`${STANDARD}${names('')}`, 'gu')
const SQLITE = new RegExp(`${STANDARD}${names('\\[([^\\]]*)\\]|')}`, 'gu')
/** Backslashes escape, "--" wants a space after it, "#" begins a comment. */
const MYSQL = new RegExp(
  `--(?=\\s|$)[^\\n]*|#[^\\n]*|/\\*[\\s\\S]*?\\*/|'(?:[^'\\\\]|''|\\\\[\\s\\S])*'|${names('')}`,
  'gu',
)

const WORDS = { mysql: MYSQL, postgres: POSTGRES, sqlite: SQLITE }

export function statementsOf(sql: string, kind: keyof typeof WORDS): Token[][] {
  const out: Token[][] = [[]]
  // MySQL executes what stands in comments that begin with "/*!", MariaDB in those with "/*M!" too.
  const text = kind === 'mysql' ? sql.replaceAll(/\/\*M?!\d*([\s\S]*?)\*\//g, ' $1 ') : sql
  for (const match of text.matchAll(WORDS[kind])) {
    const [text, double, back, square] = match
    const quoted = double ?? back ?? square
    if (quoted === undefined && /^(?:--|#.|\/\*|'.)/s.test(text)) continue
    if (text === ';') out.push([])
    else out.at(-1)?.push({ text: quoted?.replaceAll(/""|``/g, m => m.slice(1)) ?? text, name: quoted !== undefined })
  }
  return out.filter(words => words.length > 0)
}

/** A word in capitals; "" for a name in quotes, and beyond the end. */
export function wordAt(words: readonly Token[], i: number): string {
  return words[i]?.name === false ? words[i].text.toUpperCase() : ''
}

/** The place after a word; 0: it is not there. */
export function after(words: readonly Token[], word: string): number {
  return words.findIndex((_, i) => wordAt(words, i) === word) + 1
}

/** The places outside of all brackets, from `start` on. */
export function topLevel(words: readonly Token[], start: number): number[] {
  const out: number[] = []
  let depth = 0
  for (let i = start; i < words.length; i++) {
    const word = wordAt(words, i)
    if (word === '(') depth++
    else if (word === ')') depth--
    else if (depth === 0) out.push(i)
  }
  return out
}

const BEFORE_NAME = new Set(['IF', 'EXISTS', 'NOT', 'ONLY', 'LOW_PRIORITY', 'IGNORE', 'QUICK', 'TEMPORARY', 'DELAYED'])

/** A name, and the place after it. */
export function nameAt(words: readonly Token[], start: number): { name: string; next: number } {
  let i = start
  while (BEFORE_NAME.has(wordAt(words, i))) i++
  const parts = [words[i]?.text ?? '']
  while (words[i + 1]?.text === '.' && words[i + 2] !== undefined) {
    parts.push(words[i + 2]?.text ?? '')
    i += 2
  }
  return { name: parts.join('.'), next: i + 1 }
}

/** Names with commas between them. */
export function namesFrom(words: readonly Token[], start: number): string[] {
  const names: string[] = []
  for (let at = start; ; ) {
    const { name, next } = nameAt(words, at)
    names.push(name.replace(/\.\*$/, ''))
    if (wordAt(words, next) !== ',') return names
    at = next + 1
  }
}

/** "DELETE FROM a", "DELETE a, b FROM a JOIN b", "DELETE FROM a, b USING a JOIN b"; what is called by an alias, by its name. */
export function deletedFrom(words: readonly Token[]): string[] {
  const from = after(words, 'FROM')
  const first = nameAt(words, 1)
  const before = from > first.next
  const names = before ? namesFrom(words, 1) : namesFrom(words, from)
  const rest = words.slice(before ? from : Math.max(after(words, 'USING'), from))
  return names.map(name => tableOf(rest, name))
}

/** All that stands between UPDATE and SET: MySQL may write in each. null: nobody can tell. */
export function updatable(words: readonly Token[]): string[] | null {
  const top = topLevel(words, 1)
  const set = top.find(i => wordAt(words, i) === 'SET') ?? words.length
  const starts = [
    wordAt(words, 1) === 'OR' ? 3 : 1,
    ...top.filter(i => i < set && BETWEEN_TABLES.has(wordAt(words, i))).map(i => i + 1),
  ]
  if (starts.some(i => wordAt(words, i) === '(' && wordAt(words, i + 1) !== 'SELECT')) return null
  return starts.filter(i => wordAt(words, i) !== '(').map(i => nameAt(words, i).name)
}

/** The tables of which an UPDATE sets columns, where each is said with its table, or else all that it names. null: nobody can tell. */
export function updatedIn(words: readonly Token[]): string[] | null {
  const all = updatable(words)
  const top = topLevel(words, 1)
  const set = top.find(i => wordAt(words, i) === 'SET')
  if (all === null || all.length < 2 || set === undefined) return all
  const end = top.find(i => i > set && AFTER_SET.has(wordAt(words, i))) ?? words.length
  const starts = [set, ...top.filter(i => i > set && i < end && wordAt(words, i) === ',')]
  const named = starts.map(i =>
    nameAt(words, i + 1)
      .name.split('.')
      .slice(0, -1)
      .join('.'),
  )
  if (named.includes('')) return all
  const before = words.slice(1, set)
  return [...new Set(named.map(name => tableOf(before, name)))]
}

const AFTER_SET = new Set(['WHERE', 'ORDER', 'LIMIT', 'RETURNING'])
const BETWEEN_TABLES = new Set(['JOIN', 'STRAIGHT_JOIN', ','])

function tableOf(words: readonly Token[], alias: string): string {
  for (let i = 0; i < words.length; i++) {
    const starts = i === 0 || BETWEEN_TABLES.has(wordAt(words, i - 1))
    if (!starts) continue
    const { name, next } = nameAt(words, i)
    if (words[wordAt(words, next) === 'AS' ? next + 1 : next]?.text === alias) return name
  }
  return alias
}
