import { type Cell, cellsOf, isTelling, STATE, unlikeBase } from './cells.ts'
import { countedSelect } from './counted.ts'
import { type Ground, joined, type Piece } from './piece.ts'
import type { Since } from './since.ts'
import { codeOf, DELETE, INSERT, type Mode, UPDATE } from './words.ts'

/** Makes the work table of one piece: every row that users changed in theirs, and what became of it in ours. */
export async function classify(ground: Ground, piece: Piece, since: Since, name: string, mode: Mode): Promise<void> {
  if (piece.keyed && !since.changed && !since.gone) {
    piece.work = await ground.merger.work(name, noRow(piece), [], piece.workKey)
    piece.empty = true
    return
  }
  const select = piece.keyed ? keyedSelect(ground, piece, mode, since) : countedSelect(ground, piece)
  piece.work = await ground.merger.work(name, select, [['n'], piece.workKey], piece.workKey)
  const equal = piece.keyed ? '' : ', sum(abs(delta)) AS total'
  const [row] = await ground.merger.query(`SELECT max(n) AS n${equal} FROM ${piece.work}`)
  piece.changed = Number(row?.['n'] ?? 0)
  piece.total = piece.keyed ? piece.changed : Number(row?.['total'] ?? 0)
  piece.empty = piece.changed === 0
}

/** The columns of a work table of a piece with a key. */
function noRow(piece: Piece): string {
  const keys = piece.keyOf('o', 'ours').map((k, i) => `${k} AS k${i}`)
  return `SELECT ${keys.join(', ')}, 0 AS act, 0 AS op, '' AS mask, 0 AS kind, 0 AS cell, 0 AS done, ${STATE}
    FROM ${piece.image('ours')} AS o WHERE 1 = 0`
}

/** A user changed the cell: it is not what the migration left. */
function edited(ground: Ground, piece: Piece, cell: Cell): string {
  if (cell.migrated === null) return unlikeBase(ground, piece, cell, cell.theirs, cell.column.theirType)
  const { theirType, migratedType } = cell.column
  if (migratedType === theirType) return ground.dialect.differs(cell.theirs, cell.migrated, theirType)
  return ground.dialect.differs(
    ground.dialect.text(cell.theirs, theirType),
    ground.dialect.text(cell.migrated, migratedType ?? theirType),
  )
}

/** Ours has what theirs has, where that fits at all. */
function equalCells({ dialect }: Ground, { column, ours, value }: Cell): string {
  return `NOT ${dialect.differs(ours, value, column.type === column.theirType ? column.type : undefined)}`
}

/** The migration wrote the cell anew. */
function rewritten(ground: Ground, piece: Piece, cell: Cell): string | null {
  if (cell.migrated === null) return null
  return unlikeBase(ground, piece, cell, cell.migrated, cell.column.migratedType ?? cell.column.theirType)
}

/**
 * One letter for one cell: `.` as it was, `d` done already, `w` to be written, `m` does not fit the old type, `r` rewritten
 * by the migration and then changed, `c` changed in ours too, `n` NULL where ours takes none, `a` ambiguous, `x` ambiguous
 * and nothing that ours takes. A person's word makes `t` of it (theirs is written over what ours has) or `o` (ours stays).
 */
