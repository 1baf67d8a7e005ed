import { type Document, isMap, isScalar, LineCounter, parseDocument, visit, type YAMLError, type YAMLMap } from 'yaml'
import { BackoutError, messageOf } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { type Mistake, report } from './mistakes.ts'
import type { Source } from './source.ts'

/** Parses YAML and refuses what is not even that. Throws `config_invalid`. */
export function parse(file: string, text: string): Source {
  const lines = new LineCounter()
  const document = documentOf(file, text, lines)
  const source: Source = { file, text, document, lines }
  const mistakes = document.errors.map(yamlMistake)
  if (mistakes.length === 0) mistakes.push(...aliasMistakes(document), ...keysTwice(source), ...lostKeys(document))
  if (mistakes.length === 0 && !isMap(document.contents)) {
    const remedy = 'backout init writes a file to begin with'
    mistakes.push({ path: [], offset: 0, what: 'expected settings such as "environment: production"', remedy })
  }
  if (mistakes.length > 0) throw report(source, mistakes)
  return source
}

/** The file's content without its places. Throws `config_invalid`. */
export function plain(source: Source): Json {
  try {
    return source.document.toJS({ maxAliasCount: 1000 }) as Json
  } catch (error) {
    const what = `its aliases cannot be followed: ${messageOf(error)}`
    throw report(source, [{ path: [], offset: 0, what, remedy: 'write the values themselves' }])
  }
}

function documentOf(file: string, text: string, lines: LineCounter): Document {
  try {
    // Keys that stand twice are looked for below: the library compares each with each.
    return parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      merge: true,
      logLevel: 'error',
    })
  } catch (error) {
    throw new BackoutError({
      code: 'config_invalid',
      what: `${file} cannot be read as YAML`,
      cause: error instanceof RangeError ? 'it is nested too deeply' : messageOf(error),
      next: 'mend the file, then: backout doctor',
      exit: 'usage',
    })
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'indent with spaces',
  BAD_INDENT: 'indent what belongs together by the same number of spaces',
  MISSING_CHAR: 'close every bracket and quote, and put a blank behind each ":"',
  MULTIPLE_DOCS: 'keep one; take the "---" out',
  BLOCK_AS_IMPLICIT_KEY: 'put a text that holds ": " into quotes',
  UNEXPECTED_TOKEN: 'put a text with special characters into quotes',
}

function yamlMistake(error: YAMLError): Mistake {
  const several = error.code === 'MULTIPLE_DOCS'
  const what = several ? 'a second document begins here, and only one is read' : error.message
  return { path: [], offset: error.pos[0], what, remedy: REMEDIES[error.code] ?? 'mend the YAML' }
}

/** Aliases that stand for nothing, or for something that they are a part of. */
function aliasMistakes(document: Document): Mistake[] {
  const out: Mistake[] = []
  visit(document, {
    Alias(_, alias, path) {
      const target = alias.resolve(document)
      const offset = alias.range?.[0] ?? 0
      const remedy = 'write the value itself'
      if (target === undefined)
        out.push({ path: [], offset, what: `no anchor "&${alias.source}" stands before this`, remedy })
      else if (path.some(node => node === target)) {
        out.push({ path: [], offset, what: `"*${alias.source}" stands for something that it is a part of`, remedy })
      }
    },
  })
  return out
}

/** What is read afterwards leaves this key out without a word. */
function lostKeys(document: Document): Mistake[] {
  const out: Mistake[] = []
  visit(document, {
    Pair(_, { key }) {
      if (!isScalar(key) || key.value !== '__proto__') return
      const what = '"__proto__" cannot be the name of anything'
      out.push({ path: [], offset: key.range?.[0] ?? 0, what, remedy: 'take another name' })
    },
  })
  return out
}

function keysTwice({ document, lines }: Source): Mistake[] {
  const out: Mistake[] = []
  const look = (map: YAMLMap) => {
    const seen = new Map<string, number>()
    for (const { key } of map.items) {
      if (!isScalar(key)) continue
      const [name, offset] = [String(key.value), key.range?.[0] ?? 0]
      const first = seen.get(name)
      if (first === undefined) seen.set(name, offset)
      else if (name !== '<<') {
        const what = `"${name}" stands here twice, first in line ${lines.linePos(first).line}`
        out.push({ path: [], offset, what, remedy: 'take one of the two out' })
      }
    }
  }
  visit(document, { Map: (_, map) => look(map) })
  return out
}
