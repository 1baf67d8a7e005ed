import { thrown } from './batches.ts'
import { type Ground, stampsOf } from './piece.ts'
import { cellsOf } from './replay-cells.ts'
import { LINE, type Lines, TO_PUT } from './replay-lines.ts'
import type { Strangers } from './strangers.ts'

/** Lines by number: `from <= n < to`. */
export interface Range {
  readonly from: number
  readonly to: number
}

const inRange = ({ from, to }: Range) => `w.n >= ${from} AND w.n < ${to}`

/** Marks lines whose place holds something else, or is not there. */
export async function markTaken(strangers: Strangers, lines: Lines, range: Range): Promise<void> {
  const among = `${inRange(range)} AND w.state = ${LINE.waits}`
  if (lines.keys.length === 0) return
  const there = `${lines.work} AS w JOIN ${lines.ours} AS o ON ${lines.onKey} WHERE ${among}`
  if (lines.kept.what === 'rows') {
    await lines.mark(LINE.left, `SELECT w.n AS n FROM ${there} AND ${lines.other}`)
    return
  }
  const gone = `SELECT w.n AS n FROM ${lines.work} AS w WHERE ${among}
    AND NOT EXISTS (SELECT 1 FROM ${lines.ours} AS o WHERE ${lines.onKey})`
  await lines.mark(LINE.gone, gone)
  for (const [state, certain] of [
    [LINE.left, true],
    [LINE.another, false],
  ] as const) {
    const own = strangers.none('o', lines.kept.table, lines.keys, certain)
    await lines.mark(state, `SELECT w.n AS n FROM ${there} AND NOT ${own}`)
  }
}

/** Puts lines of a range back, in a transaction; what the database refuses of them is marked. Returns how many rows it wrote. */
export async function write(ground: Ground, lines: Lines, range: Range): Promise<number> {
  const { merger } = ground
  if (lines.kept.what === 'cells') await markParts(ground, lines, range)
  let back = 0
  const put = async (where: string) => {
    back = await (lines.kept.what === 'rows' ? writeRows(ground, lines, where) : writeCells(ground, lines, where))
  }
  const refused = await merger.savepoint(() => put(`${inRange(range)} AND ${TO_PUT}`))
  if (refused !== null) back = await oneByOne(ground, lines, range, put, () => back)
  await lines.note(`${inRange(range)} AND w.state = ${LINE.waits}`)
  return back
}

async function oneByOne(
  { merger }: Ground,
  lines: Lines,
  range: Range,
  put: (where: string) => Promise<void>,
  written: () => number,
): Promise<number> {
  const open = await merger.query(`SELECT w.n AS n FROM ${lines.work} AS w WHERE ${inRange(range)} AND ${TO_PUT}`)
  let back = 0
  for (const { n } of open) {
    const where = `w.n = ${Number(n)}`
    const refused = await merger.savepoint(() => put(where))
    if (refused !== null && merger.refusal(refused) === null) throw thrown(refused)
    if (refused === null) back += written()
    else await lines.mark(LINE.refused, `SELECT w.n AS n FROM ${lines.work} AS w WHERE ${where}`)
  }
  return back
}

async function writeRows({ merger, dialect }: Ground, lines: Lines, where: string): Promise<number> {
  const { written: columns, keys, ours, work } = lines
  const values = columns.map(c => lines.valueOf(c))
  const free = keys.length === 0 ? '' : ` AND NOT EXISTS (SELECT 1 FROM ${ours} AS o WHERE ${lines.onKey})`
  const changed = lines.seeds === null || keys.length === 0 ? 0 : await writeOver({ merger, dialect }, lines, where)
  const came =
    await merger.run(`INSERT INTO ${ours} (${columns.map(c => dialect.quote(c)).join(', ')}) ${dialect.overriding}
    SELECT ${values.join(', ')} FROM ${work} AS w WHERE ${where}${free}`)
  return changed + came
}

/** What users made of a row that the migration had put there, where it has put it there again and nobody wrote to it since. */
function writeOver({ merger, dialect }: Pick<Ground, 'merger' | 'dialect'>, lines: Lines, where: string) {
  const sets = lines.written.flatMap(c => {
    const value = lines.keys.includes(c) ? null : lines.valueOf(c)
    return value === null ? [] : [[dialect.quote(c), value] as const]
  })
  if (sets.length === 0) return 0
  const on = `${lines.onKey} AND ${where} AND ${lines.unlike} AND NOT ${lines.other}`
  return merger.run(dialect.update(lines.ours, withStamps(dialect, lines, sets), `${lines.work} AS w`, on))
}

function withStamps(dialect: Ground['dialect'], lines: Lines, sets: readonly (readonly [string, string])[]) {
  const { columns } = lines.kept.shape
  const stamps = Object.keys(columns).filter(c => dialect.stamped?.(columns[c]?.type ?? ''))
  return [...sets, ...stampsOf(dialect, stamps, sets)]
}

async function markParts(ground: Ground, lines: Lines, range: Range): Promise<void> {
  const cells = cellsOf(ground, lines)
  const waits = `${inRange(range)} AND w.state = ${LINE.waits}`
  const odd = cells.map(c => c.odd).filter(sql => sql !== '1 = 0')
  if (!lines.told) {
    // What is odd in a cell that nobody wrote to keeps nothing back.
    await lines.setOdd(
      0,
      `SELECT w.n AS n FROM ${lines.work} AS w WHERE ${waits} AND w.odd = 1 AND NOT ${lines.oddKey}`,
    )
    if (odd.length > 0) await lines.setOdd(1, `SELECT w.n AS n FROM ${lines.some(waits)} WHERE ${odd.join(' OR ')}`)
  }
  const taken = cells.map(c => c.taken)
  await lines.mark(
    lines.told ? LINE.left : LINE.part,
    `SELECT w.n AS n FROM ${lines.some(waits)} JOIN ${lines.ours} AS o
     ON ${lines.onKey} WHERE ${['w.odd = 1', ...taken].join(' OR ')}`,
  )
}

function writeCells(ground: Ground, lines: Lines, where: string): Promise<number> {
  const { merger, dialect } = ground
  const cells = cellsOf(ground, lines)
  if (cells.length === 0) return Promise.resolve(0)
  const sets = cells.map(c => [c.column, c.value] as const)
  const on = `${lines.onKey} AND (${cells.map(c => c.free).join(' OR ')})`
  return merger.run(dialect.update(lines.ours, withStamps(dialect, lines, sets), lines.some(where), on))
}