function letter(ground: Ground, piece: Piece, cell: Cell, whole: string): string {
  const { dialect } = ground
  const fits = cell.fits ?? '1 = 1'
  const there = `${piece.keyOf('o', 'ours')[0]} IS NOT NULL`
  const { type } = cell.column
  const equal = equalCells(ground, cell)
  const noNull = cell.column.required ? `WHEN ${cell.value} IS NULL THEN 'n'` : ''
  const anew = rewritten(ground, piece, cell)
  const misfit = `NOT (${fits})${cell.column.required ? ` OR ${cell.value} IS NULL` : ''}`
  const asWhole = `CASE WHEN NOT (${fits}) THEN 'm' WHEN ${there} AND ${equal} THEN 'd' ${noNull} WHEN ${there} THEN 'c' ELSE 'w' END`
  if (cell.column.unsure === true) {
    const sides = `WHEN ${misfit} THEN 'x' WHEN ${equal} THEN 'd'`
    const changed = `CASE WHEN NOT ${edited(ground, piece, cell)} THEN '.' ${sides} ELSE 'a' END`
    return `CASE WHEN NOT (${there}) OR ${whole} THEN ${asWhole} ELSE ${changed} END`
  }
  const before = anew === null ? '' : `WHEN NOT ${anew} THEN '.' WHEN ${misfit} THEN 'x' WHEN ${equal} THEN 'd'`
  const kept = anew === null || ground.ownWork ? `'.'` : `CASE ${before} ELSE 'a' END`
  return `CASE WHEN NOT (${there}) OR ${whole} THEN ${asWhole} ELSE CASE
    WHEN NOT ${edited(ground, piece, cell)} THEN ${kept}
    WHEN (${fits}) AND ${equal} THEN 'd'
    WHEN NOT (${fits}) THEN 'm'
    ${anew === null ? '' : `WHEN ${anew} THEN 'r'`}
    WHEN ${dialect.differs(cell.ours, cell.base, type)} THEN 'c'
    ${noNull} ELSE 'w' END END`
}

/** The letters of a row; of a new one that has only to be written, or is there already, none is worked out by itself. */
function maskOf(ground: Ground, piece: Piece, cells: readonly Cell[], whole: string): string {
  const { dialect } = ground
  const each = cells.map(cell => letter(ground, piece, cell, whole))
  const letters = joined(dialect, each)
  // Not for more columns than an expression may have.
  if (cells.length > 200 || cells.some(({ column: { type, theirType } }) => type !== theirType)) return letters
  const key = piece.keyOf('o', 'ours')[0]
  const filled = cells.flatMap(({ column, value }) => (column.required ? [`${value} IS NOT NULL`] : []))
  const equal = cells.map(({ column, ours, value }) => `NOT ${dialect.differs(ours, value, column.type)}`)
  return `CASE WHEN ${[`${key} IS NULL`, ...filled].join(' AND ')} THEN '${'w'.repeat(cells.length)}'
    WHEN ${[`${key} IS NOT NULL`, whole, ...equal].join(' AND ')} THEN '${'d'.repeat(cells.length)}' ELSE ${letters} END`
}

function keyedSelect(ground: Ground, piece: Piece, mode: Mode, { changed, gone }: Since): string {
  const keys = piece.workKey.join(', ')
  const rows = once(ground, bothKinds(changes(ground, piece, some(changed)), deletes(ground, piece, some(gone))))
  return `SELECT ${keys}, act, op, mask,
    ${kindSql(piece, mode)} AS kind, ${CELL} AS cell, ${doneSql(piece)} AS done, ${STATE} FROM (${rows}) AS d`
}

/** What the work table says of a row: `known` by its number, `said` to be done. */
const SAID = { n: 'known', done: 'said', held: 'held', kind: 'kind', cell: 'cell', carried: 'carried', take: 'take' }

const saidOf = (w: string) => Object.entries(SAID).map(([column, name]) => `${w}.${column} AS ${name}`)

/**
 * What becomes of the rows of the work table when they are compared again, from the images, as `mask` and `done`, with what is
 * said of them (`SAID`): those that are still found to have been changed. Of a piece with a key. `but`: a condition,
 * never NULL, on the rows `w` of the work table, `t` of theirs and `o` of ours that are left out.
 */
export function recheck(ground: Ground, piece: Piece, but: string): string {
  const among = { again: true, where: `NOT (${but})` }
  const rows = bothKinds(changes(ground, piece, among), deletes(ground, piece, among))
  const said = Object.values(SAID).map(name => `d.${name} AS ${name}`)
  const found = `SELECT ${said.join(', ')}, d.mask AS mask, ${doneSql(piece)} AS done FROM (${once(ground, rows)}) AS d`
  return once(ground, `${found} WHERE d.known <= ${piece.changed}`)
}

