import type { Dialect } from './engine.ts'
import type { ColumnShape } from './schema.ts'

/** Ranges of whole numbers, by the names that servers show. */
const WHOLE: Readonly<Record<string, readonly [low: string, high: string]>> = {
  tinyint: ['-128', '127'],
  smallint: ['-32768', '32767'],
  mediumint: ['-8388608', '8388607'],
  int: ['-2147483648', '2147483647'],
  integer: ['-2147483648', '2147483647'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
  'tinyint unsigned': ['0', '255'],
  'smallint unsigned': ['0', '65535'],
  'mediumint unsigned': ['0', '16777215'],
  'int unsigned': ['0', '4294967295'],
  'bigint unsigned': ['0', '18446744073709551615'],
}

const NUMBER = '^[[:space:]]*[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?[[:space:]]*$'
const WHOLE_NUMBER = '^[[:space:]]*[+-]?[0-9]+[[:space:]]*$'

/**
 * `Dialect.misfit` for servers that hold columns to their types: too long, out of range, with a fraction that would be cut,
 * or no number at all. `matches` says that a text matches a POSIX pattern. Types it does not know fit: the server has the last word.
 */
export function misfitBy(matches: (text: string, pattern: string) => string): NonNullable<Dialect['misfit']> {
  return (value, now, then) => {
    if (now.type === then.type) return null
    const length = /^(?:character varying|varchar|character|char)\s*\((\d+)\)/i.exec(then.type)?.[1]
    if (length !== undefined) return isText(now) ? `char_length(${value}) > ${length}` : null
    const whole = WHOLE[plain(then.type)]
    const exact = /^(?:numeric|decimal)\s*\((\d+)(?:\s*,\s*(\d+))?\)/i.exec(then.type)
    if (whole === undefined && exact === null) return null
    // A CASE decides before the cast is tried.
    const [no, number] = isText(now)
      ? [`NOT ${matches(value, whole === undefined ? NUMBER : WHOLE_NUMBER)}`, `CAST(${value} AS decimal(65,30))`]
      : [null, value]
    const beyond = whole === undefined ? tooPrecise(number, exact) : outside(number, whole)
    return no === null ? `(${beyond})` : `(CASE WHEN ${no} THEN TRUE ELSE ${beyond} END)`
  }
}

function isText({ type }: ColumnShape): boolean {
  return /char|text|clob|enum|set/i.test(type)
}

/** Without the display width: int(11) is an int. */
function plain(type: string): string {
  return type
    .toLowerCase()
    .replace(/\(\d+\)/, '')
    .replace(/\s+zerofill/, '')
    .trim()
}

function outside(number: string, [low, high]: readonly [string, string]): string {
  return `${number} < ${low} OR ${number} > ${high} OR ${number} <> floor(${number})`
}

function tooPrecise(number: string, exact: RegExpExecArray | null): string {
  const [digits, scale] = [Number(exact?.[1]), Number(exact?.[2] ?? 0)]
  return `abs(${number}) >= 1${'0'.repeat(Math.max(0, digits - scale))} OR round(${number}, ${scale}) <> ${number}`
}
