import { type Ground, type Piece } from './piece.ts'
import { HELD } from './quarantine.ts'

const STATE = ['act', 'kind', 'cell', 'take', 'held', 'done', 'wait', 'refused'] as const

/** Rows of a work table that stand alike: how many, and the numbers of the first and the last line of them. */
export type Standing = Readonly<Record<(typeof STATE)[number] | 'many' | 'low' | 'high', number>>

/** How the rows of a piece stand. Looked at once for all questions: however little is left, it takes reading the whole table. */
export async function standingOf({ merger }: Ground, piece: Piece): Promise<Standing[]> {
  if (piece.empty) return []
  const list = STATE.join(', ')
  const sums = `${piece.weight} AS many, min(n) AS low, max(n) AS high`
  const rows = await merger.query(`SELECT ${list}, ${sums} FROM ${piece.work} GROUP BY ${list}`)
  return rows.map(row => {
    const numbers = [...STATE, 'many', 'low', 'high'].map(name => [name, Number(row[name])] as const)
    return Object.fromEntries(numbers) as Standing
  })
}

/** How many rows wait to be carried in one way, and the numbers of the first and the last line of them. */
export interface Span {
  readonly many: number
  readonly low: number
  readonly high: number
}

/** What a piece has left to do. */
export interface Left {
  /** By what is to be done; only rows that wait for nothing. */
  readonly ready: ReadonlyMap<number, Span>
  /** What is to be done to rows that wait for another to make room. */
  readonly waiting: ReadonlySet<number>
  readonly refused: number
  /** All that are still to be carried. */
  readonly pending: number
}

export function leftIn(standing: readonly Standing[]): Left {
  const ready = new Map<number, Span>()
  const waiting = new Set<number>()
  const sums = { refused: 0, pending: 0 }
  for (const s of standing) {
    if (s.refused > 0) sums.refused += s.many
    if (s.done !== 0 || s.held !== HELD.no || s.kind !== 0) continue
    sums.pending += s.many
    if (s.wait === 1) waiting.add(s.act)
    else ready.set(s.act, joined(s, ready.get(s.act)))
  }
  return { ready, waiting, ...sums }
}

function joined(a: Span, b: Span | undefined): Span {
  if (b === undefined) return a
  return { many: a.many + b.many, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) }
}
