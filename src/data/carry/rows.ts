import { type Ground, type Piece } from './piece.ts'
import { leftBy } from './settle.ts'
import { ACTIONS, type Kind, kindOf } from './words.ts'

/** A changed row as both sides have it. Values are exact texts; null is NULL. */
export interface ListedRow {
  /** In the schema of the release. */
  readonly table: string
  readonly action: 'insert' | 'update' | 'delete'
  readonly kind: Kind | null
  /** How many rows that is, of a table without a key. Left out: one. */
  readonly times?: number
  /** What tells the row, in the names of the release. */
  readonly key: Readonly<Record<string, string | null>>
  /** Which sides have the row at all. */
  readonly there: { readonly base: boolean; readonly ours: boolean; readonly theirs: boolean }
  /** Column of the schema of the release -> its value on each side; of a row that is on several sides only cells that are not the same. */
  readonly cells: Readonly<Record<string, Sides>>
  /** Of these cells those that a word on `kind` does not write, and the kind that they wait as. Left out: none. */
  readonly left?: Readonly<Record<string, Kind>>
}

export interface Sides {
  readonly base: string | null
  readonly ours: string | null
  readonly theirs: string | null
}

const ROWS = 500
const COLUMNS = 150

/** Every row of the work table that `where` names (as `w`), in the order of the key; `most` of them. */
export async function eachRow(
  ground: Ground,
  piece: Piece,
  where: string,
  row: (row: ListedRow) => Promise<void>,
  most = Infinity,
): Promise<void> {
  for (let after = 0, left = most; left > 0; ) {
    const page = await ground.merger.query(
      `SELECT w.n AS n, w.act AS act, w.kind AS kind, w.cell AS cell, w.mask AS mask, ${piece.keyed ? 1 : 'w.times'} AS times FROM ${piece.work} AS w
       WHERE w.n > ${after} AND (${where}) ORDER BY w.n LIMIT ${Math.min(ROWS, left)}`,
    )
    const last = page.at(-1)
    if (last === undefined) return
    const range = `w.n > ${after} AND w.n <= ${Number(last['n'])} AND (${where})`
    const values = await valuesOf(ground, piece, range)
    for (const found of page) {
      const code = Number(found['kind']) || Number(found['cell'])
      const value = values.get(Number(found['n']))
      if (value === undefined) continue
      const action = ACTIONS[Number(found['act'])] ?? 'update'
      const kind = code === 0 ? null : kindOf(code)
      const times = Number(found['times'])
      const left = kind !== null && isUpdate(piece, value, action) ? cellsLeft(piece, kind, found['mask']) : {}
      const more = { ...(times === 1 ? {} : { times }), ...(Object.keys(left).length === 0 ? {} : { left }) }
      await row({ table: piece.table.ours, action, kind, ...value, ...more })
    }
    after = Number(last['n'])
    left -= page.length
  }
}

/** Single cells of such a row wait. */
function isUpdate(piece: Piece, { there }: Values, action: ListedRow['action']): boolean {
  return piece.keyed && action === 'update' && there.ours && there.theirs
}

function cellsLeft(piece: Piece, kind: Kind, mask: unknown): Record<string, Kind> {
  const letters = typeof mask === 'string' ? mask : ''
  return Object.fromEntries(
    piece.table.columns.flatMap(({ ours }, i) => {
      const left = leftBy(kind, letters.charAt(i))
      return left === null ? [] : [[ours, left] as const]
    }),
  )
}

type Values = Pick<ListedRow, 'key' | 'there' | 'cells'>

async function valuesOf(ground: Ground, piece: Piece, range: string): Promise<Map<number, Values>> {
  const out = new Map<
    number,
    { key: Record<string, string | null>; there: Values['there']; cells: Record<string, Sides> }
  >()
  const { columns } = piece.table
  for (let from = 0; from < columns.length; from += COLUMNS) {
    const part = columns.slice(from, from + COLUMNS)
    for (const found of await ground.merger.query(selectSides(ground, piece, from, part.length, range))) {
      const text = (name: string) => (found[name] ?? null) as string | null
      const there = { base: found['b'] === 1, ours: found['o'] === 1, theirs: found['t'] === 1 }
      const known = out.get(Number(found['n'])) ?? { key: {}, there, cells: {} }
      const names = piece.keyed ? piece.key : ['id']
      for (const [i, name] of names.entries()) known.key[name] = text(`k${i}`)
      const sides = Object.values(there).filter(Boolean).length
      for (const [i, { ours }] of part.entries()) {
        const cell = { base: text(`b${i}`), ours: text(`o${i}`), theirs: text(`t${i}`) }
        if (sides < 2 || cell.theirs !== cell.base || cell.theirs !== cell.ours) known.cells[ours] = cell
      }
      out.set(Number(found['n']), known)
    }
  }
  return out
}

function selectSides(ground: Ground, piece: Piece, from: number, many: number, range: string): string {
  const { dialect } = ground
  const part = piece.table.columns.slice(from, from + many)
  if (!piece.keyed) return selectCounted(piece, from, many, range)
  const keys = piece.key.map((name, i) => `${dialect.text(`w.k${i}`, piece.columnOf(name).theirType)} AS k${i}`)
  const cells = part.flatMap((c, i) => [
    `${dialect.text(piece.column('t', c.theirs), c.theirType)} AS t${i}`,
    `${dialect.text(piece.column('b', c.base), c.type)} AS b${i}`,
    `${dialect.text(piece.column('o', c.ours), c.type)} AS o${i}`,
  ])
  const sides = (['theirs', 'base', 'ours'] as const).map((image, i) => {
    const alias = ['t', 'b', 'o'][i] ?? ''
    return {
      alias,
      join: `LEFT JOIN ${piece.image(image)} AS ${alias} ON ${piece.same(piece.keyOf(alias, image), piece.keyOf('w', 'work'))}`,
      key: piece.keyOf(alias, image)[0],
    }
  })
  const marks = sides.map(s => `CASE WHEN ${s.key} IS NULL THEN 0 ELSE 1 END AS ${s.alias}`)
  return `SELECT w.n AS n, ${[...keys, ...marks, ...cells].join(', ')} FROM ${piece.work} AS w ${sides.map(s => s.join).join(' ')} WHERE ${range}`
}

/** A row that is counted is the same on every side that has it. */
function selectCounted(piece: Piece, from: number, many: number, range: string): string {
  const cells = piece.table.columns.slice(from, from + many).flatMap((_, i) => {
    const x = `w.x${from + i}`
    return [`${x} AS t${i}`, `${x} AS b${i}`, `${x} AS o${i}`]
  })
  return `SELECT w.n AS n, w.id AS k0, 1 AS t, 0 AS b, 0 AS o, ${cells.join(', ')} FROM ${piece.work} AS w WHERE ${range}`
}
