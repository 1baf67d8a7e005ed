import { thrown } from './batches.ts'
import { markWhere } from './checks.ts'
import { Moved } from './errors.ts'
import { CARRIED_WHOLE, writeLedger } from './ledger.ts'
import { type Piece, pending } from './piece.ts'
import type { Laid } from './plan.ts'
import { UPDATE } from './words.ts'

/**
 * Rows that wait for each other's unique values (two that changed places) leave ours together and come back as they are to
 * be. Only where nothing looks at the moment between. Returns how many rows that were.
 */
export async function exchange(laid: Laid, piece: Piece): Promise<number> {
  const { ground, plan, source } = laid
  const { merger, dialect } = ground
  const shape = source.schemas.ours.tables[piece.table.ours]
  if (!merger.quiet || shape === undefined) return 0
  const names = Object.keys(shape.columns).filter(c => shape.columns[c]?.generated === false)
  const waiting = `${pending()} AND w.wait = 1 AND w.act = ${UPDATE}`
  const cells = names.map((name, i) => `${piece.final(name)} AS f${i}`)
  const differs = piece.table.columns.flatMap((c, i) => {
    const letter = `substr(w.mask, ${i + 1}, 1) = 'w'`
    return [`(${letter} AND ${dialect.differs(piece.column('o', c.ours), piece.column('b', c.base))})`]
  })
  const select = `SELECT w.n AS n, ${cells.join(', ')} FROM ${piece.from()}${piece.withOurs()}
    LEFT JOIN ${piece.image('base')} AS b ON ${piece.same(piece.keyOf('b', 'base'), piece.keyOf('w', 'work'))}
    WHERE ${waiting} AND NOT (${differs.join(' OR ')})`
  const places = await merger.work('backout_exchange', select, [['n']])
  const work = async () => {
    const keys = `SELECT ${piece.keyOf('w', 'work').join(', ')} FROM ${piece.work} AS w WHERE ${waiting}`
    const gone = await merger.run(dialect.remove(piece.image('ours'), piece.keyOf('o', 'ours'), keys))
    const back = `INSERT INTO ${piece.into} (${names.map(n => dialect.quote(n)).join(', ')}) ${dialect.overriding}
      SELECT ${names.map((_, i) => `f${i}`).join(', ')} FROM ${places}`
    let came = 0
    const refused = await merger.savepoint(async () => {
      came = await merger.run(back)
    })
    if (refused !== null) throw merger.refusal(refused) === null ? thrown(refused) : new Stuck()
    if (came !== gone) throw new Moved(`${piece.table.ours}: ${gone} rows left and ${came} came back`)
    await writeLedger(ground, piece, plan.hash, `${waiting} AND ${CARRIED_WHOLE}`)
    await markWhere(ground, piece, { done: 1, applied: 1, wait: 0 }, waiting)
    return came
  }
  try {
    return await merger.transaction(work)
  } catch (error) {
    if (error instanceof Stuck) return 0
    throw error
  }
}

/** They do not only wait for each other. */
class Stuck extends Error {}
