import type { WayBack } from '../migration-files.ts'
import { none } from './sql.ts'

const NO_WAY_BACK = 'has no way back'
const NOTHING = 'undoes nothing'
const IRREVERSIBLE = 'says that it is irreversible'

/** Migrations of JavaScript and TypeScript: `exports.down`, `down()`, `down: async () => …`. */
export function javascriptBack(file: string, source: string): WayBack {
  const text = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|[^:'"`])\/\/[^\n]*/g, '$1')
  if (/\bdown\s*[=:]\s*(?:false|null|undefined)\b/.test(text)) return none(file, IRREVERSIBLE)
  const at = /(?:\bdown\s*[=:]|\bfunction\s+down\b|(?:^|[{};,]|\basync|\bpublic)\s*down\s*\()/m.exec(text)
  if (at === null) return none(file, NO_WAY_BACK)
  return judged(file, text.slice(at.index + at[0].length))
}

/** Migrations of PHP: `public function down(): void { … }`. */
export function phpBack(file: string, source: string): WayBack {
  const text = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(?:\/\/|#)[^\n]*/g, '')
  const at = /\bfunction\s+down\s*/.exec(text)
  return at === null ? none(file, NO_WAY_BACK) : judged(file, text.slice(at.index + at[0].length))
}

/** What a function does, from its parameters on. */
function judged(file: string, rest: string): WayBack {
  const body = /\{([\s\S]*)/.exec(rest)?.[1] ?? ''
  const head = rest.slice(0, rest.length - body.length)
  // `down = knex => knex.schema.dropTable(…)` has no body in braces of its own.
  const arrow = /=>\s*(?:Promise\.resolve\(\)|undefined|null|\(\s*\)|\{\s*\})\s*[;,}]?\s*$/m.exec(
    rest.split('\n')[0] ?? '',
  )
  if (arrow !== null && !/\{\s*\S/.test(head)) return none(file, NOTHING, true)
  if (/^\s*throw\b/.test(body)) return none(file, IRREVERSIBLE)
  if (/^\s*(?:return;?\s*)?\}/.test(body) && head.trimEnd().endsWith('{')) return none(file, NOTHING, true)
  return { is: 'code', file }
}

/** Rails: `def down`, or `def change`, which it turns round by itself. */
export function rubyBack(file: string, source: string): WayBack {
  const text = source.replaceAll(/^\s*#[^\n]*/gm, '')
  if (/\bdef\s+change\b/.test(text)) {
    return /IrreversibleMigration/.test(text) ? none(file, IRREVERSIBLE) : { is: 'computed', file }
  }
  const at = /\bdef\s+(?:self\.)?down\b([\s\S]*)/.exec(text)
  if (at === null) return none(file, NO_WAY_BACK)
  if (/^\s*raise\b/.test(at[1] ?? '')) return none(file, IRREVERSIBLE)
  return /^\s*end\b/.test(at[1] ?? '') ? none(file, NOTHING, true) : { is: 'code', file }
}

/** Alembic: `def downgrade()`. */
export function alembicBack(file: string, source: string): WayBack {
  const text = source.replaceAll(/"""[\s\S]*?"""/g, '').replaceAll(/#[^\n]*/g, '')
  const body = /^def\s+downgrade\([^)]*\)[^:]*:([\s\S]*)/m.exec(text)?.[1]
  if (body === undefined) return none(file, NO_WAY_BACK)
  if (/^\s*raise\b/.test(body)) return none(file, IRREVERSIBLE)
  return /^\s*pass\b\s*(?:$|def\b)/.test(body) ? none(file, NOTHING, true) : { is: 'code', file }
}

/** Django turns most operations round by itself; not those of a program or of SQL without a second one. */
export function djangoBack(file: string, source: string): WayBack {
  const text = source.replaceAll(/#[^\n]*/g, '')
  const calls = [...text.matchAll(/\bRun(?:Python|SQL)\s*\(/g)].map(m => argumentsAt(text, m.index + m[0].length))
  const lacks = calls.some(args => args.length < 2 && !args.some(a => /^\s*reverse_(?:code|sql)\s*=/.test(a)))
  if (lacks) return none(file, IRREVERSIBLE)
  return calls.length > 0 ? { is: 'code', file } : { is: 'computed', file }
}

/** The arguments of a call, from after its parenthesis on; those by name that say nothing about the way back left out. */
function argumentsAt(text: string, start: number): string[] {
  const out = ['']
  let depth = 0
  let quote = ''
  for (let i = start; i < text.length; i++) {
    const c = text[i] ?? ''
    if (quote !== '') {
      if (text.startsWith(quote, i)) {
        i += quote.length - 1
        quote = ''
      }
    } else if (c === '"' || c === "'") {
      quote = text.startsWith(c.repeat(3), i) ? c.repeat(3) : c
      i += quote.length - 1
    } else if (c === ')' && depth === 0) break
    else if ('([{'.includes(c)) depth++
    else if (')]}'.includes(c)) depth--
    else if (c === ',' && depth === 0) {
      out.push('')
      continue
    }
    out[out.length - 1] += c
  }
  return out.filter(arg => arg.trim() !== '' && !/^\s*(?:elidable|atomic|hints|state_operations)\s*=/.test(arg))
}
