import type { Dialect } from '../../data/engine.ts'
import type { ColumnShape, SchemaDifference, TableShape } from '../../data/schema.ts'
import { affinityOf } from './affinity.ts'
import { quoted } from './database.ts'
import { hasRowId, orderOf } from './digests.ts'

const FIXED = /^(-?[\d.]+(e[+-]?\d+)?|0x[\da-f]+|'(?:[^']|'')*'|x'[\da-f]*'|true|false)$/i
const NUMBER = /^'?\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*'?$/i

/** How SQLite says it. A table's name is one name, whatever is in it: a file has one schema. */
export const sqliteDialect: Dialect = {
  kind: 'sqlite',
  quote: quoted,
  parameter: () => '?',
  table: quoted,
  differs,
  text: exactText,
  value: fromText,
  convert,
  key: texts => texts.map(t => `coalesce(length(${t}) || ':' || ${t}, '-')`).join(' || '),
  keyType: 'TEXT',
  // Whether they do is for the rows to say.
  isWhole: type => affinityOf(type) === 'INTEGER',
  loose: true,
  joined: texts => `(${texts.join(' || ')})`,
  update: (table, sets, from, on) =>
    `UPDATE ${table} AS o SET ${sets.map(([c, v]) => `${c} = ${v}`).join(', ')} FROM ${from} WHERE ${on}`,
  remove: (table, of, keys) => `DELETE FROM ${table} AS o WHERE (${of.join(', ')}) IN (${keys})`,
  overriding: '',
  // A limit, though it is none, keeps the query from being dissolved in the one around it.
  once: query => `SELECT * FROM (${query} LIMIT -1) WHERE 1 = 1`,
  fixedDefault,
  iso: column => asTime(column),
  quiet: { on: [], off: [], triggersFire: false },
  longestName: 255,
  alike: (a, b) => affinityOf(a.type) === affinityOf(b.type),
  rowNumber,
  misfit,
  toil,
}

/**
 * Values that are equal and not the same are a whole number and a float. In a column for numbers a float that is whole becomes
 * a whole number, all but the lowest one of 64 bits; in one for texts or floats there is no such pair.
 */
function differs(a: string, b: string, type?: string): string {
  const unequal = `${a} COLLATE BINARY IS NOT ${b}`
  const affinity = type === undefined || type === 'ANY' ? 'BLOB' : affinityOf(type)
  if (affinity === 'TEXT' || affinity === 'REAL') return `(${unequal})`
  const lowest = affinity === 'BLOB' ? '' : `${a} < -9223372036854775807 AND `
  return `(${unequal} OR (${lowest}typeof(${a}) <> typeof(${b})))`
}

/** A literal that tells its type. quote() cuts a text at a NUL character, so that such ones go as hex. */
function exactText(c: string): string {
  const quotedText = `CASE WHEN typeof(${c}) = 'text' AND instr(CAST(${c} AS BLOB), x'00') > 0 THEN 'T' || hex(${c}) ELSE quote(${c}) END`
  return `CASE WHEN ${c} IS NULL THEN NULL ELSE ${quotedText} END`
}

function fromText(text: string): string {
  const bytes = (from: number) => `unhex(substr(t, ${from}, length(t) - ${from}))`
  return `(SELECT CASE WHEN t LIKE 'X''%' THEN ${bytes(3)}
    WHEN substr(t, 1, 1) = 'T' THEN CAST(unhex(substr(t, 2)) AS TEXT)
    WHEN substr(t, 1, 1) = '''' THEN replace(substr(t, 2, length(t) - 2), '''''', '''')
    WHEN t GLOB '*[.eEnN]*' THEN CAST(t AS REAL)
    ELSE CAST(t AS INTEGER) END FROM (SELECT ${text} AS t))`
}

