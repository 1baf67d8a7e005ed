import { anewIn } from './anew.ts'
import { cellsOf, unlikeBase } from './cells.ts'
import type { Ground, Piece, Tail } from './piece.ts'
import type { CarrySource } from './source.ts'
import { sumsOf } from './sums.ts'

/** Whether theirs has rows that base has not, or not so; and whether base has rows that theirs has not. */
export interface Since {
  readonly changed: boolean
  readonly gone: boolean
}

export const NOTHING_SINCE: Since = { changed: false, gone: false }
const LIKELY: Since = { changed: true, gone: true }

/** What became of old rows, and what that tells of new ones: those that may hold something else are looked at one by one. */
export async function sinceIn(
  ground: Ground,
  source: CarrySource,
  piece: Piece,
  signal: AbortSignal,
  tail: () => Promise<Tail | null>,
): Promise<Since> {
  piece.tail = await tail()
  const since = await changedSince(ground, piece)
  piece.anew = await anewIn(ground, source, piece, since, signal)
  if (piece.tail === null || piece.anew.columns.length === 0) return since
  piece.tail = null
  return { ...since, changed: true }
}

/**
 * A look at theirs and base alone, before rows are classified by all images: of most tables nobody touched the old rows. Asked
 * where two sessions can look at the same time; classifying is done by one.
 */
export async function changedSince(ground: Ground, piece: Piece): Promise<Since> {
  const { merger, dialect } = ground
  const [key = ''] = piece.key
  const of = piece.keyed && piece.key.length === 1 ? piece.columnOf(key) : null
  // Numbers alone: a key that is compared otherwise in theirs may be there twice for one of base.
  if (merger.parted === undefined || of === null || of.type !== of.theirType || !dialect.isWhole(of.type)) return LIKELY
  const [t = ''] = piece.keyOf('t', 'theirs')
  const [b = ''] = piece.keyOf('b', 'base')
  const cells = cellsOf(ground, piece)
  const unlike = cells.map(cell => unlikeBase(ground, piece, cell, cell.theirs, cell.column.theirType))
  const table = `${piece.image('theirs')} AS t`
  const where = piece.tail === null ? '1 = 1' : `${t} <= ${piece.tail.above}`
  const found = await sumsOf(
    ground,
    piece,
    { table, key: t, where },
    among => `SELECT count(${b}) AS paired, count(CASE WHEN ${[`${b} IS NULL`, ...unlike].join(' OR ')} THEN 1 END) AS other
      FROM ${table} LEFT JOIN ${piece.image('base')} AS b ON ${piece.same([t], [b])} WHERE ${where} AND ${among}`,
  )
  const [base] = await merger.query(`SELECT count(*) AS n FROM ${piece.image('base')} AS b`)
  return { changed: found['other'] !== 0, gone: found['paired'] !== Number(base?.['n']) }
}
