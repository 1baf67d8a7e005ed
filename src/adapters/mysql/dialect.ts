import type { Dialect } from '../../data/engine.ts'
import type { ColumnShape } from '../../data/schema.ts'
import { convert, misfit, recast } from './convert.ts'
import { LONGEST, quoted, tableSql } from './names.ts'
import { isBytes, kindOf } from './types.ts'

const FIXED = /^(-?\d+(\.\d+)?(e[+-]?\d+)?|b'[01]*'|x'[\da-f]*'|0x[\da-f]+|'(?:[^'\\]|'')*'|true|false)$/i

/** How MySQL and MariaDB say it. The statements suit both: nothing has to be asked of the server first. */
export const dialect: Dialect = {
  kind: 'mysql',
  quote: quoted,
  parameter: () => '?',
  table: name => tableSql(name),
  differs: (a, b, type) => `NOT (${same(a, b, type)})`,
  text,
  value,
  convert,
  key,
  isWhole: type => WHOLE.test(type),
  joined: texts => `CONCAT(${texts.join(', ')})`,
  keyType: 'varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
  update: (table, sets, from, on) =>
    `UPDATE ${table} AS o JOIN ${from} ON ${on} SET ${sets.map(([c, v]) => `o.${c} = ${v}`).join(', ')}`,
  // What is removed may be named in the query: the server wants that done before.
  remove: (table, of, keys) =>
    `DELETE o FROM ${table} AS o WHERE (${of.join(', ')}) IN (SELECT * FROM (${keys}) AS chosen)`,
  overriding: '',
  recast,
  stamped: type => / on update /.test(type),
  fixedDefault: sql => (sql !== null && FIXED.test(sql) ? sql : null),
  iso,
  quiet: {
    on: ['SET SESSION foreign_key_checks = 0'],
    off: ['SET SESSION foreign_key_checks = 1'],
    triggersFire: true,
  },
  longestName: LONGEST,
  alike: (a: ColumnShape, b: ColumnShape) => kindOf(a.type) === kindOf(b.type) && isBytes(a.type) === isBytes(b.type),
  misfit,
}

const PLAIN = /^'([\x20-\x26\x28-\x7e]*)'$/

/** A short one stands for itself: rows come in the order of their keys then. No hash has a colon or a dash. */
function key(texts: readonly string[]): string {
  const parts = texts.map(t => {
    const [, plain] = PLAIN.exec(t) ?? []
    return plain === undefined ? `COALESCE(CONCAT(LENGTH(${t}), ':', ${t}), '-')` : `'${plain.length}:${plain}'`
  })
  const whole = `CONCAT(${parts.join(', ')})`
  return `CASE WHEN CHAR_LENGTH(${whole}) <= 64 THEN ${whole} ELSE SHA2(${whole}, 256) END`
}

/** Numbers without a float, and times: equal ones of one type are the same. */
const EXACT = /^(((tiny|small|medium|big)?int|decimal)\b|(date|datetime|timestamp|time)(\(\d\))?$)/
const WHOLE = /^(tiny|small|medium|big)?int\b/
const FLOAT = /^(float|double)\b/
const TEXT = /^((var)?char\b|(tiny|medium|long)?text\b)/

function same(a: string, b: string, type = ''): string {
  if (EXACT.test(type)) return `${a} <=> ${b}`
  // Of equal ones only zeros can differ, in their sign.
  if (FLOAT.test(type)) return `${a} <=> ${b} AND (${a} IS NULL OR ${a} <> 0 OR (${sameBytes(a, b)}))`
  // What is compared with bytes is taken for bytes as it is: both are of one character set.
  return TEXT.test(type) ? `CAST(${a} AS BINARY) <=> ${b}` : sameBytes(a, b)
}

/**
 * By their bytes, whatever the collation. A FLOAT goes as text of six digits there, so that values are packed and unpacked
 * too, which makes it a double. MariaDB reads what stands behind `M!`; MySQL takes it for a comment, and packs in its own way.
 */
function sameBytes(a: string, b: string): string {
  const json = [a, b].map(v => `CAST(CAST(JSON_ARRAY(${v}) AS CHAR) AS BINARY)`).join(' <=> ')
  const dynamic = [a, b].map(v => `COLUMN_GET(COLUMN_CREATE(1, ${v}), 1 AS BINARY)`).join(' <=> ')
  const packed = `/*M! ${dynamic} AND 1 = IF(1 = 1, 1, */ ${json} /*M! ) */`
  return `CAST(${a} AS BINARY) <=> CAST(${b} AS BINARY) AND ${packed}`
}

/** Bytes as hexadecimal digits; all else as the server writes it. */
function text(v: string, type: string): string {
  if (isBytes(type)) return `CONVERT(HEX(CAST(${v} AS BINARY)) USING utf8mb4) COLLATE utf8mb4_bin`
  // The connection's character set is the same.
  if (WHOLE.test(type) || /^decimal\b/.test(type)) return `CAST(${v} AS CHAR)`
  const exact = type.startsWith('float') ? `(${v} + 0e0)` : v
  return `CONVERT(CAST(${exact} AS CHAR) USING utf8mb4) COLLATE utf8mb4_bin`
}

function value(t: string, type: string): string {
  const kind = kindOf(type)
  if (kind === 'bit') return `CAST(CONV(${t}, 16, 10) AS UNSIGNED)`
  if (kind === 'bytes') return `UNHEX(${t})`
  if (kind === 'whole') return `CAST(${t} AS ${type.includes('unsigned') ? 'UNSIGNED' : 'SIGNED'})`
  if (kind === 'decimal') return `CAST(${t} AS DECIMAL${/\(\d+,\d+\)/.exec(type)?.[0] ?? '(65,30)'})`
  return kind === 'float' ? `(${t} + 0e0)` : t
}

/** Dates that no calendar has are none. */
function iso(c: string, type: string): string | null {
  if (!/^(date|datetime|timestamp)\b/.test(type)) return null
  const shown = `CONCAT(DATE_FORMAT(${c}, '%Y-%m-%dT%H:%i:%s.'), LEFT(DATE_FORMAT(${c}, '%f'), 3), 'Z')`
  return `IF(DAYOFMONTH(${c}) = 0 OR MONTH(${c}) = 0 OR YEAR(${c}) = 0, NULL, ${shown})`
}
