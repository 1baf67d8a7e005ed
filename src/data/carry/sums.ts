import type { Over, Row } from '../engine.ts'
import type { Ground, Piece } from './piece.ts'

/**
 * What a query answers in its one row, each column a number that its parts add up to. `query` is given a condition on the rows
 * of `over`, whose key is never NULL there: it may be asked for some of them and for the others at the same time.
 */
export async function sumsOf(
  { merger, dialect }: Ground,
  piece: Piece,
  over: Over,
  query: (among: string) => string,
): Promise<Readonly<Record<string, number>>> {
  const [key] = piece.key
  const whole = piece.key.length === 1 && dialect.isWhole(piece.columnOf(key ?? '').type)
  const rows =
    whole && merger.parted !== undefined ? await merger.parted(over, query) : await merger.query(query('1 = 1'))
  return added(rows)
}

function added(rows: readonly Row[]): Record<string, number> {
  const out: Record<string, number> = {}
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) out[name] = (out[name] ?? 0) + Number(value)
  }
  return out
}
