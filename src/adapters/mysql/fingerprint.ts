import type { FingerprintPart } from '../../data/engine.ts'
import type { Fingerprint, TableFingerprint } from '../../data/fingerprint.ts'
import type { SchemaShape, TableShape } from '../../data/schema.ts'
import { type Formula, formulaOf, isFoldedByXor } from './formula.ts'
import { quoted, tableSql, text } from './names.ts'
import type { Extent } from './schema.ts'
import type { Session } from './session.ts'

const ROWS_AT_ONCE = 250_000
const COLUMNS_AT_ONCE = 60

/** Sessions that see one instant, and the database that they read. */
export interface Lanes {
  readonly sessions: readonly [Session, ...Session[]]
  readonly database: string
  readonly extents: ReadonlyMap<string, Extent>
}

/** Columns of some rows of one table. */
interface Piece {
  readonly table: string
  readonly columns: readonly string[]
  /** Condition; null: every row. */
  readonly rows: string | null
  /** Its rows are counted here, and by no other piece. */
  readonly counts: boolean
  /** Every key is known to have no more than 32 bits. */
  readonly short?: boolean
}

/**
 * 64-bit hashes per column, folded, each value tied to its row by the row's key; NULL adds nothing. Those of pieces add up,
 * so that sessions share the work, and a column stays comparable after others came or went.
 */
export async function fingerprint(
  lanes: Lanes,
  schema: SchemaShape,
  part: FingerprintPart = { tables: Object.keys(schema.tables) },
  method?: string,
): Promise<Fingerprint> {
  const formula = formulaOf(lanes.sessions[0].flavour, method)
  const { tables } = part
  const pieces: Piece[] = []
  for (const table of tables) {
    const shape = schema.tables[table]
    if (shape !== undefined) pieces.push(...(await piecesOf(lanes, table, shape, part)))
  }
  const found = new Map(tables.map(t => [t, { rows: 0, sums: new Map<string, bigint>() }]))
  const queue = pieces.values()
  await Promise.all(
    lanes.sessions.map(async session => {
      for (const piece of queue) {
        await addPiece(session, lanes.database, { schema, piece, formula }, found.get(piece.table))
      }
    }),
  )
  return {
    method: formula.method,
    tables: Object.fromEntries([...found].map(([table, { rows, sums }]) => [table, digests(rows, sums)])),
  }
}

/** Condition for the so many oldest rows; null where the key does not count rows as they come. */
async function oldest(lanes: Lanes, table: string, shape: TableShape, rows: number): Promise<string | null> {
  const key = countingKey(shape)
  if (key === null || shape.columns[key]?.type.includes('auto_increment') !== true) return null
  if (rows === 0) return '1 = 0'
  const [last] = await lanes.sessions[0].query(
    `SELECT ${quoted(key)} AS k FROM ${tableSql(table, lanes.database)} ORDER BY 1 LIMIT 1 OFFSET ${rows - 1}`,
  )
  return last === undefined ? null : `${quoted(key)} <= ${text(last['k'])}`
}

function digests(rows: number, sums: ReadonlyMap<string, bigint>): TableFingerprint {
  return { rows, columns: Object.fromEntries([...sums].map(([c, sum]) => [c, sum.toString(16)])) }
}

function own(shape: TableShape): string[] {
  return Object.entries(shape.columns).flatMap(([name, c]) => (c.generated ? [] : [name]))
}

/** A key of one whole number, by whose value rows can be split. */
function countingKey(shape: TableShape): string | null {
  const [first, ...more] = shape.key
  if (first === undefined || more.length > 0) return null
  return /^(tiny|small|medium|big)?int\b/.test(shape.columns[first]?.type ?? '') ? first : null
}

