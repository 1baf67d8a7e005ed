/** What stands for values of rows that a server or its client repeated. */
const HIDDEN = '***'

/**
 * What a database's client said, without the rows in it: those are customers' data, and what is said goes to the terminal,
 * the journal and the reports. Names of tables, columns and constraints stay, and so does the number of a line.
 */
export function withoutRows(text: string): string {
  return withoutLoose(withoutEcho(text).replace(BLOCK, (_, label: string, body: string) => label + ofPostgres(body)))
}

/** Clients of MariaDB repeat the statement that failed between two such lines, however long it is. */
const RULE = '-'.repeat(14)

function withoutEcho(text: string): string {
  let kept = ''
  let at = 0
  for (const end of text.matchAll(new RegExp(`^${RULE}\\n\\s*(?=ERROR \\d)`, 'gm'))) {
    // Of a long output only the end is there: then the line that it begins with is not.
    const begin = text.startsWith(`${RULE}\n`, at) ? at : text.indexOf(`\n${RULE}\n`, at) + 1
    if (begin > at && begin < end.index) kept += text.slice(at, begin)
    at = end.index + end[0].length
  }
  return kept + text.slice(at)
}

/** PostgreSQL's "ERROR:  …", "DETAIL:  …", in any language, each up to the next, or to what its tools say themselves. */
const LABEL = String.raw`[^\n]*?(?<!\p{L})\p{Lu}[\p{Lu}\p{M} ]*:  `
const BLOCK = new RegExp(
  `^(${LABEL})([\\s\\S]*?)(?=^${LABEL}|^(?:psql|pg_\\w+): |^ *Command was: |^LINE \\d+: |(?![\\s\\S]))`,
  'gmu',
)

/** What PostgreSQL quotes is a name after one of these; anything else may be what stands in a row. */
const NAMED = `table|relation|column|reference|constraint|index|type|role|user|schema|database|extension|function|procedure|
aggregate|sequence|view|trigger|rule|policy|parameter|file|directory|library|language|operator|method|tablespace|publication|
subscription|collation|encoding|domain|cursor|statement|socket|host|at|near|class|family|object|module`
const QUOTED = new RegExp(`((?<!\\p{L})(?:${NAMED.replaceAll('\n', '')}) "(?!')[^"]*")|["„»«“][\\s\\S]*`, 'gu')

function ofPostgres(body: string): string {
  const end = body.endsWith('\n') ? '\n' : ''
  return body
    .replace(
      /\)=\([\s\S]*|(?<=\p{L}) \([\s\S]*\)[.。]?\s*$/u,
      hit => `${hit.startsWith(')') ? ')=' : ' '}(${HIDDEN})${end}`,
    )
    .replace(/((?:\bCOPY|\bJSON) [^:]*?: )[\s\S]*/, `$1${HIDDEN}${end}`)
    .replace(QUOTED, (_, name?: string) => name ?? `"${HIDDEN}"${end}`)
}

/** What stands in one line, as libraries and migration tools print it too. */
const LOOSE: readonly (readonly [RegExp, string])[] = [
  [/\)=\((?!\*\*\*\)).*(?:\)|$)/gm, `)=(${HIDDEN})`],
  [/(row contains) \((?!\*\*\*\)).*(?:\)|$)/gim, `$1 (${HIDDEN})`],
  [/(\bCOPY [^\s,]+, [^:\n]*: )".*$/gm, `$1${HIDDEN}`],
  [/(\binvalid input (?:syntax|value) for [^:\n]*: ).*$/gm, `$1"${HIDDEN}"`],
  [/(\b(?:insert|replace)\s+into\b.*\bvalues\s*)\(.*\)/gi, `$1(${HIDDEN})`],
  [
    /(\b(?:Duplicate entry|Incorrect [^'\n]*value:|incorrect [^'\n]*value:|character string:)) '.*?'(?= (?:for|at|in)\b|$)/gms,
    `$1 '${HIDDEN}'`,
  ],
  [/(\b(?:entry|record)) '.*?'(?= would\b|, key\b)/gms, `$1 '${HIDDEN}'`],
  [/(\bno partition for value) .*$/gm, `$1 ${HIDDEN}`],
  [/(\bnear) '.*'(?= at line \d)/gms, `$1 '${HIDDEN}'`],
  [/(?<=^LINE \d+: .*)'.*$/gm, `'${HIDDEN}'`],
]

function withoutLoose(text: string): string {
  return LOOSE.reduce((said, [pattern, instead]) => said.replace(pattern, instead), text)
}
