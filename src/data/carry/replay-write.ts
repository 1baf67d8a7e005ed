import { thrown } from './batches.ts'
import { type Ground, literal, stampsOf } from './piece.ts'
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
    await lines.mark(LINE.left, `SELECT w.n AS n FROM ${there} AND ${lines.unlike}`)
    return
  }
  const gone = `SELECT w.n AS n FROM ${lines.work} AS w WHERE ${among}
    AND NOT EXISTS (SELECT 1 FROM ${lines.ours} AS o WHERE ${lines.onKey})`
  await lines.mark(LINE.gone, gone)
  const own = strangers.none('o', lines.kept.table, lines.keys)
  await lines.mark(LINE.left, `SELECT w.n AS n FROM ${there} AND NOT (${own})`)
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

function writeRows({ merger, dialect }: Ground, lines: Lines, where: string): Promise<number> {
  const { columns, keys, ours, work } = lines
  const values = columns.map(c => lines.valueOf(c))
  const free = keys.length === 0 ? '' : ` AND NOT EXISTS (SELECT 1 FROM ${ours} AS o WHERE ${lines.onKey})`
  return merger.run(`INSERT INTO ${ours} (${columns.map(c => dialect.quote(c)).join(', ')}) ${dialect.overriding}
    SELECT ${values.join(', ')} FROM ${work} AS w WHERE ${where}${free}`)
}

/** A cell that nobody wrote to holds its default, or what the migration puts there; only such a one takes what was archived. */
function cellsOf({ dialect }: Ground, lines: Lines) {
  return lines.columns.map((c, i) => {
    const type = lines.typeOf(c)
    const [cell, value] = [`o.${dialect.quote(c)}`, dialect.value(`w.v${i}`, type)]
    const fixed = dialect.fixedDefault(lines.kept.shape.columns[c]?.default ?? null, type)
    const filled = lines.filledOf(c)
    if (lines.told) return toldCell(dialect, { cell, value, type, column: dialect.quote(c), then: filled?.then })
    const empty = fixed === null ? `${cell} IS NULL` : `NOT ${dialect.differs(cell, fixed)}`
    const as =
      filled === null
        ? ''
        : ` OR (${filled.always} IS NOT NULL AND NOT ${dialect.differs(cell, dialect.value(filled.always, type))})`
    const untouched = lines.over(c) ? '(1 = 1)' : `(${empty}${as})`
    // What the migration had put there is nothing that users wrote.
    const unlike = (then: string) => `(${then} IS NULL OR ${dialect.differs(`w.v${i}`, then)})`
    // Only what holds something of its own was archived for its own sake; of an odd line NULL is what does not fit.
    const [some, was] = [`w.v${i} IS NOT NULL`, lines.kept.defaults[c] ?? null]
    const archived = was === null ? some : `((w.odd = 0 OR ${some}) AND ${dialect.differs(`w.v${i}`, literal(was))})`
    const said = filled === null ? archived : `(${archived} AND ${unlike(filled.then)})`
    // A row that came since may have gone on from what the migration puts into every row.
    const kept = filled === null ? '1 = 1' : unlike(filled.always)
    return {
      column: dialect.quote(c),
      value: `CASE WHEN ${said} AND ${untouched} THEN ${value} ELSE ${cell} END`,
      free: `(${said} AND ${untouched})`,
      taken: `(${said} AND ${kept} AND NOT ${untouched} AND ${dialect.differs(cell, value)})`,
    }
  })
}

interface Told {
  readonly cell: string
  readonly value: string
  readonly type: string
  readonly column: string
  readonly then: string | undefined
}

/** By a person's word, over what it held when it was listed, and over nothing else. */
function toldCell(dialect: Ground['dialect'], { cell, value, type, column, then }: Told) {
  const same = then === undefined ? '1 = 0' : `NOT ${dialect.differs(dialect.text(cell, type), then)}`
  const other = dialect.differs(cell, value)
  return {
    column,
    value: `CASE WHEN ${same} THEN ${value} ELSE ${cell} END`,
    free: `(${same} AND ${other})`,
    taken: `(NOT (${same}) AND ${other})`,
  }
}

async function markParts(ground: Ground, lines: Lines, range: Range): Promise<void> {
  const taken = cellsOf(ground, lines).map(c => c.taken)
  await lines.mark(
    lines.told ? LINE.left : LINE.part,
    `SELECT w.n AS n FROM ${lines.some(`${inRange(range)} AND w.state = ${LINE.waits}`)} JOIN ${lines.ours} AS o
     ON ${lines.onKey} WHERE ${['w.odd = 1', ...taken].join(' OR ')}`,
  )
}

function writeCells(ground: Ground, lines: Lines, where: string): Promise<number> {
  const { merger, dialect } = ground
  const cells = cellsOf(ground, lines)
  const { columns } = lines.kept.shape
  const sets = cells.map(c => [c.column, c.value] as const)
  const stamps = Object.keys(columns).filter(c => dialect.stamped?.(columns[c]?.type ?? ''))
  const on = `${lines.onKey} AND (${cells.map(c => c.free).join(' OR ')})`
  return merger.run(dialect.update(lines.ours, [...sets, ...stampsOf(dialect, stamps, sets)], lines.some(where), on))
}
