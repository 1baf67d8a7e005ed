import type { TableShape } from '../../data/schema.ts'
import { quoted } from './names.ts'
import type { Flavour } from './session.ts'

/** How many columns before it tie a value to its row where the table has no key. */
const TIES = 30

/** One way to make 64 bits of a value, the same on every server that knows it. */
export interface Formula {
  readonly method: string
  /**
   * SQL of a column's hash in its row; NULL where the value is NULL. `short`: no key has more than 32 bits, which gives the
   * same hashes by less work.
   */
  hashes(shape: TableShape, short?: boolean): (column: string) => string
}

/** `method`: the one that is asked for, where this server knows it. */
export function formulaOf({ mariadb, number }: Flavour, method?: string): Formula {
  if (!mariadb) return MIRRORED_MYSQL
  return number >= 100_800 && method !== MIRRORED_MARIADB.method ? SEEDED : MIRRORED_MARIADB
}

/**
 * Both checksums start from the row's key, so that values that change places show. Checksums are linear, and swapped
 * values could cancel out: their product is not.
 */
const SEEDED: Formula = {
  method: 'mariadb-crc-2',
  hashes(shape, short = false) {
    const bytes = (c: string) => mariadbBytes(c, typeOf(shape, c))
    const seeds = countingSeeds(shape, short)
    if (seeds !== null) return c => product(`CRC32(${seeds[0]}, ${bytes(c)})`, `CRC32C(${seeds[1]}, ${bytes(c)})`)
    return tied(shape, bytes, (tie, value) =>
      product(`CRC32(CRC32(${tie}), ${value})`, `CRC32C(CRC32C(${tie}), ${value})`),
    )
  },
}

/** For servers whose CRC32 takes no seed: of the bytes forwards and backwards, which are two different checksums. */
function mirrored(method: string, exact: (column: string, type: string) => string): Formula {
  return {
    method,
    hashes(shape) {
      return tied(
        shape,
        c => exact(c, typeOf(shape, c)),
        (tie, value) => {
          const all = `CONCAT(${tie}, '=', CAST(${value} AS BINARY))`
          return product(`CRC32(${all})`, `CRC32(REVERSE(${all}))`)
        },
      )
    },
  }
}

const MIRRORED_MARIADB = mirrored('mariadb-mirror-2', mariadbBytes)
const MIRRORED_MYSQL = mirrored('mysql-mirror-2', mysqlBytes)

/** At most 2^32 * (2^32 - 1): fits 64 bits. */
function product(a: string, b: string): string {
  return `(${a} + 1) * ${b}`
}

function typeOf(shape: TableShape, column: string): string {
  return shape.columns[column]?.type ?? ''
}

/** As text, floats lose digits and doubles take long: packed they are the eight bytes that they are. */
function mariadbBytes(column: string, type: string): string {
  const c = quoted(column)
  if (/^(float|double)/.test(type)) return `IF(${c} IS NULL, NULL, COLUMN_CREATE(1, ${c}))`
  return type.startsWith('bit') ? `CAST(${c} AS BINARY)` : c
}

function mysqlBytes(column: string, type: string): string {
  const c = quoted(column)
  if (type.startsWith('float')) return `(${c} + 0e0)`
  return type.startsWith('json') ? `CAST(${c} AS CHAR)` : c
}

/** The key itself as two seeds that have all its bits between them; null: it is not one whole number. */
function countingSeeds(shape: TableShape, short: boolean): readonly [string, string] | null {
  const [first, ...more] = shape.key
  if (first === undefined || more.length > 0) return null
  const [, size] = /^(tiny|small|medium|big)?int\b/.exec(typeOf(shape, first)) ?? [null, null]
  if (size === null) return null
  const k = quoted(first)
  return size === 'big' && !short ? [k, `(${k} ^ (${k} >> 32))`] : [k, k]
}

/** By the key; without one, each column by those before it, and the last one by all: so the row holds together. */
function tied(
  shape: TableShape,
  bytes: (column: string) => string,
  hash: (tie: string, value: string) => string,
): (column: string) => string {
  const key = keyOf(shape)
  if (key.length > 0) {
    const tie = joined(key.map(c => withLength(bytes(c))))
    return c => hash(tie, bytes(c))
  }
  const all = Object.keys(shape.columns).filter(c => shape.columns[c]?.generated === false)
  const told = (c: string) => `IF(${quoted(c)} IS NULL, 'N', CONCAT('V', ${withLength(bytes(c))}))`
  return c => {
    const at = all.indexOf(c)
    const before = all.slice(0, at === all.length - 1 ? at : Math.min(at, TIES))
    return hash(joined(before.map(told)), told(c))
  }
}

function withLength(bytes: string): string {
  return `CONCAT(LENGTH(${bytes}), ':', CAST(${bytes} AS BINARY))`
}

function joined(parts: readonly string[]): string {
  return parts.length === 0 ? `''` : parts.length === 1 ? String(parts[0]) : `CONCAT(${parts.join(', ')})`
}

/**
 * Hashes of rows that have a key differ from row to row, so that they are folded by xor, which costs half of what a sum in
 * decimals does. Without a key two rows can be the same, and would cancel each other out.
 */
export function isFoldedByXor(shape: TableShape): boolean {
  return keyOf(shape).length > 0
}

/** The primary key, or else the first unique index that is one: over whole columns that are never NULL. */
function keyOf(shape: TableShape): readonly string[] {
  if (shape.key.length > 0) return shape.key
  const candidates = Object.entries(shape.indexes)
    .filter(([, index]) => index.unique)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, index]) => index.on.split(', '))
  return candidates.find(columns => columns.every(c => shape.columns[c]?.nullable === false)) ?? []
}