/** True where ours has the row just as theirs has it: whatever base has and the migration did, it is done. */
export function alike(ground: Ground, piece: Piece): string {
  const cells = cellsOf(ground, piece).map(cell => `(${cell.fits ?? '1 = 1'}) AND ${equalCells(ground, cell)}`)
  const there = `${piece.keyOf('o', 'ours')[0]} IS NOT NULL`
  return `CASE WHEN ${[there, ...cells].join(' AND ')} THEN 1 ELSE 0 END = 1`
}

/** The same of everything that is found to have been changed, beside what a work table says of it. */
export function besideSaid(piece: Piece, again: Piece): string {
  const on = piece.same(again.keyOf('p', 'work'), piece.keyOf('w', 'work'))
  return `SELECT ${saidOf('w').join(', ')}, p.mask AS mask, p.done AS done
    FROM ${again.work} AS p LEFT JOIN ${piece.work} AS w ON ${on}`
}

function bothKinds(changed: string, deleted: string): string {
  return `SELECT * FROM (${changed}) AS changed UNION ALL SELECT * FROM (${deleted}) AS deleted`
}

function once({ dialect }: Ground, query: string): string {
  return dialect.once?.(query) ?? query
}

/** Of which rows is asked. `again`: of those `w` of the work table, with their numbers. */
interface Among {
  readonly again: boolean
  readonly where: string
}

/** Of all, or, where it is known that there are none, of none. */
const some = (any: boolean): Among => ({ again: false, where: any ? '1 = 1' : '1 = 0' })

function changes(ground: Ground, piece: Piece, { again, where }: Among): string {
  const cells = cellsOf(ground, piece)
  const m = ground.migrated && piece.table.migrated !== null
  const [o, b, mk] = [
    piece.keyOf('o', 'ours')[0],
    piece.keyOf('b', 'base')[0],
    m ? piece.keyOf('m', 'migrated')[0] : b0(piece),
  ]
  // A row that came between the backup and the end of migrating may be a user's, unless they were away.
  const added = m ? (ground.ownWork ? `${mk} IS NULL` : `(${mk} IS NULL OR ${b} IS NULL)`) : `${b} IS NULL`
  const whole = added
  const notBase = cells.map(cell => unlikeBase(ground, piece, cell, cell.theirs, cell.column.theirType))
  const changed = cells.map((cell, i) => `(${notBase[i]} AND ${edited(ground, piece, cell)})`).join(' OR ')
  // Where nobody changed it after the migration, all that differs from base is ambiguous.
  const own =
    piece.table.keyWritten === true && !ground.ownWork
      ? `(${mk} IS NULL OR (${b} IS NOT NULL AND (${changed})))`
      : `(${added} OR ${changed})`
  const theirOwn = m ? own : piece.table.unsure === 'rows' ? `${b} IS NOT NULL` : '1 = 1'
  const unlike = `(${b} IS NULL OR ${notBase.join(' OR ')})`
  const dirty = ground.ownWork ? `${unlike} AND ${theirOwn}` : unlike
  const theirKey = piece.keyOf('t', 'theirs')
  const keys = again ? saidOf('w') : theirKey.map((k, i) => `${k} AS k${i}`)
  const theirs = `${piece.image('theirs')} AS t`
  const among = `${piece.work} AS w JOIN ${theirs} ON ${piece.same(theirKey, piece.keyOf('w', 'work'))}`
  const mask = maskOf(ground, piece, cells, whole)
  const listed = again || piece.tail === null ? '1 = 1' : `${theirKey[0]} <= ${piece.tail.above}`
  const migrated = m ? `LEFT JOIN ${piece.image('migrated')} AS m ON ${onKey(piece, 'm', 'migrated')}` : ''
  return `SELECT ${keys.join(', ')}, CASE WHEN ${added} THEN ${INSERT} ELSE ${UPDATE} END AS act,
    CASE WHEN ${o} IS NULL THEN 0 ELSE 1 END AS op, ${mask} AS mask,
    CASE ${unsure(piece, added, mk, b)} ${again ? '' : another(ground, piece, added)} WHEN ${theirOwn} THEN 1 ELSE 0 END AS sure
    FROM ${again ? among : theirs} LEFT JOIN ${piece.image('base')} AS b ON ${onKey(piece, 'b', 'base')} ${migrated}
    LEFT JOIN ${piece.image('ours')} AS o ON ${onKey(piece, 'o', 'ours')} WHERE ${where} AND ${listed} AND ${dirty}`
}