/** As the column keeps it: a default of '0' is the number 0 in a column of numbers. */
function fixedDefault(sql: string | null, type: string): string | null {
  if (sql === null || !FIXED.test(sql)) return null
  const affinity = affinityOf(type.toUpperCase())
  if (affinity === 'BLOB' || (affinity !== 'TEXT' && !NUMBER.test(sql))) return sql
  return `CAST(${sql} AS ${affinity})`
}

/** As a column of another affinity would keep it. What is not the same again when read back does not fit. */
function convert(v: string, from: string, to: string): { value: string; fits: string } {
  const [was, is] = [affinityOf(from.toUpperCase()), affinityOf(to.toUpperCase())]
  if (was === is || is === 'BLOB') return { value: v, fits: '1 = 1' }
  const kind = `typeof(${v})`
  if (is === 'TEXT') {
    const value = `CASE WHEN ${kind} IN ('integer', 'real') THEN CAST(${v} AS TEXT) ELSE ${v} END`
    return { value, fits: `(${kind} <> 'real' OR CAST(CAST(${v} AS TEXT) AS REAL) = ${v})` }
  }
  const number = `CASE WHEN ${kind} = 'text' THEN CAST(${v} AS NUMERIC) ELSE ${v} END`
  const same = `(${kind} IN ('integer', 'real', 'null') OR (${kind} = 'text' AND CAST(CAST(${v} AS NUMERIC) AS TEXT) = ${v}))`
  if (is === 'REAL') {
    const value = `CAST(${number} AS REAL)`
    return { value, fits: `(${same} AND (${v} IS NULL OR CAST(${v} AS NUMERIC) = ${value}))` }
  }
  const whole = `CAST(${number} AS INTEGER)`
  const value = `CASE WHEN ${v} IS NULL THEN NULL WHEN ${whole} = ${number} THEN ${whole} ELSE ${number} END`
  if (is === 'NUMERIC') return { value, fits: same }
  return { value: whole, fits: `(${same} AND (${v} IS NULL OR ${whole} = ${number}))` }
}

function rowNumber(name: string, shape: TableShape): string | null {
  return hasRowId(shape) ? (orderOf(name, shape)[0] ?? null) : null
}

const NUMBERS = ['INTEGER', 'REAL', 'NUMERIC']

/** SQLite keeps any value in any column, but turns a text into a number where the column is for numbers: '007' becomes 7. */
function misfit(value: string, now: ColumnShape, then: ColumnShape): string | null {
  if (!NUMBERS.includes(affinityOf(then.type)) || NUMBERS.includes(affinityOf(now.type))) return null
  const text = `typeof(${value}) = 'text' AND CAST(CAST(${value} AS NUMERIC) AS TEXT) IS NOT ${value}`
  return `(typeof(${value}) = 'blob' OR (${text}))`
}

/** Dropping a column, or building a table anew, which any other change takes, writes every row again. */
function toil(difference: SchemaDifference): 'rewrites' | 'reads' | null {
  if (difference.object === 'index') return difference.is === 'added' ? null : 'reads'
  if (difference.object === 'column') return difference.is === 'gone' ? null : 'rewrites'
  return difference.object === 'constraint' ? 'rewrites' : null
}

/** ISO text, or seconds or milliseconds since 1970. Anything else is no time: numbers would be taken for Julian days. */
function asTime(c: string): string {
  const iso = (...words: string[]) => `strftime('%Y-%m-%dT%H:%M:%fZ', ${words.join(', ')})`
  return `CASE WHEN typeof(${c}) = 'text' AND ${c} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' THEN ${iso(c)}
    WHEN typeof(${c}) IN ('integer', 'real') AND ${c} BETWEEN 1e8 AND 1e11 THEN ${iso(c, `'unixepoch'`)}
    WHEN typeof(${c}) IN ('integer', 'real') AND ${c} BETWEEN 1e11 AND 1e14 THEN ${iso(`${c} / 1000.0`, `'unixepoch'`)} END`
}
