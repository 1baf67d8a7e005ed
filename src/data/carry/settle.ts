import { mark, type Whole } from './checks.ts'
import type { Decision } from './options.ts'
import { type Ground, literal, type Piece } from './piece.ts'
import { codeOf, DELETE, INSERT, type Kind, TAKE, UPDATE } from './words.ts'

const has = (letter: string) => `w.mask LIKE '%${letter}%'`

/** Kinds that stop single cells of a row that is there, the first that counts first, and their letters in the mask. */
const CELLS = [
  ['type', 'm'],
  ['rewritten', 'r'],
  ['changed', 'c'],
  ['not-null', 'n'],
  ['ambiguous', 'ax'],
] as const

/** A word on the one holds for the other one too. */
const together = (a: Kind, b: Kind) => a === b || (BOTH.includes(a) && BOTH.includes(b))
const BOTH: readonly Kind[] = ['changed', 'rewritten']

/** The kind that a cell waits as, by its letter, where a word on `kind` leaves it; null: it does not. */
export function leftBy(kind: Kind, letter: string): Kind | null {
  const own = CELLS.find(([, letters]) => letters.includes(letter))?.[0]
  return own === undefined || together(own, kind) ? null : own
}

/** The conflict that is left in a row once the cells with these letters are settled. */
function without(letters: string): string {
  const left = CELLS.flatMap(([kind, all]) =>
    Array.from(all).flatMap(l => (letters.includes(l) ? [] : [`WHEN ${has(l)} THEN ${codeOf(kind)}`])),
  )
  return `CASE ${left.join(' ')} ELSE 0 END`
}

/** `t`: theirs is written over what ours has; `o`: ours stays. */
function relabelled(letters: string, to: 't' | 'o'): string {
  return Array.from(letters).reduce((sql, letter) => `REPLACE(${sql}, '${letter}', '${to}')`, 'w.mask')
}

/**
 * Applies the words of persons to the conflicts of one table: the last one that fits counts. `unsettled`: a condition on the
 * rows `w` of the work table that nobody spoke of.
 */
export async function settle(
  ground: Ground,
  piece: Piece,
  decisions: readonly Decision[],
  unsettled = `w.take = ${TAKE.none}`,
): Promise<void> {
  for (const decision of decisions.toReversed()) {
    if (decision.table !== undefined && decision.table !== piece.table.ours) continue
    const fits = matching(ground, piece, decision, unsettled)
    if (fits === null) continue
    if (decision.set !== undefined) await given(ground, piece, fits, decision.kind)
    else if (decision.take === 'ours') await ours(ground, piece, fits, decision.kind)
    else await theirs(ground, piece, fits, decision)
  }
}

/** The condition for the rows that a decision speaks of; null: none of this table. */
export function matching({ dialect }: Ground, piece: Piece, { kind, key }: Decision, settled: string): string | null {
  const parts = ['w.done = 0', settled]
  if (kind !== undefined && kind !== 'cascade') parts.push(`(w.kind = ${codeOf(kind)} OR w.cell = ${codeOf(kind)})`)
  if (kind === 'cascade') parts.push(`w.act = ${DELETE}`)
  if (key === undefined) return parts.join(' AND ')
  const known = Object.keys(key)
  const names = piece.keyed ? piece.key : ['id']
  if (known.length !== names.length || known.some(name => !names.includes(name))) return null
  const texts = names.map((name, i) => {
    const text = piece.keyed ? dialect.text(`w.k${i}`, piece.columnOf(name).theirType) : 'w.id'
    return `${text} = ${literal(key[name] ?? '')}`
  })
  return [...parts, ...texts].join(' AND ')
}

/** A person's own values. What is ambiguous comes with them where the word is on that, or on the whole row. */
async function given(ground: Ground, piece: Piece, fits: string, only: Kind | undefined): Promise<void> {
  const clears = only === undefined || only === 'ambiguous' ? { mask: relabelled('a', 't') } : {}
  await set(ground, piece, { take: String(TAKE.set), ...clears }, `${fits} AND w.act <> ${DELETE}`)
}

/** A word on one kind leaves the row's cells of other kinds to be settled. */
async function ours(ground: Ground, piece: Piece, fits: string, only: Kind | undefined): Promise<void> {
  const letters = CELLS.find(([kind]) => kind === only)?.[1] ?? ''
  const whole = letters === '' ? '' : ` AND NOT (${CHANGED} AND ${without(letters)} > 0)`
  await set(ground, piece, { take: String(TAKE.ours) }, `${fits}${whole}`)
  if (whole !== '') await cells(ground, piece, `${fits} AND ${without(letters)} > 0`, letters, 'o')
}

const CHANGED = `w.act = ${UPDATE} AND w.op = 1`

/** Settles cells of rows that both sides have. What is left of other kinds waits. */
async function cells(ground: Ground, piece: Piece, fits: string, letters: string, to: 't' | 'o'): Promise<void> {
  const left = without(letters)
  const settled = to === 't' ? TAKE.theirs : TAKE.ours
  const sets = {
    take: `CASE WHEN ${left} = 0 THEN ${settled} ELSE w.take END`,
    // Theirs is written now, so that the row itself goes.
    kind: to === 't' ? '0' : `CASE WHEN w.kind = 0 THEN 0 ELSE ${left} END`,
    cell: left,
    mask: relabelled(letters, to),
  }
  await set(ground, piece, sets, `${fits} AND ${CHANGED} AND (w.kind > 0 OR w.cell > 0)`)
}