/**
 * The row of ours was made anew under the key: of the cells that theirs left as they were at the release, and that tell rows
 * apart, none is as it was. One that both sides changed alike says that it is the same row. Those of 100 columns tell enough.
 */
function another(ground: Ground, piece: Piece, added: string): string {
  const { dialect } = ground
  const cells = cellsOf(ground, piece).filter(c => !piece.key.includes(c.column.ours))
  const [key, all] = [piece.keyOf('o', 'ours')[0], cells.slice(0, 100)]
  const parts = all.map(cell => {
    const { type } = cell.column
    const [left, told] = [`NOT ${edited(ground, piece, cell)}`, isTelling(dialect, cell.base, type)]
    const other = dialect.differs(cell.ours, cell.base, type)
    const alike = `(${cell.fits ?? '1 = 1'}) AND ${other} AND ${equalCells(ground, cell)}`
    return {
      same: `CASE WHEN ${left} THEN CASE WHEN ${told} AND NOT ${other} THEN 1 ELSE 0 END WHEN ${alike} THEN 1 ELSE 0 END`,
      other: `CASE WHEN ${left} AND ${told} AND ${other} THEN 1 ELSE 0 END`,
    }
  })
  if (parts.length === 0) return ''
  const none = parts.map(p => `${p.same} = 0`).join(' AND ')
  return `WHEN NOT (${added}) AND ${key} IS NOT NULL AND ${none} AND ${parts.map(p => p.other).join(' + ')} > 0 THEN ${ANOTHER}`
}

/** A new row has a value where the migration gave those that were there another meaning, or the migration may have put it there. */
function unsure(piece: Piece, added: string, migrated: string | undefined, base: string | undefined): string {
  const came = piece.table.rowsCame === true ? `WHEN ${base} IS NULL AND ${migrated} IS NOT NULL THEN ${BEFORE}` : ''
  const cells = piece.anew.columns.map(name => `${piece.column('t', piece.columnOf(name).theirs)} IS NOT NULL`)
  if (cells.length === 0) return came
  return `${came} WHEN ${added} AND (${cells.join(' OR ')}) THEN CASE WHEN ${migrated} IS NULL THEN ${AFTER} ELSE ${BEFORE} END`
}

function b0(piece: Piece): string | undefined {
  return piece.keyOf('b', 'base')[0]
}

function onKey(piece: Piece, alias: string, image: 'base' | 'ours' | 'migrated'): string {
  return piece.same(piece.keyOf(alias, image), piece.keyOf('t', 'theirs'))
}

function deletes(ground: Ground, piece: Piece, { again, where }: Among): string {
  const base = piece.keyOf('b', 'base')
  const m = ground.migrated && piece.table.migrated !== null
  const join = (alias: string, image: 'theirs' | 'migrated' | 'ours') =>
    `${piece.image(image)} AS ${alias} ON ${piece.same(piece.keyOf(alias, image), base)}`
  const told =
    m && !ground.ownWork && piece.table.rowsAreUsers !== true
      ? `WHEN ${piece.keyOf('m', 'migrated')[0]} IS NULL THEN 'a' `
      : ''
  const gone = piece.table.unsure === undefined ? told : `WHEN 1 = 1 THEN 'a' `
  const letters = cellsOf(ground, piece).map(
    cell => `CASE ${gone}WHEN ${ground.dialect.differs(cell.ours, cell.base, cell.column.type)} THEN 'c' ELSE '.' END`,
  )
  const there = piece.keyOf('o', 'ours')[0]
  const keys = again ? saidOf('w') : base.map((k, i) => `${k} AS k${i}`)
  const before = `${piece.image('base')} AS b`
  const among = `${piece.work} AS w JOIN ${before} ON ${piece.same(base, piece.keyOf('w', 'work'))}`
  return `SELECT ${keys.join(', ')}, ${DELETE} AS act,
    CASE WHEN ${there} IS NULL THEN 0 ELSE 1 END AS op, CASE WHEN ${there} IS NULL THEN '' ELSE ${joined(ground.dialect, letters)} END AS mask, 1 AS sure
    FROM ${again ? among : before} LEFT JOIN ${join('t', 'theirs')} ${m ? `${ground.ownWork ? '' : 'LEFT '}JOIN ${join('m', 'migrated')}` : ''}
    LEFT JOIN ${join('o', 'ours')} WHERE ${where} AND ${piece.keyOf('t', 'theirs')[0]} IS NULL`
}

