import type { Dialect } from '../../data/engine.ts'
import { bare, convert, recast } from './convert.ts'
import { misfit, misfitWords } from './misfits.ts'
import { LONGEST_NAME, quote, sqlName } from './names.ts'
import { redefined } from './own-types.ts'

/** Types of which a cast to fewer digits or characters loses the rest without a word. */
const ROUNDED = /^(numeric|time|timestamp|interval|bit)\b.*\(/
const CUT = /^(character varying|character|bit varying)\(/

/** The value of a text that the type takes whole; what it would have to round or cut is an error of the server's. */
function value(text: string, type: string): string {
  if (CUT.test(type) || !ROUNDED.test(type) || type.endsWith(']')) return `CAST(${text} AS ${bare(type)})`
  // Assigning it would round it, so that it is tried out before.
  const plain = `CAST(v.t AS ${bare(type)})`
  const tried = `CAST(${plain} AS ${type.replace(/ COLLATE .*$/, '')})`
  const misfit = `CAST('does not fit ${type}: ' || v.t AS ${bare(type)})`
  return `(SELECT CASE WHEN ${plain} IS NOT DISTINCT FROM ${tried} THEN ${tried} ELSE ${misfit} END FROM (SELECT CAST(${text} AS text) AS t) AS v)`
}

/** Types of which equal values are the same to the last bit: those that round to so many digits all have them. */
const EXACT =
  /^(smallint|integer|bigint|boolean|uuid|bytea|date|numeric\(\d+,\d+\)|time(stamp)?(\(\d\))? with(out)? time zone)$/
const WHOLE = /^(smallint|integer|bigint)$/
const FLOAT = /^(real|double precision)$/

/** By text: exact for every type, also for those that cannot be compared or that call 1.0 and 1.00 equal. */
function differs(a: string, b: string, type = ''): string {
  const unequal = `${a} IS DISTINCT FROM ${b}`
  const texts = `(${a})::text COLLATE "C" IS DISTINCT FROM (${b})::text COLLATE "C"`
  if (EXACT.test(type)) return `(${unequal})`
  if (type === 'numeric') return `(${unequal} OR scale(${a}) IS DISTINCT FROM scale(${b}))`
  return FLOAT.test(type) ? `(${unequal} OR (${a} = 0 AND ${texts}))` : `(${texts})`
}

const LITERAL = String.raw`(?:E?'(?:[^']|'')*'|-?\d+(?:\.\d+)?|true|false|NULL|ARRAY\[\]|\('?-?\d+(?:\.\d+)?'?\))`
const FIXED = new RegExp(String.raw`^${LITERAL}(?:::[\w ."]+(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])*)?$`, 'i')

/** As the column keeps it: a default of 0 is 0.00 in a column of numeric(10,2). */
function fixedDefault(sql: string | null, type: string): string | null {
  if (sql === null || !FIXED.test(sql) || /^NULL\b/i.test(sql)) return null
  return `CAST(${sql} AS ${type.replace(/ COLLATE .*$/, '')})`
}

function iso(column: string, type: string): string | null {
  const shown = (time: string) =>
    `CASE WHEN isfinite(${column}) THEN to_char(${time}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') ELSE ${column}::text END`
  if (/^timestamp(\(\d\))? with time zone$/.test(type)) return shown(`${column} AT TIME ZONE 'UTC'`)
  if (/^timestamp(\(\d\))? without time zone$/.test(type)) return shown(column)
  return type === 'date'
    ? `CASE WHEN isfinite(${column}) THEN to_char(${column}, 'YYYY-MM-DD"T00:00:00.000Z"') ELSE ${column}::text END`
    : null
}

/** `mayBeQuiet`: whether the role may switch triggers off; asked when data is about to be carried forward. */
export function postgresDialect(mayBeQuiet: () => boolean): Dialect {
  return {
    kind: 'postgres',
    quote,
    parameter: n => `$${n}`,
    table: name => sqlName(name),
    isWhole: type => WHOLE.test(type),
    differs,
    // Not dissolved in the query around it.
    once: query => `SELECT * FROM (${query}) AS once OFFSET 0`,
    text: value => `(${value})::text`,
    value,
    convert,
    redefined,
    recast,
    key: texts => {
      const whole = texts.map(t => `coalesce(length(${t}) || ':' || ${t}, '-')`).join(' || ')
      const hash = `encode(sha256(convert_to(whole.t, getdatabaseencoding())), 'hex')`
      // A short one stands for itself: rows come in the order of their keys then. No hash has a colon or a dash.
      return `(SELECT CASE WHEN length(whole.t) <= 64 THEN whole.t ELSE ${hash} END FROM (SELECT ${whole} AS t) AS whole)`
    },
    joined: texts => `(${texts.join(' || ')})`,
    keyType: 'text COLLATE "C"',
    update: (table, sets, from, on) =>
      `UPDATE ${table} AS o SET ${sets.map(([c, v]) => `${c} = ${v}`).join(', ')} FROM ${from} WHERE ${on}`,
    remove: (table, of, keys) => `DELETE FROM ${table} AS o WHERE (${of.join(', ')}) IN (${keys})`,
    overriding: 'OVERRIDING SYSTEM VALUE',
    misfit,
    misfitWords,
    fixedDefault,
    iso,
    get quiet() {
      // Ends with the transaction. Keeps checks of foreign keys quiet too: who uses it looks for orphans itself.
      const may = mayBeQuiet()
      return { on: may ? ['SET LOCAL session_replication_role = replica'] : [], off: [], triggersFire: !may }
    },
    longestName: LONGEST_NAME,
  }
}
