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

/** What a side has under the keys of these rows, by `nameOf` of the keys that were given. */
export async function underKeys(
  dialect: Dialect,
  db: Reader,
  side: Side,
  rows: readonly ArchivedRow[],
): Promise<ReadonlyMap<string, Texts>> {
  const { key, columns } = side.shape
  const [one = ''] = key
  const range = key.length === 1 && dialect.isWhole(columns[one]?.type ?? '') ? rangeOf(rows, one) : null
  const said = saidFor(dialect, side)
  const among = range === null ? said.among(rows) : `${dialect.quote(one)} ${range}`
  const found = await db.query(selectOf(dialect, side, [`(${among})`]), said.given)
  const out = new Map(
    found.map(row => {
      const { key: of, values } = rowOf(row, side)
      return [nameOf(of, key), values] as const
    }),
  )
  if (range !== null) return out
  const asked = new Set(rows.map(row => nameOf(row.key, key)))
  if ([...out.keys()].every(name => asked.has(name))) return out
  const left = rows.filter(row => !out.has(nameOf(row.key, key)))
  return new Map([...out, ...(await otherwiseWritten(dialect, db, side, left))])
}

/** The database takes keys for the same that are written otherwise (`Bob`, `bob`): which of those given it took each for. */
async function otherwiseWritten(
  dialect: Dialect,
  db: Reader,
  side: Side,
  rows: readonly ArchivedRow[],
): Promise<(readonly [string, Texts])[]> {
  if (rows.length === 0) return []
  const { key } = side.shape
  const said = saidFor(dialect, side)
  const which = rows.map((row, i) => `WHEN ${said.equal(row)} THEN ${i}`).join(' ')
  const select = selectOf(dialect, side, [`(${said.among(rows)})`])
  const found = await db.query(
    select.replace(/^SELECT /, () => `SELECT CASE ${which} END AS asked, `),
    said.given,
  )
  return found.flatMap(row => {
    const given = rows[Number(row['asked'])]
    return given === undefined ? [] : [[nameOf(given.key, key), rowOf(row, side).values] as const]
  })
}

/** Keys of rows as one query says them, in the order of its text; `given` goes with it. */
function saidFor(dialect: Dialect, { shape: { key, columns } }: Side) {
  const given: unknown[] = []
  const of = (row: ArchivedRow, name: string) => {
    const [text, type] = [row.key[name] ?? null, columns[name]?.type ?? '']
    // As it is: SQLite takes twenty times as long over a thousand expressions in place of numbers.
    if (text !== null && dialect.isWhole(type) && WHOLE.test(text)) return text
    return dialect.value(dialect.parameter(given.push(text)), type)
  }
  const equal = (row: ArchivedRow) => `(${key.map(k => `${dialect.quote(k)} = ${of(row, k)}`).join(' AND ')})`
  const among = (rows: readonly ArchivedRow[]) => {
    const [one = ''] = key
    if (key.length > 1) return rows.map(equal).join(' OR ')
    return `${dialect.quote(one)} IN (${rows.map(row => of(row, one)).join(', ')})`
  }
  return { given, equal, among }
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
