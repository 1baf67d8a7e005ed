import type { Dialect, Reader } from '../engine.ts'
import type { SchemaShape, TableShape } from '../schema.ts'
import type { Misfit } from './misfits.ts'

/** One that was released from its bonds since: the live columns that it names, by the names of then. */
interface Again {
  readonly what: string
  readonly why: string
  /** True for rows that break it; the table is seen as `x`. */
  readonly broken: string
}

/** Rows that break a check or refer to nothing by a foreign key of the release that is gone now, and comes back. */
export async function bondMisfits(
  dialect: Dialect,
  db: Reader,
  table: string,
  base: SchemaShape,
  live: SchemaShape,
): Promise<Misfit[]> {
  const [then, now] = [base.tables[table], live.tables[table]]
  if (then === undefined || now === undefined) return []
  const out: Misfit[] = []
  for (const text of then.constraints.filter(c => !now.constraints.includes(c))) {
    const again = checkAgain(table, text, base, live) ?? referenceAgain(dialect, table, text, live)
    if (again === null) continue
    const [row] = await db.query(`SELECT count(*) AS n FROM ${dialect.table(table)} AS x WHERE ${again.broken}`)
    const count = Number(row?.['n'] ?? 0)
    if (count > 0) out.push({ what: `${table} (${again.what})`, count, unit: 'rows', why: again.why })
  }
  return out
}

/** The condition as the database tells it. It is asked only where all that it names is as it was: else nobody can say it. */
function checkAgain(table: string, text: string, base: SchemaShape, live: SchemaShape): Again | null {
  const condition = /^check (\(.*\))(?: no inherit| not valid)*$/i.exec(text)?.[1]
  if (condition === undefined || !isSayable(condition, table, base, live)) return null
  return { what: `breaks ${text}`, why: `${text} binds ${table} again`, broken: `NOT ${condition}` }
}

function isSayable(condition: string, table: string, base: SchemaShape, live: SchemaShape): boolean {
  const words = new Set(condition.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_$]*/gu))
  const columns = Object.entries(base.tables[table]?.columns ?? {})
  const named = columns.filter(([name]) => words.has(name.toLowerCase()) || condition.includes(name))
  const same = named.every(([name, column]) => live.tables[table]?.columns[name]?.type === column.type)
  const own = Object.keys(base.others).map(name => /^function (?:[^(]*\.)?"?([^(".]+)/.exec(name)?.[1]?.toLowerCase())
  return named.length > 0 && same && !own.some(name => name !== undefined && words.has(name))
}

function referenceAgain(dialect: Dialect, table: string, text: string, live: SchemaShape): Again | null {
  const found = /^foreign key \(([^()]+)\) references ([^()]+?) ?\(([^()]*)\)/i.exec(text)
  const [now, to] = [live.tables[table], tableNamed(live, found?.[2])]
  const parent = to === null ? undefined : live.tables[to]
  if (found === null || now === undefined || to === null || parent === undefined) return null
  const from = columnsIn(now, found[1])
  const into = found[3] === '' ? [...parent.key] : columnsIn(parent, found[3])
  if (from === null || into === null || from.length !== into.length) return null
  const alike = from.every((name, i) => now.columns[name]?.type === parent.columns[into[i] ?? '']?.type)
  if (!alike) return null
  const at = (alias: string, name: string) => `${alias}.${dialect.quote(name)}`
  const filled = from.map(name => `${at('x', name)} IS NOT NULL`)
  const same = from.map((name, i) => `${at('y', into[i] ?? '')} = ${at('x', name)}`)
  return {
    what: `${from.join(', ')} of no ${to}`,
    why: `${from.join(', ')} of ${table} refers to ${to} again`,
    broken: `${filled.join(' AND ')} AND NOT EXISTS (SELECT 1 FROM ${dialect.table(to)} AS y WHERE ${same.join(' AND ')})`,
  }
}

function tableNamed({ tables }: SchemaShape, name: string | undefined): string | null {
  const wanted = name === undefined ? null : bare(name)
  return Object.keys(tables).find(t => bare(t) === wanted) ?? null
}

/** The columns of a list, as the table calls them; null where it lacks one. */
export function columnsIn(table: TableShape, list: string | undefined): string[] | null {
  const names = Object.keys(table.columns)
  const columns = list?.split(',').map(word => names.find(name => bare(name) === bare(word)) ?? null)
  return columns === undefined || columns.includes(null) ? null : columns.filter(c => c !== null)
}

function bare(name: string): string {
  return name.trim().replaceAll(/["`]/g, '').toLowerCase()
}
