import type { ColumnShape } from '../../data/schema.ts'
import { literal } from './names.ts'
import { bytesOf, charsetOf, collationOf, kindOf, rangeOf, sizesOf, wordsOf } from './types.ts'

export interface Conversion {
  readonly value: string
  readonly fits: string
}

const ALWAYS = '1 = 1'

/** How a value of one type is said in another, and when nothing of it is lost by that; null: nobody can tell ahead. */
export function convert(v: string, from: string, to: string): Conversion | null {
  const [was, is] = [kindOf(from), kindOf(to)]
  const fits = (condition: string) => ({
    value: v,
    fits: condition === ALWAYS ? ALWAYS : `(${v} IS NULL OR ${condition})`,
  })
  // As the other type has it, with its decimals: of what does not fit nothing can be said, and a cast would end the statement.
  const cast = (type: string, condition: string) => ({
    value: condition === ALWAYS ? `CAST(${v} AS ${type})` : `CASE WHEN ${condition} THEN CAST(${v} AS ${type}) END`,
    fits: fits(condition).fits,
  })
  if (plain(from) === plain(to)) return fits(ALWAYS)
  if (was === 'whole' && is === 'whole') return fits(inRange(v, from, to))
  if ((was === 'whole' || was === 'decimal') && is === 'decimal') {
    return cast(`DECIMAL(${sizesOf(to).join()})`, inDigits(v, from, to))
  }
  if (was === 'decimal' && is === 'whole') {
    const range = rangeOf(to)
    const whole = range === null ? null : `(${v} = TRUNCATE(${v}, 0) AND ${v} BETWEEN ${range[0]} AND ${range[1]})`
    return whole === null ? null : cast(wholeOf(to), whole)
  }
  if (from.startsWith('float') && to.startsWith('double')) return fits(ALWAYS)
  if (was === 'text' && is === 'text') return { value: collated(v, from, to), fits: fits(asText(v, from, to)).fits }
  if (was === 'choice' && is === 'text') return { value: `CAST(${v} AS CHAR)`, fits: fits(asText(v, from, to)).fits }
  if (was === 'choice' && is === 'choice' && from.startsWith('enum') && to.startsWith('enum')) {
    return { value: `CAST(${v} AS CHAR)`, fits: fits(isWord(v, to)).fits }
  }
  if (was === 'text' && to.startsWith('enum')) return fits(isWord(v, to))
  if (was === 'text' && is === 'whole') return cast(wholeOf(to), isWhole(v, to))
  if (was === 'bytes' && is === 'bytes' && /binary|blob/.test(from) && /varbinary|blob/.test(to)) {
    return from.startsWith('binary') ? null : fits(inLength(`LENGTH(${v})`, to))
  }
  const time = was === 'time' && is === 'time' ? inTime(v, from, to) : null
  return time === null ? null : cast(clockOf(to), time)
}

/** What a type says of its values; not how the column counts or is filled. */
function plain(type: string): string {
  return type.replaceAll(/ (auto_increment|invisible|on update \S+|as \(.*\) (virtual|stored))/g, '')
}

function inRange(v: string, from: string, to: string): string {
  const [had, has] = [rangeOf(from), rangeOf(to)]
  if (had === null || has === null) return '1 = 0'
  return has[0] <= had[0] && has[1] >= had[1] ? ALWAYS : `${v} BETWEEN ${has[0]} AND ${has[1]}`
}

/** A text that is the number's own: "007" would come back as 7. */
function isWhole(v: string, to: string): string {
  const range = rangeOf(to)
  const inside = range === null ? '1 = 0' : `CAST(${v} AS DECIMAL(20)) BETWEEN ${range[0]} AND ${range[1]}`
  return `(CASE WHEN ${v} REGEXP '^(0|-?[1-9][0-9]{0,18})$' THEN ${inside} ELSE 0 END)`
}

function inDigits(v: string, from: string, to: string): string {
  const [digits = 10, scale = 0] = sizesOf(to)
  const [hadDigits = 65, hadScale = 0] = kindOf(from) === 'whole' ? [20, 0] : sizesOf(from)
  const unsigned = to.includes('unsigned') && !from.includes('unsigned')
  if (!unsigned && scale >= hadScale && digits - scale >= hadDigits - hadScale) return ALWAYS
  const sign = unsigned ? ` AND ${v} >= 0` : ''
  return `(ABS(${v}) < 1${'0'.repeat(digits - scale)} AND ${v} = TRUNCATE(${v}, ${scale})${sign})`
}

