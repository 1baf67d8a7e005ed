import type { Over, Staged } from '../../data/engine.ts'
import { dialect } from './dialect.ts'
import { quoted, text } from './names.ts'
import type { Session } from './session.ts'

export interface Compared extends Pick<Staged, 'key' | 'columns'> {
  /** SQL names of the tables. */
  readonly ours: string
  readonly base: string
  readonly types: readonly string[]
  /** A query: the keys of rows to leave out. */
  readonly touched: string
  /** Rows of ours above this key are not looked at. */
  readonly upTo: bigint | null
}

/** True where none of the keys to leave out is made of these expressions. */
type Out = (key: readonly string[]) => string

/** Up to so many keys are said one by one to a session that does not see the table that they are in. */
const TOLD = 20_000
/** What is smaller is looked through by one session. Difference of the highest and the lowest key. */
const LARGE = 50_000

/**
 * How many rows that are not left out one side has and the other has not, or not as they are. Where keys are numbers,
 * `beside` looks through the lower ones meanwhile.
 */
export async function untouched(db: Session, beside: () => Promise<Session>, compared: Compared): Promise<number> {
  if (compared.key.length === 0) return count(db, unlikeCounted(compared))
  // The server would copy the keys and look each up in its copy, which takes far longer once that is too large for memory.
  if (db.flavour.mariadb) await db.run(`SET SESSION optimizer_switch = 'exists_to_in=off'`)
  const pair = pairOf(compared)
  const low = await lowerPart(db, pair, compared)
  const out = notIn(compared)
  if (low === null) return among(db, pair, compared, { o: '1 = 1', b: '1 = 1', out })
  const { below } = low
  const [o, b] = [pair.o[0], pair.b[0]]
  const second = await beside()
  const [upper, lower] = await Promise.all([
    among(db, pair, compared, { o: `(${o} >= ${below} OR ${o} IS NULL)`, b: `${b} >= ${below}`, out }),
    among(second, pair, compared, { o: `${o} < ${below}`, b: `${b} < ${below}`, out: low.out }),
  ])
  return upper + lower
}

function notIn({ key, touched }: Compared): Out {
  const names = key.map((_, i) => `k${i}`)
  return given => {
    const same = names.map((name, i) => `x.${name} = ${given[i]}`).join(' AND ')
    return `NOT EXISTS (WITH x (${names.join(', ')}) AS (${touched}) SELECT 1 FROM x WHERE ${same})`
  }
}

/** Conditions that say which rows of ours, and the same of base. */
interface Part {
  readonly o: string
  readonly b: string
  readonly out: Out
}

async function among(db: Session, pair: Pair, compared: Compared, part: Part): Promise<number> {
  const [row] = await db.query(unlike(pair, compared, part))
  const [there, paired, differ] = ['there', 'paired', 'differ'].map(name => Number(row?.[name]))
  return there === paired ? (differ ?? 0) : (differ ?? 0) + (await count(db, lost(pair, compared, part)))
}

async function count(db: Session, sql: string): Promise<number> {
  const [row] = await db.query(sql)
  return Number(row?.['n'] ?? 0)
}

interface Pair {
  readonly on: string
  /** Expressions of the key in `o` and in `b`. */
  readonly o: readonly string[]
  readonly b: readonly string[]
}

function pairOf({ key, columns }: Compared): Pair {
  const inBase = key.map(k => columns.find(c => c.ours === k)?.base ?? k)
  const [o, b] = [key.map(k => `o.${quoted(k)}`), inBase.map(k => `b.${quoted(k)}`)]
  return { o, b, on: o.map((x, i) => `${x} = ${b[i]}`).join(' AND ') }
}

/** What divides the keys into halves; null: they are few, and one session looks through them as fast. */
export async function middleOf(db: Session, { table, key, where }: Over): Promise<bigint | null> {
  const [ends] = await db.query(`SELECT MIN(${key}) AS low, MAX(${key}) AS high FROM ${table} WHERE ${where}`)
  if (ends === undefined || ends['low'] === null) return null
  const [low, high] = [BigInt(text(ends['low'])), BigInt(text(ends['high']))]
  return high - low < LARGE ? null : low + (high - low) / 2n
}

/** The lower half of the keys, or as much of it as few keys of `touched` are in; null: that is not worth it, or keys are no numbers. */
async function lowerPart(
  db: Session,
  { o }: Pair,
  { ours, key, columns, types, touched, upTo }: Compared,
): Promise<{ below: bigint; out: Out } | null> {
  const type = types[columns.findIndex(c => c.ours === key[0])] ?? ''
  if (key.length > 1 || !dialect.isWhole(type)) return null
  const where = upTo === null ? '1 = 1' : `${o[0]} <= ${upTo}`
  const half = await middleOf(db, { table: `${ours} AS o`, key: o[0] ?? '', where })
  if (half === null) return null
  const named = `WITH w (k) AS (${touched})`
  const rows = await db.query(`${named} SELECT k FROM w WHERE k < ${half} ORDER BY k LIMIT ${TOLD}`)
  const keys = rows.map(row => text(row['k']))
  const below = keys.length < TOLD ? half : BigInt(keys.at(-1) ?? half)
  const told = keys.filter(k => BigInt(k) < below)
  return { below, out: ([k]) => (told.length === 0 ? '1 = 1' : `${k} NOT IN (${told.join(', ')})`) }
}

/**
 * One pass over ours: `there` rows are in base, `paired` of them in ours too, and `differ` of ours are not as in base. Each row
 * has one partner at most, so that none of base is lost where all are paired.
 */
function unlike({ o, b, on }: Pair, { ours, base, columns, types, upTo }: Compared, part: Part): string {
  const among = upTo === null ? '' : ` AND ${o[0]} <= ${upTo}`
  const differs = columns.map((c, i) => dialect.differs(`o.${quoted(c.ours)}`, `b.${quoted(c.base)}`, types[i]))
  const differ = `(${b[0]} IS NULL OR ${differs.join(' OR ')}) AND ${part.out(o)}`
  return `SELECT (SELECT COUNT(*) FROM ${base} AS b WHERE ${part.b}) AS there, COUNT(${b[0]}) AS paired,
    COUNT(CASE WHEN ${differ} THEN 1 END) AS differ FROM ${ours} AS o LEFT JOIN ${base} AS b ON ${on} WHERE ${part.o}${among}`
}

/** How many rows of base ours has no more. */
function lost({ o, b, on }: Pair, { ours, base }: Compared, part: Part): string {
  return `SELECT COUNT(*) AS n FROM ${base} AS b LEFT JOIN ${ours} AS o ON ${on}
    WHERE ${part.b} AND ${o[0]} IS NULL AND ${part.out(b)}`
}

function unlikeCounted({ ours, base, columns, types, touched }: Compared): string {
  const id = (name: (c: Compared['columns'][number]) => string) =>
    dialect.key(columns.map((c, i) => dialect.text(quoted(name(c)), types[i] ?? '')))
  const sides = `SELECT ${id(c => c.ours)} AS id, 1 AS here, 0 AS there FROM ${ours}
    UNION ALL SELECT ${id(c => c.base)}, 0, 1 FROM ${base}`
  return `SELECT COALESCE(SUM(ABS(here - there)), 0) AS n FROM (SELECT id, SUM(here) AS here, SUM(there) AS there FROM (${sides}) AS sides
    GROUP BY id) AS counted WHERE here <> there AND id NOT IN (${touched})`
}
