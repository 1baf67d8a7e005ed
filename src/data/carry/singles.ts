import { count, thrown } from './batches.ts'
import { conflict, mark } from './checks.ts'
import { writeLedger } from './ledger.ts'
import type { Decision } from './options.ts'
import { literal, type Piece } from './piece.ts'
import type { Laid } from './plan.ts'
import { matching } from './settle.ts'
import { TAKE } from './words.ts'

/** Carries the rows for which a person gave values, one by one. Returns how many were carried. */
export async function carrySingles(laid: Laid): Promise<number> {
  let carried = 0
  for (const decision of laid.options.decisions.toReversed()) {
    if (decision.set === undefined || decision.key === undefined) continue
    for (const piece of laid.pieces.filter(p => p.keyed && p.table.ours === decision.table)) {
      const fits = matching(laid.ground, piece, decision, `w.take = ${TAKE.set}`)
      if (fits === null) continue
      const where = `${fits} AND w.held = 0`
      if ((await count(laid.ground, piece, where)) === 1) carried += await single(laid, piece, decision, where)
    }
  }
  return carried
}

async function single(laid: Laid, piece: Piece, { set = {} }: Decision, where: string): Promise<number> {
  const { ground, plan, source } = laid
  const { merger } = ground
  const shape = source.schemas.ours.tables[piece.table.ours]
  const given = new Map(
    Object.entries(set).map(([name, text]) => {
      const type = shape?.columns[name]?.type ?? ''
      return [name, text === null ? 'NULL' : ground.dialect.value(literal(text), type)]
    }),
  )
  const [row] = await merger.query(`SELECT w.op AS op, w.mask AS mask FROM ${piece.work} AS w WHERE ${where}`)
  const mask = String(row?.['mask'])
  const own = Number(row?.['op']) === 1
  const sql = own ? changeSql(laid, piece, given, { where, mask }) : addSql(laid, piece, given, where)
  return merger.transaction(async () => {
    const select = `SELECT w.n AS n FROM ${piece.work} AS w WHERE ${where}`
    const refused = sql === null ? null : await merger.savepoint(async () => void (await merger.run(sql)))
    const kind = refused === null ? null : merger.refusal(refused)
    if (refused !== null && kind === null) throw thrown(refused)
    if (kind !== null) {
      await mark(ground, piece, { ...conflict(kind), take: TAKE.none, refused: 1 }, select)
      return 0
    }
    await writeLedger(ground, piece, plan.hash, where)
    await mark(ground, piece, { done: 1, applied: 1, kind: 0, cell: 0 }, select)
    return 1
  })
}

function addSql({ ground }: Laid, piece: Piece, given: ReadonlyMap<string, string>, where: string): string {
  const { dialect } = ground
  const names = [...new Set([...piece.table.columns.map(c => c.ours), ...given.keys()])]
  const values = names.map(name => given.get(name) ?? piece.value(piece.indexOf(name)))
  return `INSERT INTO ${piece.into} (${names.map(n => dialect.quote(n)).join(', ')}) ${dialect.overriding}
    SELECT ${values.join(', ')} FROM ${piece.from()} WHERE ${where}`
}

/**
 * Cells that theirs changed come as they are there, but for those that were given; no other column is set: a server may take
 * no value of ours for it, not even the one that it has. null: there is nothing to set.
 */
function changeSql(
  { ground }: Laid,
  piece: Piece,
  given: ReadonlyMap<string, string>,
  { where, mask }: { where: string; mask: string },
): string | null {
  const { dialect } = ground
  const theirs = piece.table.columns.flatMap(({ ours }, i) =>
    'wtcr'.includes(mask[i] ?? '.') && !given.has(ours) ? [[ours, piece.value(i)] as const] : [],
  )
  const sets = [...theirs, ...given].map(([name, value]) => [dialect.quote(name), value] as const)
  if (sets.length === 0) return null
  const on = `${piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work'))} AND ${where}`
  return dialect.update(piece.image('ours'), piece.sets(sets), piece.from(), on)
}
