import type { Staged } from '../../data/engine.ts'
import { dialect } from './dialect.ts'
import { quoted, text } from './names.ts'
import type { Session } from './session.ts'

export interface Compared extends Pick<Staged, 'key' | 'columns'> {
  /** SQL names of the tables. */
  readonly ours: string
  readonly base: string
  readonly types: readonly string[]
  /** The rows to leave out. */
  readonly touched: string
}

/** How many rows that are not left out one side has and the other has not, or not as they are. */
export async function untouched(db: Session, compared: Compared): Promise<number> {
  if (compared.key.length === 0) return count(db, unlikeCounted(compared))
  const pair = pairOf(compared)
  const [row] = await db.query(unlike(pair, compared))
  const [there, both, differ] = ['there', 'paired', 'differ'].map(name => Number(text(row?.[name])))
  return there === both ? (differ ?? 0) : (differ ?? 0) + (await count(db, lost(pair, compared)))
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

/**
 * One pass over ours: `there` rows are in base, `paired` of them in ours too, and `differ` of ours are not as in base. Each row
 * has one partner at most, so that none of base is lost where all are paired.
 */
function unlike({ o, b, on }: Pair, { ours, base, columns, types, touched }: Compared): string {
  const differs = columns.map((c, i) => dialect.differs(`o.${quoted(c.ours)}`, `b.${quoted(c.base)}`, types[i]))
  const differ = `(${b[0]} IS NULL OR ${differs.join(' OR ')}) AND (${o.join(', ')}) NOT IN (${touched})`
  return `SELECT (SELECT COUNT(*) FROM ${base}) AS there, COUNT(${b[0]}) AS paired,
    COUNT(CASE WHEN ${differ} THEN 1 END) AS differ FROM ${ours} AS o LEFT JOIN ${base} AS b ON ${on}`
}

/** How many rows of base ours has no more. */
function lost({ o, b, on }: Pair, { ours, base, touched }: Compared): string {
  return `SELECT COUNT(*) AS n FROM ${base} AS b LEFT JOIN ${ours} AS o ON ${on}
    WHERE ${o[0]} IS NULL AND (${b.join(', ')}) NOT IN (${touched})`
}

function unlikeCounted({ ours, base, columns, types, touched }: Compared): string {
  const id = (name: (c: Compared['columns'][number]) => string) =>
    dialect.key(columns.map((c, i) => dialect.text(quoted(name(c)), types[i] ?? '')))
  const sides = `SELECT ${id(c => c.ours)} AS id, 1 AS here, 0 AS there FROM ${ours}
    UNION ALL SELECT ${id(c => c.base)}, 0, 1 FROM ${base}`
  return `SELECT COALESCE(SUM(ABS(here - there)), 0) AS n FROM (SELECT id, SUM(here) AS here, SUM(there) AS there FROM (${sides}) AS sides
    GROUP BY id) AS counted WHERE here <> there AND id NOT IN (${touched})`
}
