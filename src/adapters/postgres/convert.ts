import type { ColumnShape, SchemaShape } from '../../data/schema.ts'
import { joined, literal, split } from './names.ts'

export interface Conversion {
  readonly value: string
  readonly fits: string
}

const ALWAYS = '1 = 1'
const WHOLE: Readonly<Record<string, readonly [low: string, high: string]>> = {
  smallint: ['-32768', '32767'],
  integer: ['-2147483648', '2147483647'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
}
const SIZES = Object.keys(WHOLE)
const TEXTS = ['text', 'character varying']
/** Of these a text tells all that there is. */
const TOLD = ['uuid', 'json', 'jsonb', 'boolean', 'numeric']
/** A cast between precisions of these keeps the value or rounds it, and never fails for its size. */
const TIMES = ['timestamp with time zone', 'timestamp without time zone', 'time without time zone', 'interval']

/** A type without its length or precision: "numeric" of "numeric(10,2)", "character varying[]" of "character varying(3)[]". */
export function bare(type: string): string {
  const base = plain(type).replace(/\(\d+(,-?\d+)?\)/, '')
  if (/^character\b(?! varying)/.test(base)) return base.replace('character', 'bpchar')
  return base.replace(/^bit\b(?! varying)/, 'bit varying')
}

function plain(type: string): string {
  return type.replace(/ COLLATE .*$/, '')
}

/** How a value of one type is said in another, and when nothing of it is lost by that; null: nobody can tell ahead. */
export function convert(value: string, from: string, to: string): Conversion | null {
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
  if (is === 'text')
    return isOwn(was) || TOLD.includes(was) || SIZES.includes(was) ? { value: `${value}::text`, fits: ALWAYS } : null
  if (isOwn(was) && isOwn(is)) return toOwn(value, to)
  return TEXTS.includes(was) && isOwn(is) ? toOwn(value, to) : null
}

/** A value that is only asked for where it fits, so that it never fails. */
function guarded(value: string, to: string, fits: string): Conversion {
  return { value: `CASE WHEN ${fits} THEN CAST(${value} AS ${plain(to)}) END`, fits }
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

function toOwn(value: string, to: string): Conversion {
  const words = `SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = to_regtype(${literal(plain(to))})`
  return guarded(`${value}::text`, to, `(${value} IS NULL OR ${value}::text IN (${words}))`)
}

/** True for values that would not be the same after their column became the type of `then`; null: all of them are. */
export function misfit(
  value: string,
  now: ColumnShape,
  then: ColumnShape,
  live: SchemaShape,
  base: SchemaShape,
): string | null {
  const [from, to] = [baseType(live, now.type), baseType(base, then.type)]
  const words = domainMisfits(value, then.type, base, live)
  if (from === to) return words
  if (isInstant(from) && isClock(to)) return misfitTypes(value, from, to.replace('without', 'with'))
  const types = misfitTypes(value, from, to)
  return words === null || types === null ? (types ?? words) : `(${types} OR ${words})`
}

function misfitTypes(value: string, from: string, to: string): string | null {
  const conversion = convert(value, from, to)
  // Nobody can tell: every value is at risk.
  if (conversion === null) return `${value} IS NOT NULL`
  return conversion.fits === ALWAYS ? null : `NOT (${conversion.fits})`
}

/** The instant stays what it was in the zone of whoever converts it; only its precision may not. */
function isInstant(type: string): boolean {
  return /^timestamp(\(\d\))? with time zone$/.test(type)
}

function isClock(type: string): boolean {
  return /^timestamp(\(\d\))? without time zone$/.test(type)
}

/** True for values of an enum that had fewer words, alone or in an array, or of a domain that allowed less. */
export function misfitWords(value: string, type: string, then: SchemaShape, now: SchemaShape): string | null {
  const [was, is] = [wordsOf(then, type), wordsOf(now, type)]
  if (was === null || is === null) return domainMisfits(value, type, then, now)
  if (is.every(word => was.includes(word))) return null
  const words = was.map(literal).join(', ')
  if (isArray(type)) return `NOT (array_remove(${value}::text[], NULL) <@ ARRAY[${words}]::text[])`
  return `${value}::text NOT IN (${words || "''"})`
}

function isArray(type: string): boolean {
  return plain(type).endsWith('[]')
}

/** What a schema says of a type of its own; null: it is none. */
function definition({ others }: SchemaShape, type: string): string | null {
  const { schema, name } = split(plain(type).replace(/(\[\])+$/, ''))
  return others[`type ${joined(schema, name)}`] ?? null
}

function wordsOf(schema: SchemaShape, type: string): string[] | null {
  const text = definition(schema, type) ?? ''
  return text.startsWith('enum ') ? (JSON.parse(text.slice('enum '.length)) as string[]) : null
}

const DOMAIN = /^domain over (.+?)(?= not null| default | COLLATE | CHECK |$)/

/** What a domain is over, and all else as it is. */
function baseType(schema: SchemaShape, type: string): string {
  const over = isArray(type) ? undefined : DOMAIN.exec(definition(schema, type) ?? '')?.[1]
  return over === undefined ? type : baseType(schema, over)
}

/** True for what the checks of a domain refused then and do not now. */
function domainMisfits(value: string, type: string, then: SchemaShape, now: SchemaShape): string | null {
  const [was, is] = [definition(then, type) ?? '', definition(now, type) ?? '']
  if (was === is || !DOMAIN.test(was) || isArray(type)) return null
  const checks = was.split(/ (?=CHECK \()/).slice(1)
  const back = checks.filter(check => !is.includes(check)).map(check => check.slice('CHECK '.length))
  if (back.length === 0) return null
  return `(${back.map(c => `NOT ${c.replace(/ NOT VALID$/, '').replaceAll(/\bVALUE\b/g, () => value)}`).join(' OR ')})`
}
