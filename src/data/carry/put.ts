import { wholeRow } from './checks.ts'
import { Moved } from './errors.ts'
import type { Ground, Piece } from './piece.ts'

/** Puts in rows of the work table. */
export function insertSql({ dialect }: Ground, piece: Piece, where: string, from = piece.from()): string {
  const names = piece.table.columns.map(c => dialect.quote(c.ours))
  const values = piece.table.columns.map((_, i) => piece.value(i))
  return `INSERT INTO ${piece.into} (${names.join(', ')}) ${dialect.overriding}
    SELECT ${values.join(', ')} FROM ${from} WHERE ${where}`
}

/** Copies that one statement puts in, at most. */
const COPIES = 1000

/**
 * Puts in equal rows, each line of the work table so many times: many lines stand for one row, and some for thousands. Throws
 * `Moved` where not all came.
 */
export async function putTimes(ground: Ground, piece: Piece, where: string, times: string): Promise<void> {
  const { merger } = ground
  const [row] = await merger.query(
    `SELECT max(${times}) AS most, sum(${times}) AS rows_to_come FROM ${piece.work} AS w WHERE ${where}`,
  )
  let came = 0
  for (let [from, many] = [0, 1]; from < Number(row?.['most']); from += many, many = Math.min(many * 10, COPIES)) {
    const copies = `${piece.from()} JOIN (${numbers(many)}) AS copy ON ${from} + copy.k <= ${times}`
    came += await merger.run(insertSql(ground, piece, `${where} AND ${times} > ${from}`, copies))
  }
  const wanted = Number(row?.['rows_to_come'])
  if (came !== wanted) throw new Moved(`${piece.table.ours}: ${came} rows came of ${wanted}`)
}

/** The numbers from 1 to a power of ten, as `k`. */
function numbers(many: number): string {
  const digits = `(SELECT 0 AS d${[1, 2, 3, 4, 5, 6, 7, 8, 9].map(d => ` UNION ALL SELECT ${d}`).join('')})`
  const places = Array.from({ length: String(many).length - 1 }, (_, i) => i)
  const sum = ['1', ...places.map(i => `${10 ** i} * p${i}.d`)].join(' + ')
  if (places.length === 0) return 'SELECT 1 AS k'
  return `SELECT ${sum} AS k FROM ${places.map(i => `${digits} AS p${i}`).join(' CROSS JOIN ')}`
}

/** Takes all equal rows away and puts so many of them in again. Throws `Moved` where they were not as many as were `there`. */
export async function setTimes(
  ground: Ground,
  piece: Piece,
  { where, times, there }: { where: string; times: string; there: number | null },
): Promise<void> {
  const { merger, dialect } = ground
  const ids = `SELECT w.id FROM ${piece.work} AS w WHERE ${where}`
  const gone = await merger.run(dialect.remove(piece.image('ours'), [wholeRow(ground, piece, 'o')], ids))
  if (there !== null && gone !== there) throw new Moved(`${piece.table.ours}: ${gone} rows were as they had been`)
  await putTimes(ground, piece, where, times)
}
