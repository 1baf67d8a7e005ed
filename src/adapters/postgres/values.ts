import { quote } from './names.ts'

/** What the catalogue says of one column that is hashed. */
export interface Column {
  readonly name: string
  /** Type by name, domains resolved: "int4", "numeric", "mood". */
  readonly type: string
  /** The type is PostgreSQL's own. */
  readonly builtin: boolean
  /** Somebody made a cast of this type to text: it may say anything. */
  readonly cast: boolean
}

/** Rows of (relation, name, type, builtin, cast) of the columns of the relations `$1`, given as regclass texts. */
export const COLUMNS_OF = `
  WITH RECURSIVE base(oid, at, kind, below) AS (
    SELECT t.oid, t.oid, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid IN (SELECT atttypid FROM pg_attribute
      WHERE attrelid = ANY ($1::text[]::regclass[]))
    UNION ALL SELECT b.oid, t.oid, t.typtype, t.typbasetype FROM base b JOIN pg_type t ON b.kind = 'd' AND t.oid = b.below)
  SELECT r.rel, a.attname AS name, t.typname AS type, t.typnamespace = 'pg_catalog'::regnamespace AS builtin,
    EXISTS (SELECT FROM pg_cast k WHERE k.castsource IN (t.oid, a.atttypid) AND k.casttarget = 'text'::regtype AND k.castmethod = 'f'
      AND k.oid >= 16384) AS cast
  FROM unnest($1::text[]) AS r(rel) JOIN pg_attribute a ON a.attrelid = r.rel::regclass
  JOIN base b ON b.oid = a.atttypid AND b.kind <> 'd' JOIN pg_type t ON t.oid = b.at
  WHERE a.attnum > 0 AND NOT a.attisdropped`

/**
 * The hash of a value, 64 bits, as SQL; NULL for NULL. Equal for equal bits and for nothing else: a scale, the sign of
 * a zero, a letter's case count. `seed`: bigint SQL, which ties the value to its row. Types that hold oids of this
 * database, or whose own hash takes 1.0 for 1.00, are hashed by their text.
 */
export function hashed(column: Column, seed: string, value = quote(column.name)): string {
  if (column.builtin) {
    switch (column.type) {
      case 'int2':
        return `hashint2extended(${value}, ${seed})`
      case 'int4':
        return `hashint4extended(${value}, ${seed})`
      case 'int8':
        return `hashint8extended(${value}, ${seed})`
      case 'oid':
        return `hashoidextended(${value}, ${seed})`
      case 'bool':
        return `hashint4extended(${value}::int4, ${seed})`
      case 'char':
        return `hashcharextended(${value}, ${seed})`
      case 'uuid':
        return `uuid_hash_extended(${value}, ${seed})`
      case 'timestamp':
        return `timestamp_hash_extended(${value}, ${seed})`
      case 'timestamptz':
        // In the session's time zone, which is UTC. AT TIME ZONE says the same and takes four times as long.
        return `timestamp_hash_extended(${value}::timestamp, ${seed})`
      case 'date':
        return `hashint4extended(${daysOf(value)}, ${seed})`
      case 'time':
        return `time_hash_extended(${value}, ${seed})`
      case 'float4':
      case 'float8':
        // Its own hash takes -0 for 0; of all others, equal numbers are equal bits.
        return `CASE WHEN ${value} = 0 THEN ${textHash(value, seed)} ELSE hash${column.type}extended(${value}, ${seed}) END`
      case 'text':
      case 'varchar':
        return `hashtextextended(${value} COLLATE "C", ${seed})`
      case 'bpchar':
        // A cast to text would cut blanks off the end.
        return `hashtextextended(textin(bpcharout(${value})) COLLATE "C", ${seed})`
      default:
    }
  }
  if (column.cast) {
    // By the type's own output, not by that cast. Of a row of NULLs IS NULL would be true: it is asked the other way.
    return `CASE WHEN ${value} IS DISTINCT FROM NULL THEN hashtextextended(concat(${value}) COLLATE "C", ${seed}) END`
  }
  return textHash(value, seed)
}

function textHash(value: string, seed: string): string {
  return `hashtextextended(${value}::text COLLATE "C", ${seed})`
}

/** A date has no hash of its own that could be called, and not every date is a timestamp. */
function daysOf(value: string): string {
  return `CASE WHEN isfinite(${value}) THEN ${value} - date '2000-01-01' WHEN ${value} > date '2000-01-01' THEN 2147483647 WHEN ${value} < date '2000-01-01' THEN -2147483648 END`
}

const WHOLE_NUMBERS: readonly string[] = ['int2', 'int4', 'int8']

export function isWhole({ builtin, type }: Column): boolean {
  return builtin && WHOLE_NUMBERS.includes(type)
}

/**
 * What ties the rest of a row to its key, as SQL: the hash of the key; the key itself where it is one whole number, for a seed
 * is mixed well by itself and is worked out anew for every column. `at`: how a column is named.
 */
export function seedOf(key: readonly Column[], at: (column: Column) => string = c => quote(c.name)): string {
  const [first] = key
  if (first !== undefined && key.length === 1 && isWhole(first)) return `${at(first)}::int8`
  return key.reduce((seed, column) => hashed(column, seed, at(column)), '0')
}
