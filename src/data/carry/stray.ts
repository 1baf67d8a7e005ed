import type { Dialect } from '../engine.ts'
import type { Piece } from './piece.ts'
import type { Laid } from './plan.ts'
import type { Untouched } from './proof.ts'
import { TAKE, UPDATE } from './words.ts'

/**
 * How many rows that are changed have cells that are not to be, and are not as at the release; by table of ours. Measured
 * before and after, where triggers fire or the server sets columns by itself: nothing else writes them.
 */
export async function strayCells({ ground, pieces, standing }: Laid): Promise<Untouched> {
  const out: Record<string, number> = {}
  if (ground.merger.quiet) return out
  for (const [i, piece] of pieces.entries()) {
    const changed = piece.keyed && standing[i]?.some(s => s.act === UPDATE)
    if (changed !== true) continue
    const [row] = await ground.merger.query(straySql(piece, ground.dialect))
    out[piece.table.ours] = Number(row?.['n'])
  }
  return out
}

function straySql(piece: Piece, dialect: Dialect): string {
  const keys = piece.keyOf('w', 'work')
  const stray = piece.table.columns.map((c, i) => {
    const moved = dialect.differs(piece.column('o', c.ours), piece.column('b', c.base), c.type)
    return `(substr(w.mask, ${i + 1}, 1) = '.' AND ${moved})`
  })
  return `SELECT count(*) AS n FROM ${piece.work} AS w
    JOIN ${piece.image('ours')} AS o ON ${piece.same(piece.keyOf('o', 'ours'), keys)}
    JOIN ${piece.image('base')} AS b ON ${piece.same(piece.keyOf('b', 'base'), keys)}
    WHERE w.act = ${UPDATE} AND w.op = 1 AND w.take <> ${TAKE.set} AND (${stray.join(' OR ')})`
}
