import { thrown } from './batches.ts'
import { markWhere } from './checks.ts'
import { writeLedger } from './ledger.ts'
import { type Piece, pending } from './piece.ts'
import type { Laid } from './plan.ts'
import { INSERT } from './words.ts'

const WAITS = `${pending()} AND w.refused = 1 AND w.wait = 1 AND w.act = ${INSERT}`

/**
 * Where the database looks at foreign keys, rows that refer to each other come first without what they refer to, and get it
 * in the same transaction. Returns how many rows that were; 0 where a column that refers takes no NULL.
 */
export async function nullThenPatch(laid: Laid): Promise<number> {
  const { ground } = laid
  if (ground.merger.quiet) return 0
  let rows = 0
  const work = async () => {
    for (const piece of keyed(laid)) await ground.merger.run(insertSql(laid, piece))
    for (const piece of keyed(laid)) {
      const columns = referring(laid, piece)
      if (columns.length > 0) await ground.merger.run(patchSql(laid, piece, columns))
      await writeLedger(ground, piece, laid.plan.hash, WAITS)
      const done = { done: 1, applied: 1, wait: 0, refused: 0 }
      rows += await markWhere(ground, piece, done, WAITS)
    }
  }
  const refused = await ground.merger.transaction(async () => ground.merger.savepoint(work))
  if (refused === null) return rows
  if (ground.merger.refusal(refused) === null) throw thrown(refused)
  return 0
}

function keyed({ pieces }: Laid): Piece[] {
  return pieces.filter(piece => piece.keyed)
}

/** Columns that refer to another row and take NULL. */
function referring({ bonds }: Laid, { table }: Piece): number[] {
  const names = new Set((bonds[table.ours]?.references ?? []).flatMap(r => r.columns))
  return table.columns.flatMap((c, i) => (names.has(c.ours) && !c.required ? [i] : []))
}

function insertSql(laid: Laid, piece: Piece): string {
  const { dialect } = laid.ground
  const empty = new Set(referring(laid, piece))
  const names = piece.table.columns.map(c => dialect.quote(c.ours))
  const values = piece.table.columns.map((_, i) => (empty.has(i) ? 'NULL' : piece.value(i)))
  return `INSERT INTO ${piece.into} (${names.join(', ')}) ${dialect.overriding}
    SELECT ${values.join(', ')} FROM ${piece.from()} WHERE ${WAITS}`
}

function patchSql({ ground: { dialect } }: Laid, piece: Piece, columns: readonly number[]): string {
  const sets = columns.map(i => [dialect.quote(piece.table.columns[i]?.ours ?? ''), piece.value(i)] as const)
  const on = `${piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work'))} AND ${WAITS}`
  return dialect.update(piece.image('ours'), piece.sets(sets), piece.from(), on)
}
