import { classify } from './classify.ts'
import { type Found, foundIn } from './found.ts'
import { Piece } from './piece.ts'
import type { Laid } from './plan.ts'
import { NOTHING_SINCE } from './since.ts'
import type { Held } from './unproven.ts'
import { INSERT } from './words.ts'

/** One more look at all equal rows of a table without a key, beside what is said of them. */
export async function comparedCounted({ ground, options }: Laid, piece: Piece, held: Held): Promise<Found> {
  const again = new Piece(ground, piece.table, piece.key)
  await classify(ground, again, NOTHING_SINCE, 'backout_proof', options.mode)
  const missed = `SELECT coalesce(sum(w.times), 0) AS n FROM ${piece.work} AS w
    WHERE NOT EXISTS (SELECT 1 FROM ${again.work} AS p WHERE p.id = w.id)`
  const [row] = await ground.merger.query(foundSql(piece, again, { reports: options.mode === 'report', held }))
  const [more] = await ground.merger.query(missed)
  const found = foundIn(row)
  return { ...found, lacking: found.lacking + Number(more?.['n']), strange: Number(row?.['strange']) }
}

/** Ours had as many once these were carried (`was`); of what came it has less now (`lost`). */
function foundSql(
  piece: Piece,
  again: Piece,
  { reports, held }: { reports: boolean; held: Pick<Held, 'again' | 'spreads'> },
): string {
  const said = ['act', 'done', 'held', 'kind', 'carried', 'applied', 'times', 'here', 'delta', 'target']
  const beside = `SELECT p.here AS now_here, p.delta AS now_delta, w.n AS known, ${said.map(name => `w.${name} AS ${name}`).join(', ')}
    FROM ${again.work} AS p LEFT JOIN ${piece.work} AS w ON p.id = w.id`
  const less = 'CASE WHEN target - now_here > times THEN times ELSE target - now_here END'
  const lost = `CASE WHEN act = ${INSERT} AND (applied = 1 OR carried = 1) AND now_here < target THEN ${less} ELSE 0 END`
  // Others may write such rows at any time: what an earlier process carried tells only until it was borne out.
  const then = held.again ? 'target' : held.spreads ? 'here' : 'now_here'
  const was = `CASE WHEN applied = 1 THEN target WHEN carried = 1 THEN ${then} ELSE now_here END`
  const sum = (condition: string, name: string, value: string) =>
    `coalesce(sum(CASE WHEN ${condition} THEN ${value} ELSE 0 END), 0) AS ${name}`
  const open = 'done = 0 AND held = 0'
  return `SELECT ${[
    sum('1 = 1', 'found_now', 'abs(now_delta)'),
    sum('done = 1', 'carried_now', 'times - lost'),
    sum(`${open} AND kind > 0`, 'listed', 'times'),
    sum('done = 0 AND held > 0', 'quarantined', 'times'),
    sum('carried = 1', 'changed_since', 'lost'),
    sum('1 = 1', 'lacking', 'lacking_here'),
    sum('applied = 1', 'unlike_it', 'lost'),
    sum(`now_here > was OR (now_here < was AND act <> ${INSERT})`, 'strange', 'abs(now_here - was)'),
  ].join(', ')} FROM (SELECT e.*, ${lost} AS lost, ${was} AS was, CASE WHEN known IS NULL THEN abs(now_delta)
    WHEN ${open} AND kind = 0 AND ${reports ? '1 = 0' : '1 = 1'} THEN times ELSE abs(now_delta - delta) END AS lacking_here
    FROM (${beside}) AS e) AS found`
}
