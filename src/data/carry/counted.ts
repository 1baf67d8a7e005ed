import { type Cell, cellsOf, STATE } from './cells.ts'
import type { Ground, Piece } from './piece.ts'
import { codeOf, DELETE, INSERT } from './words.ts'

/**
 * A table without a key: equal rows are counted on every side. One line of the work table stands for `times` of them: of a
 * row that theirs has `delta` times more or less often than before, ours is to have as many more or less (`target`) than it
 * has (`here`), whatever came in ours meanwhile; that it was done is for the ledger to tell. What went is taken away only
 * where ours is as at the release, else nobody can tell whether both mean the same. Nothing tells a row that was rewritten:
 * one whose number changed while migrating is ambiguous.
 */
export function countedSelect(ground: Ground, piece: Piece): string {
  const { columns, migrated, needed, gone } = piece.table
  const m = ground.migrated && migrated !== null
  const texts = columns.map((_, i) => `x${i}`)
  const before = m && ground.ownWork ? 'migrated' : 'base'
  const delta = `(theirs - ${before})`
  const comes = `${delta} > 0`
  const target = `CASE WHEN here + ${delta} < 0 THEN 0 ELSE here + ${delta} END`
  const done = `(${delta} < 0 AND here = 0)`
  const times = `CASE WHEN ${delta} < 0 AND here > 0 AND here + ${delta} < 0 THEN here ELSE abs(${delta}) END`
  const empty = columns.flatMap((c, i) => (c.required ? [`x${i} IS NULL`] : [])).join(' OR ') || '1 = 0'
  const unsure = piece.table.unsure !== undefined || columns.some(c => c.unsure === true) ? '1 = 1' : null
  const moved = m && !ground.ownWork ? 'migrated <> base' : unsure
  const ambiguous = moved === null ? '' : `WHEN ${moved} THEN ${codeOf('ambiguous')}`
  const mask = `CASE WHEN NOT (${comes}) THEN '' WHEN misfit = 1 THEN 'm' WHEN ${empty} THEN 'n' ELSE '' END`
  // Of some that stay, what they hold in columns that theirs has no more would be lost: all of them go, and some come back.
  const apart = gone.length > 0 ? `WHEN here + ${delta} > 0 THEN ${codeOf('column-gone')}` : ''
  const goes = `CASE WHEN here <> base THEN ${codeOf('changed')} WHEN here + ${delta} < 0 THEN ${codeOf('row-missing')} ${apart} ELSE 0 END`
  const unknown = piece.forgotten ? `WHEN here <> base THEN ${codeOf('changed')}` : ''
  const kind = `CASE WHEN ${done} THEN 0 ${ambiguous} WHEN NOT (${comes}) THEN ${goes} ${unknown}
    WHEN misfit = 1 THEN ${codeOf('type')} WHEN ${empty} THEN ${codeOf('not-null')}
    WHEN ${needed.length} > 0 THEN ${codeOf('column-gone')} ELSE 0 END`
  return `SELECT id, ${texts.join(', ')}, CASE WHEN ${comes} THEN ${INSERT} ELSE ${DELETE} END AS act,
    CASE WHEN here > 0 THEN 1 ELSE 0 END AS op, ${mask} AS mask, ${delta} AS delta, ${times} AS times, ${target} AS target, here,
    ${kind} AS kind, 0 AS cell, CASE WHEN ${done} THEN 1 ELSE 0 END AS done, ${STATE}
    FROM (${countedRows(ground, piece)}) AS d WHERE theirs <> ${before} AND theirs <> base`
}

/** Every row with how often each side has it. */
export function countedRows(ground: Ground, piece: Piece): string {
  const { dialect } = ground
  const { columns, migrated } = piece.table
  const m = ground.migrated && migrated !== null
  const cells = cellsOf(ground, piece)
  const texts = columns.map((_, i) => `x${i}`)
  const side = (
    image: 'theirs' | 'base' | 'ours' | 'migrated',
    of: (cell: Cell) => { text: string; misfit: string },
  ) => {
    const made = cells.map(of)
    const marks = (['theirs', 'base', 'migrated', 'ours'] as const).map(
      (side, i) => `${side === image ? 1 : 0} AS c${i}`,
    )
    const misfit = made.map(x => x.misfit).filter(x => x !== '')
    const list = [
      ...made.map((x, i) => `${x.text} AS x${i}`),
      ...marks,
      `CASE WHEN ${misfit.join(' OR ') || '1 = 0'} THEN 1 ELSE 0 END AS misfit`,
    ]
    return `SELECT ${list.join(', ')} FROM ${piece.image(image)} AS ${image.slice(0, 1)}`
  }
  const newer = (alias: 't' | 'm') => (cell: Cell) => {
    const [name, type] =
      alias === 't'
        ? [cell.column.theirs, cell.column.theirType]
        : [cell.column.migrated ?? '', cell.column.migratedType ?? '']
    const raw = piece.column(alias, name)
    const { value, fits } = piece.converted(cell.column, raw, type)
    const text = dialect.text(value, cell.column.type)
    if (fits === null) return { text, misfit: '' }
    return { text: `CASE WHEN ${fits} THEN ${text} ELSE ${dialect.text(raw, type)} END`, misfit: `NOT (${fits})` }
  }
  const older = (alias: string) => (cell: Cell) => ({
    text: dialect.text(piece.column(alias, cell.column.ours), cell.column.type),
    misfit: '',
  })
  const sides = [
    side('theirs', newer('t')),
    side('base', older('b')),
    side('ours', older('o')),
    ...(m ? [side('migrated', newer('m'))] : []),
  ]
  return `SELECT ${dialect.key(texts)} AS id, ${texts.map(x => `min(${x}) AS ${x}`).join(', ')},
    sum(c0) AS theirs, sum(c1) AS base, sum(c2) AS migrated, sum(c3) AS here, max(misfit) AS misfit
    FROM (${sides.join(' UNION ALL ')}) AS every GROUP BY ${dialect.key(texts)}`
}
