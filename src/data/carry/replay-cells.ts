import type { Ground } from './piece.ts'
import type { Lines } from './replay-lines.ts'

/** One column of lines of cells, beside the row `o` that they belong to. Conditions and values are SQL. */
export interface Cell {
  readonly column: string
  /** What it is set to. */
  readonly value: string
  /** Users wrote it, the column takes it, and no later run has written it. Asked without `o`. */
  readonly comes: string
  /** It takes another value by that. */
  readonly free: string
  /** Something else is in its place, which stays. */
  readonly taken: string
  /** Users wrote it, and the column does not take it. Asked without `o`. */
  readonly odd: string
}

export function cellsOf(ground: Ground, lines: Lines): Cell[] {
  return lines.written.map(c => cellOf(ground, lines, c))
}

/** A cell that nobody wrote to holds its default, or what the migration puts there; only such a one takes what was archived. */
function cellOf({ dialect }: Ground, lines: Lines, c: string): Cell {
  const [type, column] = [lines.typeOf(c), dialect.quote(c)]
  const [cell, text] = [`o.${column}`, `w.v${lines.columns.indexOf(c)}`]
  const value = dialect.value(text, type)
  const filled = lines.filledOf(c)
  if (lines.told) return toldCell(dialect, { cell, value, type, column, then: filled?.then })
  const unlike = (then: string) => `(${then} IS NULL OR ${dialect.differs(text, then)})`
  const other = dialect.differs(cell, value)
  const said = [saidIn(dialect, lines, c), ...lines.laterHas(c).map(later => `NOT ${later}`)].join(' AND ')
  const misfit = lines.misfit(c)
  const comes = `${said} AND NOT ${misfit}`
  const untouched = lines.over(c) ? '(1 = 1)' : untouchedIn(dialect, lines, c, cell)
  // A row that came since may have gone on from what the migration puts into every row.
  const kept = filled === null ? '1 = 1' : unlike(filled.always)
  const free = `(${comes} AND ${untouched} AND ${other})`
  return {
    column,
    value: `CASE WHEN ${free} THEN ${value} ELSE ${cell} END`,
    comes: `(${comes})`,
    free,
    taken: `(${comes} AND ${kept} AND NOT ${untouched} AND ${other})`,
    odd: misfit === '1 = 0' ? misfit : `(${said} AND ${misfit})`,
  }
}

/**
 * Users wrote it: it is unlike what the migration had left in the row, or, of a row that came since or in which that was
 * nothing, unlike the default.
 */
function saidIn(dialect: Ground['dialect'], lines: Lines, c: string): string {
  const own = lines.unlikeDefault(c)
  const filled = lines.filledOf(c)
  if (filled === null) return `(${own})`
  const unlike = dialect.differs(lines.keptOf(c).cell, filled.kept)
  return `((w.fn IS NULL AND ${own}) OR (w.fn IS NOT NULL AND ${unlike}))`
}

function untouchedIn(dialect: Ground['dialect'], lines: Lines, c: string, cell: string): string {
  const type = lines.typeOf(c)
  const fixed = dialect.fixedDefault(lines.kept.shape.columns[c]?.default ?? null, type)
  const empty = fixed === null ? `${cell} IS NULL` : `NOT ${dialect.differs(cell, fixed)}`
  const filled = lines.filledOf(c)
  if (filled === null) return `(${empty})`
  const always = dialect.value(filled.always, type)
  return `(${empty} OR (${filled.always} IS NOT NULL AND NOT ${dialect.differs(cell, always)}))`
}

interface Told {
  readonly cell: string
  readonly value: string
  readonly type: string
  readonly column: string
  readonly then: string | undefined
}

/** By a person's word, over what it held when it was listed, and over nothing else. */
function toldCell(dialect: Ground['dialect'], { cell, value, type, column, then }: Told): Cell {
  const same = then === undefined ? '1 = 0' : `NOT ${dialect.differs(dialect.text(cell, type), then)}`
  const other = dialect.differs(cell, value)
  return {
    column,
    value: `CASE WHEN ${same} THEN ${value} ELSE ${cell} END`,
    comes: '(1 = 1)',
    free: `(${same} AND ${other})`,
    taken: `(NOT (${same}) AND ${other})`,
    odd: 'w.odd = 1',
  }
}
