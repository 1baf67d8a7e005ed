import { mark, type Whole } from './checks.ts'
import type { Decision } from './options.ts'
import { type Ground, literal, type Piece } from './piece.ts'
import { codeOf, DELETE, INSERT, type Kind, TAKE, UPDATE } from './words.ts'

const has = (letter: string) => `w.mask LIKE '%${letter}%'`
const LEFT = `CASE WHEN ${has('m')} THEN ${codeOf('type')} WHEN ${has('n')} THEN ${codeOf('not-null')} ELSE 0 END`

/** Applies the words of persons to the conflicts of one table, in their order. */
export async function settle(ground: Ground, piece: Piece, decisions: readonly Decision[]): Promise<void> {
  for (const decision of decisions) {
    if (decision.table !== undefined && decision.table !== piece.table.ours) continue
    const fits = matching(ground, piece, decision)
    if (fits === null) continue
    if (decision.set !== undefined)
      await set(ground, piece, { take: String(TAKE.set) }, `${fits} AND w.act <> ${DELETE}`)
    else if (decision.take === 'ours') await ours(ground, piece, fits)
    else await theirs(ground, piece, fits, decision.kind)
  }
}

/** The condition for the rows that a decision speaks of; null: none of this table. */
export function matching({ dialect }: Ground, piece: Piece, { kind, key }: Decision): string | null {
  const parts = ['w.done = 0']
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

async function ours(ground: Ground, piece: Piece, fits: string): Promise<void> {
  await set(ground, piece, { take: String(TAKE.ours) }, fits)
}

/** Theirs counts, as far as ours can take it at all: what does not fit the old schema stays a conflict. */
async function theirs(ground: Ground, piece: Piece, fits: string, only: Kind | undefined): Promise<void> {
  const whole = `NOT (${has('m')} OR ${has('n')})`
  const takes = { take: String(TAKE.theirs), kind: '0' }
  const may = (kind: Kind) => only === undefined || only === kind
  if (piece.keyed && may('exists')) {
    await set(ground, piece, { ...takes, act: String(UPDATE) }, `${fits} AND w.kind = ${codeOf('exists')} AND ${whole}`)
  }
  if (piece.keyed && may('row-missing') && piece.table.needed.length === 0) {
    const missing = `w.kind = ${codeOf('row-missing')} AND w.act = ${UPDATE}`
    await set(ground, piece, { ...takes, act: String(INSERT) }, `${fits} AND ${missing} AND ${whole}`)
  }
  if (may('changed') || may('rewritten')) {
    const kinds = (['changed', 'rewritten'] as const).filter(may).map(codeOf).join(', ')
    const cells = `w.act = ${UPDATE} AND w.op = 1 AND (w.kind IN (${kinds}) OR w.cell IN (${kinds}))`
    await set(ground, piece, { ...takes, cell: LEFT }, `${fits} AND ${cells}`)
    await set(ground, piece, takes, `${fits} AND w.act <> ${UPDATE} AND w.kind IN (${kinds})`)
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
    for (const piece of whole.pieces.filter(p => p.keyed)) {
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
  return turned + added
}