/** Theirs counts, as far as ours can take it at all: what does not fit the schema of the release stays a conflict. */
async function theirs(ground: Ground, piece: Piece, fits: string, { kind: only, key }: Decision): Promise<void> {
  const whole = `NOT (${has('m')} OR ${has('n')})`
  const takes = { take: String(TAKE.theirs), kind: '0' }
  // Not by a word on everything: what is ambiguous may be the migration's own work, and mean nothing in the schema of the release.
  const may = (kind: Kind) => only === kind || (only === undefined && (kind !== 'ambiguous' || key !== undefined))
  if (piece.keyed && may('exists')) {
    const sets = { ...takes, act: String(UPDATE), mask: relabelled('c', 't') }
    await set(ground, piece, sets, `${fits} AND w.kind = ${codeOf('exists')} AND ${whole}`)
  }
  const absent = (['row-missing', 'ambiguous'] as const).filter(may).map(codeOf)
  if (piece.keyed && absent.length > 0 && piece.table.needed.length === 0) {
    const missing = `w.kind IN (${absent.join(', ')}) AND w.act = ${UPDATE} AND w.op = 0`
    await set(ground, piece, { ...takes, act: String(INSERT) }, `${fits} AND ${missing} AND ${whole}`)
  }
  const both = (['changed', 'rewritten', 'ambiguous'] as const).filter(may)
  if (both.length > 0) {
    const kinds = both.map(codeOf).join(', ')
    // The first of both kinds that a row has names it: a word on that holds for the other one too.
    const letters = both.map(kind => ({ changed: 'cr', rewritten: 'cr', ambiguous: 'a' })[kind]).join('')
    await cells(ground, piece, `${fits} AND (w.kind IN (${kinds}) OR w.cell IN (${kinds}))`, letters, 't')
    const fitting = `${whole} AND (w.act = ${DELETE} OR ${piece.table.needed.length} = 0)`
    await set(ground, piece, takes, `${fits} AND w.act <> ${UPDATE} AND w.kind IN (${kinds}) AND ${fitting}`)
  }
  // Not by a word on everything: it takes rows that nobody spoke of.
  if (only === 'cascade') await set(ground, piece, { take: String(TAKE.cascade) }, `${fits} AND w.act = ${DELETE}`)
}

async function set(ground: Ground, piece: Piece, sets: Readonly<Record<string, string>>, where: string): Promise<void> {
  const names = Object.keys(sets)
  const select = `SELECT w.n AS n, ${names.map(name => `${sets[name]} AS v_${name}`).join(', ')} FROM ${piece.work} AS w WHERE ${where}`
  const list = names.map(name => [name, `x.v_${name}`] as const)
  await ground.merger.run(ground.dialect.update(piece.work, list, `(${select}) AS x`, 'o.n = x.n'))
}

/**
 * Where a person said that deleting may cascade, what refers to the row in ours goes with it, down to the last. References
 * that would be set to NULL stay conflicts: what the row is to be then is the application's to say.
 */
export async function cascade(whole: Whole): Promise<void> {
  for (let found = 1; found > 0; ) {
    found = 0
    for (const piece of whole.pieces.filter(p => p.keyed && !p.empty)) {
      for (const child of whole.pieces.filter(p => p.keyed)) {
        const references = whole.bonds[child.table.ours]?.references ?? []
        for (const reference of references.filter(r => r.table === piece.table.ours && r.onDelete === 'cascade')) {
          found += await drag(whole.ground, piece, child, reference)
        }
      }
    }
  }
}

async function drag(
  ground: Ground,
  piece: Piece,
  child: Piece,
  { columns, to }: { columns: readonly string[]; to: readonly string[] },
): Promise<number> {
  const same = columns.map((name, j) => `${child.column('c', name)} = ${piece.column('o', to[j] ?? '')}`)
  const rows = `FROM ${piece.work} AS w JOIN ${piece.image('ours')} AS o ON ${piece.same(piece.keyOf('o', 'ours'), piece.keyOf('w', 'work'))}
    JOIN ${child.image('ours')} AS c ON ${same.join(' AND ')}`
  const dragged = `w.act = ${DELETE} AND w.take = ${TAKE.cascade} AND w.kind = 0 AND w.held = 0 AND w.done = 0`
  const keys = child.keyOf('c', 'ours')
  const at = child.same(child.keyOf('cw', 'work'), keys)
  const known = `SELECT DISTINCT cw.n AS n ${rows} JOIN ${child.work} AS cw ON ${at} WHERE ${dragged}
    AND NOT (cw.act = ${DELETE} AND cw.take = ${TAKE.cascade}) AND cw.held = 0 AND cw.carried = 0`
  const turned = await mark(ground, child, { act: DELETE, take: TAKE.cascade, kind: 0, cell: 0, done: 0 }, known)
  const names = child.workKey
  const fresh = `SELECT DISTINCT ${keys.map((k, i) => `${k} AS ${names[i]}`).join(', ')} ${rows} LEFT JOIN ${child.work} AS cw ON ${at}
    WHERE ${dragged} AND cw.n IS NULL`
  const last = `(SELECT coalesce(max(n), 0) FROM ${child.work})`
  const state = {
    act: DELETE,
    op: 1,
    kind: 0,
    cell: 0,
    done: 0,
    held: 0,
    take: TAKE.cascade,
    wait: 0,
    refused: 0,
    carried: 0,
    applied: 0,
  }
  const into = ['n', ...names, 'mask', ...Object.keys(state)].join(', ')
  const values = [
    `${last} + row_number() OVER (ORDER BY ${names.join(', ')})`,
    ...names,
    `''`,
    ...Object.values(state),
  ].join(', ')
  const added = await ground.merger.run(`INSERT INTO ${child.work} (${into}) SELECT ${values} FROM (${fresh}) AS f`)
  if (added > 0) child.empty = false
  return turned + added
}
