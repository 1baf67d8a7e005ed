import type { Dialect } from '../../data/engine.ts'
import type { TableShape } from '../../data/schema.ts'
import { quoted } from './database.ts'
import { hasRowId, orderOf } from './fingerprint.ts'

const FIXED = /^(-?[\d.]+(e[+-]?\d+)?|0x[\da-f]+|'(?:[^']|'')*'|x'[\da-f]*'|true|false)$/i
const NUMBER = /^'?\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*'?$/i

/** How SQLite says it. A table's name is one name, whatever is in it: a file has one schema. */
export const sqliteDialect: Dialect = {
  kind: 'sqlite',
  quote: quoted,
  parameter: () => '?',
  table: quoted,
  differs: (a, b) => `(${a} COLLATE BINARY IS NOT ${b} OR typeof(${a}) <> typeof(${b}))`,
  text: exactText,
  value: fromText,
  fixedDefault,
  iso: column => asTime(column),
  quiet: { on: ['PRAGMA defer_foreign_keys = ON'], off: [], triggersFire: true },
  longestName: 255,
  alike: (a, b) => affinityOf(a.type) === affinityOf(b.type),
  rowNumber,
  misfit,
}

/** A literal that tells its type. quote() cuts a text at a NUL character, so that such ones go as hex. */
function exactText(c: string): string {
  const quotedText = `CASE WHEN typeof(${c}) = 'text' AND instr(CAST(${c} AS BLOB), x'00') > 0 THEN 'T' || hex(${c}) ELSE quote(${c}) END`
  return `CASE WHEN ${c} IS NULL THEN NULL ELSE ${quotedText} END`
}

function fromText(t: string): string {
  const bytes = (from: number) => `unhex(substr(${t}, ${from}, length(${t}) - ${from}))`
  return `CASE WHEN ${t} LIKE 'X''%' THEN ${bytes(3)}
    WHEN substr(${t}, 1, 1) = 'T' THEN CAST(unhex(substr(${t}, 2)) AS TEXT)
    WHEN substr(${t}, 1, 1) = '''' THEN replace(substr(${t}, 2, length(${t}) - 2), '''''', '''')
    WHEN ${t} GLOB '*[.eEnN]*' THEN CAST(${t} AS REAL)
    ELSE CAST(${t} AS INTEGER) END`
}

/** As the column keeps it: a default of '0' is the number 0 in a column of numbers. */
function fixedDefault(sql: string | null, type: string): string | null {
  if (sql === null || !FIXED.test(sql)) return null
  const affinity = affinityOf(type.toUpperCase())
  if (affinity === 'BLOB' || (affinity !== 'TEXT' && !NUMBER.test(sql))) return sql
  return `CAST(${sql} AS ${affinity})`
}

function rowNumber(name: string, shape: TableShape): string | null {
  return hasRowId(shape) ? (orderOf(name, shape)[0] ?? null) : null
}

/** SQLite keeps any value in any column, but for tables that are STRICT; those refuse the whole down-script. */
function misfit(): null {
  return null
}

/** ISO text, or seconds or milliseconds since 1970. Anything else is no time: numbers would be taken for Julian days. */
function asTime(c: string): string {
  const iso = (...words: string[]) => `strftime('%Y-%m-%dT%H:%M:%fZ', ${words.join(', ')})`
  return `CASE WHEN typeof(${c}) = 'text' AND ${c} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' THEN ${iso(c)}
    WHEN typeof(${c}) IN ('integer', 'real') AND ${c} BETWEEN 1e8 AND 1e11 THEN ${iso(c, `'unixepoch'`)}
    WHEN typeof(${c}) IN ('integer', 'real') AND ${c} BETWEEN 1e11 AND 1e14 THEN ${iso(`${c} / 1000.0`, `'unixepoch'`)} END`
}

/** As SQLite reads a declared type. */
function affinityOf(type: string): string {
  if (type.includes('INT')) return 'INTEGER'
  if (/CHAR|CLOB|TEXT/.test(type)) return 'TEXT'
  if (type === '' || type.includes('BLOB')) return 'BLOB'
  return /REAL|FLOA|DOUB/.test(type) ? 'REAL' : 'NUMERIC'
}
