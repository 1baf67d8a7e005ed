import type { Job, Reference } from '../engine.ts'
import { type CarryingOptions, carryAll, countRows } from './batches.ts'
import { conflict, foresee, mark, markDeletes, markWhere, uniqueParts, type Whole } from './checks.ts'
import { exchange } from './exchange.ts'
import { expandRanges, LEDGER, noteRefused } from './ledger.ts'
import { nullThenPatch } from './patch.ts'
import { type Ground, type Piece, pending } from './piece.ts'
import type { Laid } from './plan.ts'
import { setTimes } from './put.ts'
import { carrySingles } from './singles.ts'
import { type Left, leftIn, type Span, type Standing, standingOf } from './standing.ts'
import { carryTail, RowByRow, tailOrphansSql } from './tail.ts'
import { codeOf, DELETE, INSERT, REFUSED, UPDATE } from './words.ts'

/**
 * Carries what is laid out, in rounds: rows that wait for another to make room come in a later one. Ends when nothing is
 * left, or nothing more moves; what is left then is a conflict. Answers how the rows of each piece stand then; `done` counts
 * what was carried. Throws `RowByRow`.
 */
export async function carryOut(
  laid: Laid,
  job: Job,
  batch: number,
  done: { rows: number },
): Promise<readonly (readonly Standing[])[]> {
  const total = laid.plan.tables.reduce((sum, t) => sum + t.inserts + t.updates + t.deletes, 0)
  const before = done.rows
  const after = (rows: number) => {
    done.rows += rows
    job.progress({ text: 'carrying rows', done: done.rows - before, total })
  }
  const options = { hash: laid.plan.hash, batch, after }
  let { standing } = laid
  for (let given = false; !given; ) {
    let moved = await carrySingles(laid)
    after(moved)
    if (laid.options.decisions.length > 0) standing = await allStanding(laid)
    const left = standing.map(leftIn)
    const tails = laid.pieces.some(hasTail)
    if (moved === 0 && !tails && left.every(l => l.pending === 0)) break
    moved += await carryReady(laid, left, options)
    if (moved === 0) {
      await foresee(laid)
      const patched = await nullThenPatch(laid)
      after(patched)
      moved = (await exchangeAll(laid, after)) + patched
    }
    given = moved === 0
    if (given) await giveUp(laid)
    standing = await (given ? allStanding(laid) : lookAgain(laid))
  }
  const back = await takeBackOrphans(laid)
  for (const [i, piece] of laid.pieces.entries()) {
    const refused = back > 0 || laid.refused.has(piece.table.ours) || leftIn(standing[i] ?? []).refused > 0
    if (refused) await noteRefused(laid.ground, piece, laid.options.decisions)
  }
  // Some of them an earlier process may have carried.
  done.rows = Math.max(0, done.rows - back)
  return back === 0 ? standing : allStanding(laid)
}

/** It has a tail that is still to be carried. */
function hasTail({ tail }: Piece): boolean {
  return tail !== null && tail.carried < tail.rows
}

async function allStanding({ ground, pieces }: Whole): Promise<Standing[][]> {
  const out: Standing[][] = []
  for (const piece of pieces) out.push(await standingOf(ground, piece))
  return out
}

/** Carries what waits for nothing: parents first, and what is deleted child first. */
async function carryReady(laid: Laid, left: readonly Left[], options: CarryingOptions): Promise<number> {
  const carrying = laid.pieces.map((piece, i) => ({ piece, ready: left[i]?.ready ?? new Map<number, Span>() }))
  let refused = left.some(l => l.refused > 0)
  let moved = 0
  for (const { piece, ready } of carrying) {
    for (const act of [UPDATE, INSERT]) {
      const span = ready.get(act)
      if (span === undefined) continue
      if (refused) await foresee(laid)
      const rows = await carryAll(laid, piece, act, span, options)
      moved += rows
      refused ||= rows < span.many
    }
    if (!hasTail(piece)) continue
    // Rows of it may refer to one of those.
    if (refused) throw new RowByRow()
    moved += await carryTail(laid, piece, options.batch, options.after)
  }
  for (const { piece, ready } of carrying.toReversed()) {
    const span = ready.get(DELETE)
    if (span === undefined) continue
    await markDeletes(laid, piece)
    moved += await carryAll(laid, piece, DELETE, span, options)
  }
  return moved
}

/** After some rows moved, others may: those that waited for a value, and those that a key refused. Returns how all stand now. */
async function lookAgain({ ground, pieces, bonds }: Whole): Promise<Standing[][]> {
  const out: Standing[][] = []
  for (const piece of pieces) {
    let standing = await standingOf(ground, piece)
    if (leftIn(standing).refused > 0) {
      const refused = `w.refused = 1 AND w.kind IN (${codeOf('unique')}, ${codeOf('foreign-key')})`
      await markWhere(ground, piece, { kind: 0, refused: 0 }, refused)
      standing = await standingOf(ground, piece)
    }
    if (leftIn(standing).waiting.size > 0) {
      await markWhere(ground, piece, { wait: 0, refused: 0 }, 'w.wait = 1')
      for (const unique of bonds[piece.table.ours]?.uniques ?? []) {
        const parts = uniqueParts(piece, unique)
        if (parts !== null) await mark(ground, piece, { wait: 1 }, `SELECT DISTINCT w.n AS n ${parts.blocked}`)
      }
      standing = await standingOf(ground, piece)
    }
    out.push(standing)
  }
  return out
}

async function exchangeAll(laid: Laid, after: (rows: number) => void): Promise<number> {
  let moved = 0
  for (const piece of laid.pieces) {
    if (!leftIn(await standingOf(laid.ground, piece)).waiting.has(UPDATE)) continue
    const rows = await exchange(laid, piece)
    moved += rows
    after(rows)
  }
  return moved
}

