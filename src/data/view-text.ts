const TOKEN = /'(?:[^']|'')*'|"(?:[^"]|"")*"|[\p{L}_][\p{L}\p{N}_$]*|\s+|[^]/gu
const ENDS_FROM =
  /^(WHERE|GROUP|HAVING|WINDOW|ORDER|LIMIT|OFFSET|FETCH|FOR|UNION|EXCEPT|INTERSECT|JOIN|TABLESAMPLE|,|;)$/
const SET_OPERATION = /^(UNION|EXCEPT|INTERSECT|JOIN|TABLESAMPLE|,)$/

interface Token {
  readonly text: string
  /** How many queries it is inside of, below that of the view itself. */
  readonly nested: number
  /** Parentheses around it. */
  readonly depth: number
}

/**
 * The text of a view without what says nothing: before version 16 PostgreSQL writes the table's name before each column
 * though there is one table only, and later it does not. Any other text stays as it is.
 */
export function plainView(text: string): string {
  const tokens = tokensOf(text)
  const alias = onlySource(tokens)
  if (alias === null) return text
  const said = tokens.filter((token, i) => {
    if (token.nested > 0) return true
    const at = token.text === '.' ? i - 1 : i
    return !qualifies(tokens, at, alias)
  })
  return said.map(token => token.text).join('')
}

function tokensOf(text: string): Token[] {
  const texts = text.match(TOKEN) ?? []
  const open: boolean[] = []
  return texts.map((token, i) => {
    if (token === ')') open.pop()
    const at = { text: token, nested: open.filter(isQuery => isQuery).length, depth: open.length }
    if (token === '(') open.push(/^(SELECT|WITH|VALUES)$/.test(texts.slice(i + 1).find(t => t.trim() !== '') ?? ''))
    return at
  })
}

/** The name by which the view's only table goes; null: it reads several, or nobody can tell. */
function onlySource(tokens: readonly Token[]): string | null {
  const top = tokens.filter(t => t.depth === 0 && t.text.trim() !== '')
  const from = top.findIndex(t => t.text === 'FROM')
  if (from < 0) return null
  const rest = top.slice(from + 1)
  const end = rest.findIndex(t => ENDS_FROM.test(t.text))
  const source = end < 0 ? rest : rest.slice(0, end)
  if (rest.slice(source.length).some(t => SET_OPERATION.test(t.text))) return null
  // A join stands in parentheses, with no name behind them.
  return source.findLast(t => /^["\p{L}_]/u.test(t.text))?.text ?? null
}

/** Whether the name at `i` is that of the table, before a column of it: not in `sales.book`, `book.*` or `book.f(x)`. */
function qualifies(tokens: readonly Token[], i: number, alias: string): boolean {
  const [before, name, dot, column, after] = [-1, 0, 1, 2, 3].map(n => tokens[i + n]?.text ?? '')
  if (name !== alias || dot !== '.' || before === '.') return false
  if (lastWord(tokens, i) === 'FROM' || tokens[i - 1]?.text === ':') return false
  return /^["\p{L}_]/u.test(column ?? '') && after !== '.' && after !== '('
}

function lastWord(tokens: readonly Token[], i: number): string {
  return tokens.slice(0, i).findLast(t => t.text.trim() !== '')?.text ?? ''
}