async function piecesOf(lanes: Lanes, table: string, shape: TableShape, part: FingerprintPart): Promise<Piece[]> {
  const wanted = part.columns?.[table]
  const columns = own(shape).filter(c => wanted === undefined || wanted.includes(c))
  const first = part.rows === undefined ? null : await oldest(lanes, table, shape, part.rows)
  if (first !== null) return [{ table, columns, rows: first, counts: true }]
  const groups = Array.from({ length: Math.max(1, Math.ceil(columns.length / COLUMNS_AT_ONCE)) }, (_, i) =>
    columns.slice(i * COLUMNS_AT_ONCE, (i + 1) * COLUMNS_AT_ONCE),
  )
  const rows = lanes.extents.get(table)?.rows ?? 0
  const key = countingKey(shape)
  if (rows > ROWS_AT_ONCE / 4 && key !== null) {
    const { ranges, short } = await rangesOf(lanes, table, key, rows)
    return groups.flatMap((group, i) => ranges.map(r => ({ table, columns: group, rows: r, counts: i === 0, short })))
  }
  const [only] = groups
  if (rows > ROWS_AT_ONCE / 4 && groups.length === 1 && only !== undefined) {
    // Without a key to split by, the sessions share the columns: hashing costs more than reading.
    const share = (lane: number) => only.filter((_, i) => i % lanes.sessions.length === lane)
    return lanes.sessions.map((_, i) => ({ table, columns: share(i), rows: null, counts: i === 0 }))
  }
  return groups.map((group, i) => ({ table, columns: group, rows: null, counts: i === 0 }))
}

async function rangesOf(
  lanes: Lanes,
  table: string,
  key: string,
  rows: number,
): Promise<{ ranges: string[]; short: boolean }> {
  const [session] = lanes.sessions
  const k = quoted(key)
  const [ends] = await session.query(
    `SELECT MIN(${k}) AS low, MAX(${k}) AS high FROM ${tableSql(table, lanes.database)}`,
  )
  if (ends === undefined || ends['low'] === null) return { ranges: [`${k} IS NOT NULL`], short: true }
  const [low, high] = [BigInt(text(ends['low'])), BigInt(text(ends['high']))]
  const pieces = Math.max(Math.ceil(rows / ROWS_AT_ONCE), lanes.sessions.length * 2)
  const cuts = Array.from({ length: pieces - 1 }, (_, i) => low + ((high - low) * BigInt(i + 1)) / BigInt(pieces))
  const marks = [...new Set(cuts)]
  const ranges = [...marks, null].map((cut, i) => {
    const from = i === 0 ? null : marks[i - 1]
    const sides = [from == null ? '' : `${k} > ${from}`, cut === null ? '' : `${k} <= ${cut}`].filter(s => s !== '')
    return sides.length === 0 ? `${k} IS NOT NULL` : sides.join(' AND ')
  })
  return { ranges, short: low >= 0n && high < 1n << 32n }
}

async function addPiece(
  session: Session,
  database: string,
  { schema, piece, formula }: { schema: Pick<SchemaShape, 'tables'>; piece: Piece; formula: Formula },
  found: { rows: number; sums: Map<string, bigint> } | undefined,
): Promise<void> {
  const shape = schema.tables[piece.table]
  if (found === undefined || shape === undefined) return
  const hash = formula.hashes(shape, piece.short)
  const xor = isFoldedByXor(shape)
  const fold = xor ? 'BIT_XOR' : 'SUM'
  const parts = ['COUNT(*) AS n', ...piece.columns.map((c, i) => `${fold}(${hash(c)}) AS c${i}`)]
  const where = piece.rows === null ? '' : ` WHERE ${piece.rows}`
  const [row] = await session.query(`SELECT ${parts.join(', ')} FROM ${tableSql(piece.table, database)}${where}`)
  if (piece.counts) found.rows += Number(row?.['n'] ?? 0)
  piece.columns.forEach((c, i) => {
    const [before, more] = [found.sums.get(c) ?? 0n, BigInt(text(row?.[`c${i}`]) || 0)]
    found.sums.set(c, xor ? before ^ more : before + more)
  })
}
