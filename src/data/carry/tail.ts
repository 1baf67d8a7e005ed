import type { ImageName, Reference, Writer } from '../engine.ts'
import { thrown } from './batches.ts'
import { tailClashes } from './checks.ts'
import { alike } from './classify.ts'
import { Moved } from './errors.ts'
import { type Carried, inLedger, rangeSql } from './ledger.ts'
import type { CarryOptions } from './options.ts'
import { type Ground, nameIn, type Piece, type Tail } from './piece.ts'
import type { Laid } from './plan.ts'
import { sumsOf } from './sums.ts'

/** Something is in the way of rows that were to be carried by ranges: they have to be looked at one by one. */
export class RowByRow extends Error {}

const [LEAST, MOST] = [-(2n ** 63n), 2n ** 63n - 1n]

/** null: there are no such rows, or something is to be said of them. */
export async function tailOf(
  ground: Ground,
  piece: Piece,
  options: CarryOptions,
  carried: Carried | null,
): Promise<Tail | null> {
  if (!mayHaveTail(ground, piece, options)) return null
  const others: ImageName[] = [
    'ours',
    'base',
    ...(ground.migrated && piece.table.migrated !== null ? (['migrated'] as const) : []),
  ]
  const to = await highest(ground, piece, 'theirs')
  if (to == null || to > MOST) return null
  let above = carried?.to ?? LEAST
  for (const image of others) {
    const end = await highest(ground, piece, image)
    if (end === undefined) return null
    if (end !== null && end > above) above = end
  }
  if (to <= above) return null
  const tail = { above, to, rows: 0, carried: 0 }
  const required = piece.table.columns.filter(c => c.required).map(c => `${piece.column('t', c.theirs)} IS NULL`)
  const whole = ground.dialect.loose ? [`${keyText(ground, piece)} LIKE '%.%'`] : []
  const odd = [...required, ...whole, '1 = 0'].join(' OR ')
  const table = `${piece.image('theirs')} AS t`
  const where = piece.behind('t', 'theirs', tail)
  const found = await sumsOf(
    ground,
    piece,
    { table, key: piece.keyOf('t', 'theirs')[0] ?? '', where },
    among =>
      `SELECT count(*) AS n, count(CASE WHEN ${odd} THEN 1 END) AS odd FROM ${table} WHERE ${where} AND ${among}`,
  )
  const rows = found['n'] ?? Number.NaN
  if (found['odd'] !== 0 || (carried?.single === true && (await inLedger(ground, piece, tail)))) return null
  return { ...tail, rows }
}

/** Nobody said a word on its rows, and every cell of them has a place that takes it as it is. */
function mayHaveTail({ dialect }: Ground, { key, table }: Piece, options: CarryOptions): boolean {
  if (options.mode === 'report' || options.suspicion !== null || options.decisions.length > 0) return false
  if (key.length !== 1 || table.needed.length > 0 || table.unsure === 'rows') return false
  const counts = table.columns.find(c => c.ours === key[0])
  if (counts === undefined || !dialect.isWhole(counts.type)) return false
  if (counts.migratedType !== null && counts.migratedType !== counts.type) return false
  return table.columns.every(c => c.type === c.theirType)
}

function highest({ merger }: Ground, { table, key }: Piece, image: ImageName): Promise<bigint | null | undefined> {
  const names = { ours: table.ours, theirs: table.theirs, base: table.ours, migrated: table.migrated }
  const column = table.columns.find(c => c.ours === key[0])
  const name = names[image]
  if (column === undefined || name === null) throw new Error(`${table.ours} is not in ${image}`)
  return merger.highest(image, name, nameIn(column, image))
}

/** On SQLite a column of whole numbers may hold others too. */
function keyText({ dialect }: Ground, piece: Piece): string {
  return dialect.text(piece.keyOf('t', 'theirs')[0] ?? '', piece.columnOf(piece.key[0] ?? '').type)
}

/** Tables of which the tail has rows that keys or references may be in the way of. */
export async function blockedTails(laid: Pick<Laid, 'ground' | 'pieces' | 'bonds'>): Promise<string[]> {
  const out: string[] = []
  for (const piece of laid.pieces) if (await tailClashes(laid, piece)) out.push(piece.table.ours)
  return out
}

/**
 * Carries a tail in parts of `batch` rows, each with its line in the ledger; several at a time where the system has writers for
 * it. Throws `RowByRow` where the database refuses one.
 */
export async function carryTail(
  laid: Laid,
  piece: Piece,
  batch: number,
  after: (rows: number) => void,
): Promise<number> {
  const { tail } = piece
  if (tail === null) return 0
  const { ground, plan } = laid
  const parts = partsOf(ground, piece, tail, batch)
  const writers = tail.rows > batch ? ((await ground.merger.writers?.()) ?? [ground.merger]) : [ground.merger]
  const carrying = writers.map(async writer => {
    try {
      for (let part = await parts.next(writer); part !== null; part = await parts.next(writer)) {
        const rows = await carryPart(ground, piece, part, plan.hash, writer)
        tail.carried += rows
        after(rows)
      }
    } catch (error) {
      parts.end()
      throw error
    }
  })
  // The others end what they have begun.
  const refused = (await Promise.allSettled(carrying)).find(lane => lane.status === 'rejected')?.reason
  if (refused !== undefined) throw thrown(refused)
  if (tail.carried !== tail.rows)
    throw new Moved(`${piece.table.theirs}: ${tail.carried} rows came of ${tail.rows} that there were`)
  return tail.carried
}