/** What a whole type is cast to. */
function wholeOf(type: string): string {
  return rangeOf(type)?.[0] === 0n ? 'UNSIGNED' : 'SIGNED'
}

/** What a type of time is cast to: a timestamp is a datetime in the session's zone. */
function clockOf(type: string): string {
  const [kind = ''] = /^\w+/.exec(type) ?? []
  return kind === 'date' ? 'DATE' : `${kind.replace('timestamp', 'datetime').toUpperCase()}(${sizesOf(type)[0] || 0})`
}

/** null: nobody can tell. A timestamp became a datetime, or the other way round, in the zone of the session that migrated. */
function inTime(v: string, from: string, to: string): string | null {
  const [was, is] = [from, to].map(type => /^\w+/.exec(type)?.[0])
  if (was === 'date' && is === 'datetime') return ALWAYS
  if (was === 'datetime' && is === 'date') return `TIME(${v}) = 0`
  if (was !== is) return null
  const [had = 0, has = 0] = [from, to].map(type => sizesOf(type)[0] || 0)
  return has >= had ? ALWAYS : `MOD(MICROSECOND(${v}), ${10 ** (6 - has)}) = 0`
}

function inLength(length: string, to: string): string {
  const most = sizesOf(to)[0] || bytesOf(to)
  return most === null || most === 0 ? ALWAYS : `${length} <= ${most}`
}

/** Short enough, with every character known to the new character set, and without spaces at the end that would go. */
function asText(v: string, from: string, to: string): string {
  const [had, has] = [charsetOf(from), charsetOf(to)]
  const known =
    had === has || has === 'utf8mb4' || has === null
      ? ALWAYS
      : `CONVERT(CONVERT(${v} USING ${has}) USING utf8mb4) = CONVERT(${v} USING utf8mb4)`
  const counted = /^(var)?char/.test(to) ? `CHAR_LENGTH(${v})` : `LENGTH(CONVERT(${v} USING ${has ?? 'utf8mb4'}))`
  const padded = to.startsWith('char') && !from.startsWith('char') ? `RIGHT(${v}, 1) <> ' '` : ALWAYS
  const parts = [known, inLength(counted, to), padded].filter(p => p !== ALWAYS)
  return parts.length === 0 ? ALWAYS : `(${parts.join(' AND ')})`
}

/** Texts of two collations cannot be compared, nor bytes of two character sets: as the column that it goes to has it. */
function collated(v: string, from: string, to: string): string {
  const [had, has] = [charsetOf(from), charsetOf(to)]
  const [was, is] = [collationOf(from), collationOf(to)]
  if (has === null || is === null || (had === has && was === is)) return v
  return `${had === has ? v : `CONVERT(${v} USING ${has})`} COLLATE ${is}`
}

function isWord(v: string, to: string): string {
  const words = wordsOf(to).map(w => `CAST(${literal(w)} AS BINARY)`)
  return `CAST(CONVERT(CAST(${v} AS CHAR) USING utf8mb4) AS BINARY) IN (${words.join(', ')})`
}

/** Values of one type are found under keys of the other, once they are said in it. */
export function recast(from: string, to: string): boolean {
  const [was, is] = [kindOf(from), kindOf(to)]
  if (was === is) return was === 'text' || ((was === 'decimal' || was === 'time') && convert('v', from, to) !== null)
  const number = is === 'whole' || is === 'decimal'
  return number && (was === 'whole' || was === 'decimal' || was === 'text') && convert('v', from, to) !== null
}

/** True for values that would not be the same after their column became the type of `then`; null: all of them are. */
export function misfit(v: string, now: ColumnShape, then: ColumnShape): string | null {
  if (now.type === then.type) return null
  const conversion = convert(v, now.type, then.type)
  // Nobody can tell: every value is at risk.
  if (conversion === null) return `${v} IS NOT NULL`
  return conversion.fits === ALWAYS ? null : `(${v} IS NOT NULL AND NOT ${conversion.fits})`
}
