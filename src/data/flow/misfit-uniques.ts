import type { Dialect } from '../engine.ts'
import { called } from '../references.ts'
import type { TableShape } from '../schema.ts'
import { askedNumber } from './asked.ts'
import type { Misfit, Narrowed } from './misfits.ts'
import { isRestated } from './restated.ts'

/** What was unique at the release and need not be any more, as far as it can be asked for. */
interface Unique {
  /** For people: "mail, shop". */
  readonly names: string
  /** SQL; null: nobody can say it. */
  readonly terms: readonly string[] | null
  /** Which rows it binds; null: all. */
  readonly where: string | null
  readonly nullsEqual: boolean
  readonly text: string
}

/** Rows that are there twice where a key, a constraint or an index is unique again, or compares otherwise again. */
export async function uniqueMisfits(narrowed: Narrowed): Promise<Misfit[]> {
  const { dialect, db, table, then, now } = narrowed
  const out: Misfit[] = []
  for (const text of textsOf(then)) {
    const [bound, other] = [textsOf(now).includes(text), comparesOtherwise(dialect, text, then, now)]
    if (bound && !other) continue
    if (!bound && isRestated(text, textsOf(now), narrowed)) continue
    const unique = uniqueIn(dialect, text, then, now)
    const count = unique.terms === null ? null : await askedNumber(db, twice(dialect, table, unique, unique.terms))
    if (count === 0) continue
    const what = `${table} (${unique.names} twice)`
    const why = count === null ? `${unique.text} binds ${table} again` : `${unique.names} of ${table} is unique again`
    if (!out.some(m => m.what === what)) out.push({ what, count, unit: 'rows', why })
  }
  return out
}

/** All that is unique in a table, one text each. */
function textsOf({ key, indexes, constraints }: TableShape): string[] {
  const own = constraints.filter(c => /^(unique|primary key|exclude)\b/i.test(c))
  const told = own.some(c => /^primary key/i.test(c)) || key.length === 0
  const made = Object.values(indexes).filter(i => i.unique)
  return [...(told ? [] : [`primary key (${key.join(', ')})`]), ...own, ...made.map(i => `unique index ${i.on}`)]
}

const COLLATED = / collate (\S+)/i

/** It binds as before, and the same texts are other ones now: "bob" and "Bob". */
function comparesOtherwise({ kind }: Dialect, text: string, then: TableShape, now: TableShape): boolean {
  // SQLite says it of a table, and not of which column.
  const other = then.constraints.some(c => c.startsWith('collate ') && !now.constraints.includes(c))
  if (kind === 'sqlite' && other) return true
  return Object.entries(then.columns).some(([name, { type }]) => {
    const is = now.columns[name]?.type
    return is !== undefined && COLLATED.exec(type)?.[1] !== COLLATED.exec(is)?.[1] && names(text).includes(name)
  })
}

function names(text: string): string[] {
  return text.match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? []
}

function uniqueIn(dialect: Dialect, text: string, then: TableShape, now: TableShape): Unique {
  const { kind } = dialect
  const index = /^unique index (.*)$/is.exec(text)?.[1]
  // MySQL tells the parts of an index without brackets around them.
  const whole = index !== undefined && kind === 'mysql' ? `(${index})` : (index ?? text)
  const open = whole.indexOf('(')
  const { items, rest } = bracketed(whole, open)
  const collated = kind === 'sqlite' && comparesOtherwise(dialect, '', then, now)
  const sayable = !/^exclude/i.test(text) && !collated
  const terms = items.map(item => termOf(dialect, item, then, now))
  return {
    names: items.map(item => called(Object.keys(now.columns), unordered(item)) ?? item).join(', '),
    terms: sayable && !terms.includes(null) && terms.length > 0 ? terms.filter(t => t !== null) : null,
    where: /\bwhere ?(.*)$/is.exec(rest)?.[1] ?? null,
    nullsEqual: /nulls not distinct/i.test(whole.slice(0, open) + rest),
    text: index === undefined ? text : `the unique index over ${index}`,
  }
}

/** The parts between one bracket and the one that closes it, and what stands behind. */
function bracketed(text: string, from: number): { items: string[]; rest: string } {
  const items = ['']
  let [depth, quoted] = [0, '']
  for (let at = from; at >= 0 && at < text.length; at++) {
    const char = text[at] ?? ''
    if (quoted !== '') quoted = char === quoted ? '' : quoted
    else if (char === "'" || char === '"') quoted = char
    else if (char === '(' && depth++ === 0) continue
    else if (char === ')' && --depth === 0) return { items: items.map(i => i.trim()), rest: text.slice(at + 1) }
    else if (char === ',' && depth === 1) {
      items.push('')
      continue
    }
    items[items.length - 1] += char
  }
  return { items: [], rest: '' }
}

/** Nothing that is unique depends on the order of the index. */
function unordered(item: string): string {
  return item.replace(/( asc| desc)?( nulls (first|last))?$/i, '').replace(/ \w+_ops$/, '')
}

/** How it is compared then. */
function termOf(dialect: Dialect, item: string, then: TableShape, now: TableShape): string | null {
  const { kind } = dialect
  const plain = unordered(item)
  const column = called(Object.keys(now.columns), plain)
  if (column !== undefined)
    return collated(kind, dialect.quote(column), then.columns[column]?.type, now.columns[column]?.type)
  const part = kind === 'mysql' ? /^(.+)\((\d+)\)$/.exec(plain) : null
  const cut = part === null ? undefined : called(Object.keys(now.columns), part[1] ?? '')
  if (part !== null && cut !== undefined) {
    return `LEFT(${collated(kind, dialect.quote(cut), then.columns[cut]?.type, now.columns[cut]?.type)}, ${part[2]})`
  }
  return /[()]| collate /i.test(plain) ? plain : null
}

/** In the collation of then, where the column has another one now. */
function collated(kind: Dialect['kind'], value: string, was = '', is = ''): string {
  const [had, has] = [COLLATED.exec(was)?.[1], COLLATED.exec(is)?.[1]]
  if (had === has) return value
  if (kind === 'mysql') {
    const charset = /character set (\S+)/.exec(was)?.[1]
    return charset === undefined ? value : `CONVERT(${value} USING ${charset}) COLLATE ${had}`
  }
  return `(${value} COLLATE ${had ?? '"default"'})`
}

function twice(dialect: Dialect, table: string, unique: Unique, terms: readonly string[]): string {
  const filled = unique.nullsEqual ? [] : terms.map(t => `${t} IS NOT NULL`)
  const bound = [...filled, ...(unique.where === null ? [] : [`(${unique.where})`])]
  const where = bound.length === 0 ? '' : `WHERE ${bound.join(' AND ')}`
  const groups = `SELECT count(*) AS n FROM ${dialect.table(table)} ${where} GROUP BY ${terms.join(', ')} HAVING count(*) > 1`
  return `SELECT sum(n - 1) AS n FROM (${groups}) AS twice`
}
