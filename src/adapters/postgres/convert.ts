import { asText, wayFor } from './convert-ways.ts'
import { literal } from './names.ts'

export interface Conversion {
  readonly value: string
  readonly fits: string
}

export const ALWAYS = '1 = 1'
const WHOLE: Readonly<Record<string, readonly [low: string, high: string]>> = {
  smallint: ['-32768', '32767'],
  integer: ['-2147483648', '2147483647'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
}
const SIZES = Object.keys(WHOLE)
const TEXTS = ['text', 'character varying']
/** A cast between precisions of these keeps the value or rounds it, and never fails for its size. */
const TIMES = ['timestamp with time zone', 'timestamp without time zone', 'time without time zone', 'interval']

/** Types that are staged as a text, and why: an enum (JSON of its name and its words in ours follows), an array of one, a row with so many more parts at its end, anything else. */
export const AS_TEXT = 'text of '
export const WORD = `${AS_TEXT}a word of `
export const WORDS = `${AS_TEXT}words of `
export const MORE = `${AS_TEXT}a row with more parts: `
export const OTHERWISE = `${AS_TEXT}something else`

/** A type without its length or precision: "numeric" of "numeric(10,2)", "character varying[]" of "character varying(3)[]". */
export function bare(type: string): string {
  const base = plain(type).replace(/\(\d+(,-?\d+)?\)/, '')
  if (/^character\b(?! varying)/.test(base)) return base.replace('character', 'bpchar')
  return base.replace(/^bit\b(?! varying)/, 'bit varying')
}

/** Without its collation. */
export function plain(type: string): string {
  return type.replace(/ COLLATE .*$/, '')
}

/** How a value of one type is said in another, and when nothing of it is lost by that; null: nobody can tell ahead. */
export function convert(value: string, from: string, to: string): Conversion | null {
  if (from.startsWith(AS_TEXT)) return fromStaged(value, from, to)
  const [was, is] = [bare(from), bare(to)]
  const [precision, scale] = /\((\d+)(?:,(-?\d+))?\)/.exec(to)?.slice(1).map(Number) ?? []
  if (TEXTS.includes(was) && TEXTS.includes(is)) {
    return {
      value,
      fits: precision === undefined ? ALWAYS : `(${value} IS NULL OR char_length(${value}) <= ${precision})`,
    }
  }
  if (SIZES.includes(was) && SIZES.includes(is)) return { value, fits: between(value, was, is) }
  if (is === 'numeric' && (was === 'numeric' || SIZES.includes(was))) return toNumeric(value, to, precision, scale)
  if (was === 'numeric' && SIZES.includes(is)) {
    const [low, high] = WHOLE[is] as readonly [string, string]
    return guarded(
      value,
      to,
      `(${value} IS NULL OR ${value} BETWEEN ${low} AND ${high} AND ${value} = trunc(${value}))`,
    )
  }
  if (TEXTS.includes(was) && SIZES.includes(is)) return guarded(value, to, isWhole(value, is))
  if (was === is && TIMES.includes(was)) {
    return guarded(value, to, `CAST(${value} AS ${plain(to)}) IS NOT DISTINCT FROM ${value}`)
  }
  const way = wayFor(was, is)
  if (way?.fits !== undefined) return guardedBy(way.value(value, plain(to)), way.fits(value))
  if (way !== null) return { value: way.value(value, plain(to)), fits: ALWAYS }
  if (TEXTS.includes(was) && is === 'bpchar' && precision !== undefined) {
    // Blanks at its end are the padding of such a one, and no more told from it.
    return guarded(
      value,
      to,
      `(${value} IS NULL OR char_length(${value}) <= ${precision} AND ${value} = rtrim(${value}, ' '))`,
    )
  }
  if (TEXTS.includes(is)) return fromText(value, was, precision)
  if (isOwn(was) && isOwn(is)) return toOwn(value, to)
  return TEXTS.includes(was) && isOwn(is) ? toOwn(value, to) : null
}

/** `length`: the most characters that the text may have. */
function fromText(value: string, was: string, length: number | undefined): Conversion | null {
  const text = isOwn(was) || was === 'bpchar' ? `${value}::text` : asText(value, was)
  if (text === null) return null
  return {
    value: text,
    fits: length === undefined ? ALWAYS : `(${value} IS NULL OR char_length(${text}) <= ${length})`,
  }
}

/** A value that is only asked for where it fits, so that it never fails. */
function guarded(value: string, to: string, fits: string): Conversion {
  return guardedBy(`CAST(${value} AS ${plain(to)})`, fits)
}

function guardedBy(value: string, fits: string): Conversion {
  return { value: `CASE WHEN ${fits} THEN ${value} END`, fits }
}

function between(value: string, was: string, is: string): string {
  if (SIZES.indexOf(was) <= SIZES.indexOf(is)) return ALWAYS
  const [low, high] = WHOLE[is] as readonly [string, string]
  return `(${value} IS NULL OR ${value} BETWEEN ${low} AND ${high})`
}

/** A text that is the number's own: "007" would come back as 7. */
function isWhole(value: string, is: string): string {
  const [low, high] = WHOLE[is] as readonly [string, string]
  return `(CASE WHEN ${value} ~ '^(0|-?[1-9][0-9]{0,18})$' THEN CAST(${value} AS numeric) BETWEEN ${low} AND ${high} ELSE ${value} IS NULL END)`
}

function toNumeric(value: string, to: string, precision: number | undefined, scale = 0): Conversion {
  if (precision === undefined || Number.isNaN(precision)) return { value: `CAST(${value} AS numeric)`, fits: ALWAYS }
  const digits = Number.isNaN(scale) ? 0 : scale
  const n = `CAST(${value} AS numeric)`
  const fits = `(${value} IS NULL OR ${n} = 'NaN' OR (abs(${n}) < 1e${precision - digits} AND round(${n}, ${digits}) = ${n}))`
  return guarded(value, to, fits)
}

/** A type that PostgreSQL does not bring: taken for an enum, of which the server knows the words. */
function isOwn(type: string): boolean {
  return !/^(?:text|character varying|bpchar|numeric|smallint|integer|bigint|real|double precision|money|boolean|"char"|name|bytea|date|time|timestamp|interval|uuid|json|jsonb|xml|bit|inet|cidr|macaddr|point|line|lseg|box|path|polygon|circle|ts|oid|reg|pg_|int\d|num|daterange|xid)/.test(
    type,
  )
}

/** What was added to a row at its end is nothing, so that it is the same row without. */
function fromStaged(value: string, from: string, to: string): Conversion {
  if (from.startsWith(WORD)) {
    // Not by what a server knows: it is asked of the databases of both schemas. A domain over it checks when it is written.
    const [name, words] = JSON.parse(from.slice(WORD.length)) as [string, string[]]
    const known = `${value}::text = ANY (ARRAY[${words.map(literal).join(', ')}]::text[])`
    return guarded(`${value}::text`, name, `(${value} IS NULL OR ${known})`)
  }
  if (from.startsWith(WORDS)) {
    const strange = `SELECT FROM unnest(${value}::text[]) AS e(w) WHERE e.w NOT IN (${wordsOf(from.slice(WORDS.length))})`
    return guarded(value, to, `NOT EXISTS (${strange})`)
  }
  if (!from.startsWith(MORE)) return { value: `CAST(NULL AS ${plain(to)})`, fits: `(${value} IS NULL)` }
  const more = Number(from.slice(MORE.length))
  const fits = `(${value} IS NULL OR right(${value}, ${more + 1}) = ${literal(`${','.repeat(more)})`)})`
  return { value: `CASE WHEN ${fits} THEN CAST(left(${value}, ${-more - 1}) || ')' AS ${plain(to)}) END`, fits }
}

function wordsOf(type: string): string {
  return `SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = to_regtype(${literal(type)})`
}

function toOwn(value: string, to: string): Conversion {
  const words = wordsOf(plain(to))
  return guarded(`${value}::text`, to, `(${value} IS NULL OR ${value}::text IN (${words}))`)
}

/** Keys of an enum are found under its words in ours. */
export function recast(from: string): boolean {
  return from.startsWith(WORD)
}