/** Nothing moves any more: what still waits is a conflict. */
async function giveUp({ ground, pieces }: Whole): Promise<void> {
  for (const piece of pieces) {
    const waiting = `${pending()} AND w.wait = 1`
    await markWhere(ground, piece, conflict('foreign-key'), `${waiting} AND w.refused > 0`)
    await markWhere(ground, piece, { ...conflict('unique'), refused: REFUSED.now }, waiting)
  }
}

/**
 * Where foreign keys were not looked at, a row may have come whose parent was refused after it. It goes again, and is a
 * conflict. Returns how many rows went. Throws `RowByRow` where it is one of a tail.
 */
async function takeBackOrphans(laid: Laid): Promise<number> {
  for (const piece of laid.pieces) {
    const { tail } = piece
    for (const reference of tail === null ? [] : (laid.bonds[piece.table.ours]?.references ?? [])) {
      const orphans = `SELECT 1 AS x ${tailOrphansSql(laid.ground, piece, reference)} LIMIT 1`
      if ((await laid.ground.merger.query(orphans)).length > 0) throw new RowByRow()
    }
  }
  let all = 0
  for (let found = 1; found > 0; all += found) {
    found = 0
    for (const piece of laid.pieces) {
      for (const reference of laid.bonds[piece.table.ours]?.references ?? []) {
        found += await takeBack(laid, piece, reference)
      }
    }
  }
  return all
}

const ORPHAN = `w.refused = ${REFUSED.orphan}`

async function takeBack(laid: Laid, piece: Piece, reference: Reference): Promise<number> {
  const { ground } = laid
  const orphans = orphansSql(ground, piece, reference)
  await mark(ground, piece, { refused: REFUSED.orphan }, `SELECT DISTINCT w.n AS n ${orphans}`)
  const found = await countRows(ground, piece, ORPHAN)
  if (found === 0) return 0
  if (laid.ranged.includes(piece)) await expandRanges(ground, piece)
  const { merger, dialect } = ground
  await merger.transaction(async () => {
    if (piece.keyed) await putBack(ground, piece)
    else await setTimes(ground, piece, { where: ORPHAN, times: BEFORE, there: null })
    const ids = `SELECT ${piece.ledgerKey()} FROM ${piece.work} AS w WHERE ${ORPHAN}`
    await merger.run(dialect.remove(merger.table('ours', LEDGER), [`o.${dialect.quote('key')}`], ids))
    const sets = { ...conflict('foreign-key'), done: 0, applied: 0, carried: 0, refused: REFUSED.now }
    await markWhere(ground, piece, sets, ORPHAN)
  })
  return found
}

/** Of equal rows: how many there were before any was carried. */
const BEFORE = 'CASE WHEN w.carried = 0 THEN w.here WHEN w.here > w.times THEN w.here - w.times ELSE 0 END'

/** FROM and WHERE of rows that were carried and refer to nothing. */
export function orphansSql(ground: Ground, piece: Piece, reference: Reference): string {
  const { merger, dialect } = ground
  const { columns, table, to } = reference
  if (!piece.keyed) return orphansCounted(ground, piece, reference)
  const cells = columns.map(name => piece.column('o', name))
  const fits = to.map((name, j) => `p.${dialect.quote(name)} = ${cells[j]}`).join(' AND ')
  const own = piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work'))
  return `FROM ${piece.work} AS w JOIN ${piece.image('ours')} AS o ON ${own}
    WHERE (w.applied = 1 OR w.carried = 1) AND w.act <> ${DELETE} AND ${cells.map(c => `${c} IS NOT NULL`).join(' AND ')}
    AND NOT EXISTS (SELECT 1 FROM ${merger.table('ours', table)} AS p WHERE ${fits})`
}

function orphansCounted({ merger, dialect }: Ground, piece: Piece, { columns, table, to }: Reference): string {
  const numbers = columns.map(name => piece.indexOf(name))
  // What has no place in theirs came as its default, and nobody said which row that refers to.
  if (numbers.some(i => i < 0)) return `FROM ${piece.work} AS w WHERE 1 = 0`
  const fits = to.map((name, j) => `p.${dialect.quote(name)} = ${piece.value(numbers[j] ?? -1)}`).join(' AND ')
  return `FROM ${piece.work} AS w WHERE (w.applied = 1 OR w.carried = 1) AND w.act = ${INSERT}
    AND ${numbers.map(i => `w.x${i} IS NOT NULL`).join(' AND ')}
    AND NOT EXISTS (SELECT 1 FROM ${merger.table('ours', table)} AS p WHERE ${fits})`
}

/** Rows that came go again, and cells that were written are again what they were at the release. */
async function putBack({ merger, dialect }: Ground, piece: Piece): Promise<void> {
  const sets = piece.table.columns.map((c, i) => {
    const value = `CASE WHEN ${piece.written(i)} THEN ${piece.column('b', c.base)} ELSE ${piece.column('o', c.ours)} END`
    return [dialect.quote(c.ours), value] as const
  })
  const base = `${piece.work} AS w JOIN ${piece.image('base')} AS b ON ${piece.same(piece.keyOf('b', 'base'), piece.keyOf('w', 'work'))}`
  const own = piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work'))
  await merger.run(
    dialect.update(piece.image('ours'), piece.sets(sets), base, `${own} AND ${ORPHAN} AND w.act = ${UPDATE}`),
  )
  const keys = `SELECT ${piece.keyOf('w', 'work').join(', ')} FROM ${piece.work} AS w WHERE ${ORPHAN} AND w.act = ${INSERT}`
  await merger.run(dialect.remove(piece.image('ours'), piece.keyOf('o', 'ours'), keys))
}
