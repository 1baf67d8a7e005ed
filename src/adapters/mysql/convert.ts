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
  if (plain(from) === plain(to)) return fits(ALWAYS)
  if (was === 'whole' && is === 'whole') return fits(inRange(v, from, to))
  if ((was === 'whole' || was === 'decimal') && is === 'decimal') return fits(inDigits(v, from, to))
  if (was === 'decimal' && is === 'whole') {
    const range = rangeOf(to)
    return range === null ? null : fits(`(${v} = TRUNCATE(${v}, 0) AND ${v} BETWEEN ${range[0]} AND ${range[1]})`)
  }
  if (from.startsWith('float') && to.startsWith('double')) return fits(ALWAYS)
  if (was === 'text' && is === 'text') return { value: collated(v, from, to), fits: fits(asText(v, from, to)).fits }
  if (was === 'choice' && is === 'text') return { value: `CAST(${v} AS CHAR)`, fits: fits(asText(v, from, to)).fits }
  if (was === 'choice' && is === 'choice' && from.startsWith('enum') && to.startsWith('enum')) {
    return { value: `CAST(${v} AS CHAR)`, fits: fits(isWord(v, to)).fits }
  }
  if (was === 'text' && to.startsWith('enum')) return fits(isWord(v, to))
  if (was === 'text' && is === 'whole') return fits(isWhole(v, to))
  if (was === 'bytes' && is === 'bytes' && /binary|blob/.test(from) && /varbinary|blob/.test(to)) {
    return from.startsWith('binary') ? null : fits(inLength(`LENGTH(${v})`, to))
  }
  const clock = (type: string) => /^(datetime|timestamp|time)\b/.exec(type)?.[0]
  if (clock(from) !== undefined && clock(from) === clock(to)) {
    const [had, has] = [from, to].map(t => sizesOf(t)[0] || 0) as [number, number]
    return has >= had ? fits(ALWAYS) : fits(`MOD(MICROSECOND(${v}), ${10 ** (6 - has)}) = 0`)
  }
  return null
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

/** True for values that would not be the same after their column became the type of `then`; null: all of them are. */
export function misfit(v: string, now: ColumnShape, then: ColumnShape): string | null {
  if (now.type === then.type) return null
  const conversion = convert(v, now.type, then.type)
  // Nobody can tell: every value is at risk.
  if (conversion === null) return `${v} IS NOT NULL`
  return conversion.fits === ALWAYS ? null : `(${v} IS NOT NULL AND NOT ${conversion.fits})`
}
