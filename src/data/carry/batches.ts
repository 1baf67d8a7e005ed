import { conflict, markWhere, type Whole } from './checks.ts'
import { Moved } from './errors.ts'
import { CARRIED_WHOLE, writeLedger } from './ledger.ts'
import { type Ground, type Piece, pending } from './piece.ts'
import { insertSql, putTimes, setTimes } from './put.ts'
import type { Span } from './standing.ts'
import { DELETE, INSERT, TAKE, UPDATE } from './words.ts'

/** Rows of a work table that one statement handles. */
export const BATCH = 50_000

/** What a savepoint gave back, to be thrown on. */
export function thrown(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

/** Part of the rows of one piece that are to be carried in one way: `from < n <= to`. */
interface Part {
  readonly act: number
  readonly from: number
  readonly to: number
}

export interface CarryingOptions {
  /** Of the plan. */
  readonly hash: string
  readonly batch: number
  readonly after: (rows: number) => void
}

/** Carries every row of a piece that waits for this and that nothing is in the way of. Returns how many were carried. */
export async function carryAll(
  { ground }: Whole,
  piece: Piece,
  act: number,
  { low, high }: Span,
  options: CarryingOptions,
): Promise<number> {
  const columns = act === UPDATE ? await writtenColumns(ground, piece) : []
  let carried = 0
  for (let from = low - 1; from < high; from += options.batch) {
    const part = { act, from, to: Math.min(from + options.batch, high) }
    const rows = await ground.merger.transaction(() => carry(ground, piece, part, columns, options.hash))
    carried += rows
    options.after(rows)
  }
  return carried
}

function ready({ act, from, to }: Part): string {
  return `${pending()} AND w.wait = 0 AND w.act = ${act} AND w.n > ${from} AND w.n <= ${to}`
}

/** Halves what the database refuses until the rows that it refuses are found; those become conflicts. */
async function carry(ground: Ground, piece: Piece, part: Part, columns: number[], hash: string): Promise<number> {
  // Its rows became conflicts since they were counted, or it is a half that has none.
  if (part.act === UPDATE && columns.length === 0) return 0
  let wrote: Wrote = { lines: 0, rows: 0 }
  const error = await ground.merger.savepoint(async () => {
    wrote = await write(ground, piece, part, columns)
  })
  if (error === null) return noted(ground, piece, part, wrote, hash)
  const kind = ground.merger.refusal(error)
  if (kind === null) throw thrown(error)
  if ((await count(ground, piece, ready(part))) === 1) {
    // What it refers to may be refused in turn because of it: it waits, and is tried again.
    const waits = kind === 'foreign-key' && !ground.merger.quiet
    const sets = waits ? { wait: 1, refused: 1 } : { ...conflict(kind), refused: 1 }
    await markWhere(ground, piece, sets, ready(part))
    return 0
  }
  const middle = Math.floor((part.from + part.to) / 2)
  let rows = 0
  for (const half of [
    { ...part, to: middle },
    { ...part, from: middle },
  ]) {
    // A column that refuses to be set at all is only named where one of these rows sets it.
    const named = columns.length === 0 ? columns : await writtenColumns(ground, piece, ready(half))
    rows += await carry(ground, piece, half, named, hash)
  }
  return rows
}

/** Lines of the work table, and how many rows of ours they stand for. */
interface Wrote {
  readonly lines: number
  readonly rows: number
}

/** Writes down what was carried. Throws `Moved` where that is not every row of the part. */
async function noted(ground: Ground, piece: Piece, part: Part, { lines, rows }: Wrote, hash: string): Promise<number> {
  if (lines > 0) await writeLedger(ground, piece, hash, `${ready(part)} AND ${CARRIED_WHOLE}`)
  const marked = await markWhere(ground, piece, { done: 1, applied: 1 }, ready(part))
  if (lines === marked) return rows
  throw new Moved(`${piece.table.ours}: ${lines} rows of ${marked} were as they had been`)
}

async function write(ground: Ground, piece: Piece, part: Part, columns: number[]): Promise<Wrote> {
  if (!piece.keyed) return counted(ground, piece, part)
  const where = ready(part)
  const sql = {
    [INSERT]: () => insertSql(ground, piece, where),
    [UPDATE]: () => updateSql(ground, piece, where, columns),
    [DELETE]: () => deleteSql(ground, piece, where),
  }[part.act]
  const rows = await ground.merger.run(sql?.() ?? '')
  return { lines: rows, rows }
}

/** Only cells that are to be written change, and only where ours is as it was at the release or a person said so. */
function updateSql({ dialect }: Ground, piece: Piece, where: string, columns: readonly number[]): string {
  const named = columns.map(i => ({ i, name: piece.table.columns[i]?.ours ?? '' }))
  const sets = named.map(({ i, name }) => {
    const value = `CASE WHEN ${piece.written(i)} THEN ${piece.value(i)} ELSE ${piece.column('o', name)} END`
    return [dialect.quote(name), value] as const
  })
  const base = `LEFT JOIN ${piece.image('base')} AS b ON ${piece.same(piece.keyOf('b', 'base'), piece.keyOf('w', 'work'))}`
  const on = [
    piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work')),
    where,
    ...asBefore({ dialect } as Ground, piece, columns),
  ]
  return dialect.update(piece.image('ours'), piece.sets(sets), `${piece.from()} ${base}`, on.join(' AND '))
}

function asBefore({ dialect }: Pick<Ground, 'dialect'>, piece: Piece, columns: readonly number[]): string[] {
  return columns.map(i => {
    const { ours: name = '', type } = piece.table.columns[i] ?? {}
    const same = `NOT ${dialect.differs(piece.column('o', name), piece.column('b', name), type)}`
    return `(substr(w.mask, ${i + 1}, 1) <> 'w' OR ${same})`
  })
}

function deleteSql({ dialect }: Ground, piece: Piece, where: string): string {
  const keys = piece.keyOf('w', 'work')
  const differs = piece.table.columns.map(c =>
    dialect.differs(piece.column('q', c.ours), piece.column('b', c.base), c.type),
  )
  const rows = `SELECT DISTINCT ${keys.join(', ')} FROM ${piece.work} AS w
    JOIN ${piece.image('ours')} AS q ON ${piece.same(piece.keyOf('q', 'ours'), keys)}
    LEFT JOIN ${piece.image('base')} AS b ON ${piece.same(piece.keyOf('b', 'base'), keys)}
    WHERE ${where} AND (w.take > ${TAKE.ours} OR NOT (${differs.join(' OR ')}))`
  return dialect.remove(piece.image('ours'), piece.keyOf('o', 'ours'), rows)
}

/** Equal rows: as many come as are to; of what goes all do, and those that stay come again. */
async function counted(ground: Ground, piece: Piece, part: Part): Promise<Wrote> {
  const where = ready(part)
  const [row] = await ground.merger.query(
    `SELECT count(*) AS n, coalesce(sum(w.times), 0) AS times, sum(w.here) AS here FROM ${piece.work} AS w WHERE ${where}`,
  )
  if (part.act === DELETE) await setTimes(ground, piece, { where, times: 'w.target', there: Number(row?.['here']) })
  else await putTimes(ground, piece, where, 'w.times')
  return { lines: Number(row?.['n']), rows: Number(row?.['times']) }
}

/** Numbers of the columns in which any of these rows is to be written; left out: of all that wait. */
export async function writtenColumns(
  { merger }: Ground,
  piece: Piece,
  where = `${pending()} AND w.act = ${UPDATE}`,
): Promise<number[]> {
  const out: number[] = []
  const all = piece.table.columns.map((_, i) => i)
  for (let at = 0; at < all.length; at += 500) {
    const part = all.slice(at, at + 500)
    const marks = part.map(i => `max(CASE WHEN ${piece.written(i)} THEN 1 ELSE 0 END) AS c${i}`)
    const [row] = await merger.query(`SELECT ${marks.join(', ')} FROM ${piece.work} AS w WHERE ${where}`)
    out.push(...part.filter(i => Number(row?.[`c${i}`]) === 1))
  }
  return out
}

export async function count({ merger }: Ground, piece: Piece, where: string): Promise<number> {
  const [row] = await merger.query(`SELECT count(*) AS n FROM ${piece.work} AS w WHERE ${where}`)
  return Number(row?.['n'])
}

/** How many rows that is: a line of equal ones stands for several. */
export async function countRows({ merger }: Ground, piece: Piece, where: string): Promise<number> {
  const [row] = await merger.query(`SELECT ${piece.weight} AS n FROM ${piece.work} AS w WHERE ${where}`)
  return Number(row?.['n'])
}