/** `sure` of rows that `unsure` speaks of, and of those that are `another`. */
const [AFTER, BEFORE, ANOTHER] = [2, 3, 4]

const has = (letter: string) => `mask LIKE '%${letter}%'`

/** Of the cells of a row that is in ours, the first kind that stops one. */
const CELL = `CASE WHEN act <> ${UPDATE} OR op = 0 THEN 0 WHEN ${has('m')} THEN ${codeOf('type')}
  WHEN ${has('r')} THEN ${codeOf('rewritten')} WHEN ${has('c')} THEN ${codeOf('changed')}
  WHEN ${has('n')} THEN ${codeOf('not-null')} WHEN ${has('a')} OR ${has('x')} THEN ${codeOf('ambiguous')} ELSE 0 END`

function kindSql({ table }: Piece, mode: Mode): string {
  // What may be the migration's own work keeps no row back.
  const both = ['m', 'r', 'c', 'n'].map(has).join(' OR ')
  const partly = mode === 'row' ? `${both} OR NOT ${has('w')}` : `NOT ${has('w')}`
  const lacks = table.needed.length > 0 ? codeOf('column-gone') : 0
  const needed = lacks > 0 ? `WHEN act = ${INSERT} AND op = 0 THEN ${lacks}` : ''
  const free = `WHEN act = ${INSERT} AND op = 0 AND mask = '${'w'.repeat(table.columns.length)}'`
  const held =
    lacks > 0
      ? lacks
      : `CASE sure WHEN ${AFTER} THEN ${codeOf('rewritten')} WHEN ${BEFORE} THEN ${codeOf('ambiguous')} ELSE 0 END`
  return `CASE WHEN act <> ${DELETE} AND op = 0 AND sure = 0 THEN ${codeOf('ambiguous')}
    ${free} THEN ${held}
    WHEN act = ${INSERT} AND op = 1 AND (${has('c')} OR ${has('m')} OR ${has('n')}) THEN ${codeOf('exists')}
    WHEN act = ${UPDATE} AND op = 0 THEN ${codeOf('row-missing')}
    WHEN act = ${UPDATE} AND sure = ${ANOTHER} AND ${has('w')} THEN ${codeOf('changed')}
    WHEN act = ${DELETE} AND ${has('a')} THEN ${codeOf('ambiguous')}
    WHEN act = ${DELETE} AND ${has('c')} THEN ${codeOf('changed')}
    WHEN act = ${INSERT} AND ${has('m')} THEN ${codeOf('type')}
    WHEN act = ${INSERT} AND ${has('n')} THEN ${codeOf('not-null')} ${needed}
    WHEN act = ${UPDATE} AND (${partly}) THEN ${CELL} ELSE 0 END`
}

function doneSql({ table }: Piece): string {
  // Any other letter says that something is left.
  const done = `(mask = '${'d'.repeat(table.columns.length)}' OR replace(replace(mask, '.', ''), 'd', '') = '')`
  return `CASE WHEN act = ${DELETE} THEN 1 - op WHEN op = 1 AND ${done} THEN 1 ELSE 0 END`
}
