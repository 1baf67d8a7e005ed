import type { Dialect, Image, Reader, Row } from '../engine.ts'
import type { TableShape } from '../schema.ts'
import type { ArchivedRow } from './lines.ts'

/** Rows of a table in an image: these columns of those that meet the condition; null: of all. */
export interface Side {
  readonly image: Image
  readonly table: string
  readonly shape: TableShape
  readonly columns: readonly string[]
  readonly where: string | null
}

const WHOLE = /^-?\d{1,18}$/

type Texts = ArchivedRow['values']

/** Rows of which one query asks by their keys. */
const ONE_COLUMN = 1_000
const MORE = 100
/** Numbers that lie so close together are asked for as a range, which takes a fraction of the time; it holds so many rows for each at the most. */
const CLOSE = 8n

/** Each row of one side, with what the other has under its key; null: nothing. Both have the same key. Memory stays flat. */
export async function eachBeside(
  dialect: Dialect,
  from: Side,
  other: Side,
  signal: AbortSignal,
  each: (row: ArchivedRow, there: Texts | null) => void | Promise<void>,
): Promise<void> {
  const { key } = from.shape
  const many = key.length === 1 ? ONE_COLUMN : MORE
  await from.image.reading(signal, rows =>
    other.image.reading(signal, async db => {
      let some: ArchivedRow[] = []
      const flush = async () => {
        const found = await underKeys(dialect, db, other, some)
        for (const row of some) await each(row, found.get(nameOf(row.key, key)) ?? null)
        some = []
      }
      await rows.each(selectOf(dialect, from, []), [], async found => {
        if (some.push(rowOf(found, from)) === many) await flush()
      })
      if (some.length > 0) await flush()
    }),
  )
}

export function selectOf(dialect: Dialect, { table, shape, columns, where }: Side, more: readonly string[]): string {
  const text = (name: string, as: string) =>
    `${dialect.text(dialect.quote(name), shape.columns[name]?.type ?? '')} AS ${as}`
  const list = [...shape.key.map((k, i) => text(k, `k${i}`)), ...columns.map((c, i) => text(c, `v${i}`))]
  const all = [...(where === null ? [] : [`(${where})`]), ...more]
  const select = list.length === 0 ? '1 AS one' : list.join(', ')
  return `SELECT ${select} FROM ${dialect.table(table)}${all.length === 0 ? '' : ` WHERE ${all.join(' AND ')}`}`
}

export function rowOf(row: Row, { shape, columns }: Side): ArchivedRow {
  const of = (names: readonly string[], as: string) =>
    Object.fromEntries(names.map((n, i) => [n, (row[`${as}${i}`] ?? null) as string | null]))
  return { key: of(shape.key, 'k'), values: of(columns, 'v') }
}

/** What a side has under the keys of these rows, by `nameOf`. */
export async function underKeys(
  dialect: Dialect,
  db: Reader,
  side: Side,
  rows: readonly ArchivedRow[],
): Promise<ReadonlyMap<string, Texts>> {
  const { key, columns } = side.shape
  const given: unknown[] = []
  const value = (row: ArchivedRow, name: string) => {
    const [text, type] = [row.key[name] ?? null, columns[name]?.type ?? '']
    // As it is: SQLite takes twenty times as long over a thousand expressions in place of numbers.
    if (text !== null && dialect.isWhole(type) && WHOLE.test(text)) return text
    return dialect.value(dialect.parameter(given.push(text)), type)
  }
  const [one = ''] = key
  const range = key.length === 1 && dialect.isWhole(columns[one]?.type ?? '') ? rangeOf(rows, one) : null
  const among =
    key.length === 1
      ? `${dialect.quote(one)} ${range ?? `IN (${rows.map(row => value(row, one)).join(', ')})`}`
      : rows.map(row => `(${key.map(k => `${dialect.quote(k)} = ${value(row, k)}`).join(' AND ')})`).join(' OR ')
  const found = await db.query(selectOf(dialect, side, [`(${among})`]), given)
  return new Map(
    found.map(row => {
      const { key: of, values } = rowOf(row, side)
      return [nameOf(of, key), values] as const
    }),
  )
}

/** null: they do not lie close together. */
function rangeOf(rows: readonly ArchivedRow[], key: string): string | null {
  const texts = rows.map(row => row.key[key] ?? '')
  if (!texts.every(text => WHOLE.test(text))) return null
  const numbers = texts.map(BigInt)
  const [low, high] = [numbers.reduce((a, b) => (b < a ? b : a)), numbers.reduce((a, b) => (b > a ? b : a))]
  return high - low < CLOSE * BigInt(numbers.length) ? `BETWEEN ${low} AND ${high}` : null
}

export function nameOf(key: Texts, names: readonly string[]): string {
  const [one = ''] = names
  return names.length === 1 ? String(key[one]) : JSON.stringify(names.map(name => key[name]))
}