/** Rows of theirs with keys above `from` and up to `to`. */
interface Part {
  readonly from: bigint
  readonly to: bigint
}

interface Parts {
  /** The next one, for whoever takes it; null: there are no more. */
  next(writer: Writer): Promise<Part | null>
  /** No more are given. */
  end(): void
}

function partsOf(ground: Ground, piece: Piece, tail: Tail, batch: number): Parts {
  let from = tail.above
  let over = false
  let last: Promise<unknown> = Promise.resolve()
  const take = async (writer: Writer): Promise<Part | null> => {
    if (over || from >= tail.to) return null
    const part = { from, to: await endOf(ground, piece, { from, tail, batch }, writer) }
    from = part.to
    return part
  }
  return {
    next(writer) {
      // Where one ends is known once the one before it is.
      const found = last.then(() => take(writer))
      last = found.catch(() => {})
      return found
    },
    end() {
      over = true
    },
  }
}

function carryPart(ground: Ground, piece: Piece, { from, to }: Part, hash: string, writer: Writer): Promise<number> {
  return writer.transaction(async () => {
    let put = 0
    const refused = await writer.savepoint(async () => {
      put = await writer.run(insertSql(ground, piece, from, to))
    })
    if (refused !== null) throw ground.merger.refusal(refused) === null ? thrown(refused) : new RowByRow()
    await writer.run(rangeSql(ground, piece, hash, from + 1n, to))
    return put
  })
}

/** The key of the last row of a part. */
async function endOf(
  ground: Ground,
  piece: Piece,
  { from, tail: { above, to, rows }, batch }: { from: bigint; tail: Tail; batch: number },
  writer: Writer,
): Promise<bigint> {
  // Where no number is left out, it need not be looked for.
  if (to - above === BigInt(rows)) return from + BigInt(batch) < to ? from + BigInt(batch) : to
  const [key] = piece.keyOf('t', 'theirs')
  const [row] = await writer.query(
    `SELECT ${keyText(ground, piece)} AS k FROM ${piece.image('theirs')} AS t WHERE ${key} > ${from} ORDER BY ${key} LIMIT 1 OFFSET ${batch - 1}`,
  )
  return row === undefined ? to : BigInt(row['k'] as string)
}

function insertSql({ dialect }: Ground, piece: Piece, from: bigint, to: bigint): string {
  const names = piece.table.columns.map(c => dialect.quote(c.ours))
  const values = piece.table.columns.map((_, i) => piece.value(i))
  const [key] = piece.keyOf('t', 'theirs')
  return `INSERT INTO ${piece.into} (${names.join(', ')}) ${dialect.overriding}
    SELECT ${values.join(', ')} FROM ${piece.image('theirs')} AS t WHERE ${key} > ${from} AND ${key} <= ${to}`
}

/** How ours stands behind the last key that the others had. */
export interface TailFound {
  /** Rows that are in every cell as theirs has them. */
  readonly alike: number
  /** Rows that theirs has not. */
  readonly strange: number
}

export async function tailNow(ground: Ground, piece: Piece): Promise<TailFound> {
  const theirs = `${piece.image('theirs')} AS t ON ${piece.same(piece.keyOf('t', 'theirs'), piece.keyOf('o', 'ours'))}`
  const table = `${piece.image('ours')} AS o`
  const where = piece.behind('o', 'ours')
  const found = await sumsOf(
    ground,
    piece,
    { table, key: piece.keyOf('o', 'ours')[0] ?? '', where },
    among => `SELECT count(*) AS there, count(${piece.keyOf('t', 'theirs')[0]}) AS paired,
      count(CASE WHEN ${alike(ground, piece)} THEN 1 END) AS alike
      FROM ${table} LEFT JOIN ${theirs} WHERE ${where} AND ${among}`,
  )
  const [there = Number.NaN, paired = Number.NaN] = [found['there'], found['paired']]
  return { alike: found['alike'] ?? Number.NaN, strange: there - paired }
}

/** The keys of the rows of the tail, as the query of a work table gives them. */
export function tailKeys(piece: Piece): string {
  return `SELECT ${piece.keyOf('t', 'theirs')[0]} AS k0 FROM ${piece.image('theirs')} AS t WHERE ${piece.behind('t', 'theirs')}`
}

/** FROM and WHERE of rows of the tail that were carried and refer to nothing. */
export function tailOrphansSql({ merger, dialect }: Ground, piece: Piece, { columns, table, to }: Reference): string {
  const cells = columns.map(name => piece.column('o', name))
  const fits = to.map((name, j) => `p.${dialect.quote(name)} = ${cells[j]}`).join(' AND ')
  return `FROM ${piece.image('ours')} AS o WHERE ${piece.behind('o', 'ours')} AND ${cells.map(c => `${c} IS NOT NULL`).join(' AND ')}
    AND NOT EXISTS (SELECT 1 FROM ${merger.table('ours', table)} AS p WHERE ${fits})`
}
