import type { Dialect } from '../engine.ts'
import { foreignKeyIn } from '../references.ts'
import type { SchemaShape } from '../schema.ts'
import { askedNumber } from './asked.ts'
import type { Misfit, Narrowed } from './misfits.ts'
import { isRestated } from './restated.ts'

/** One that was released from its bonds since: the live columns that it names, by the names of then. */
interface Again {
  readonly what: string
  readonly why: string
  /** True for rows that break it; the table is seen as `x`. */
  readonly broken: string
}

/** One that is not enforced refuses nothing. */
const BOND = /^(partition [^:]+: )?(check|foreign key)\b(?!.* not enforced$)/is

/** Rows that break a check or refer to nothing by a foreign key of the release that is gone now, and comes back. */
export async function bondMisfits(narrowed: Narrowed): Promise<Misfit[]> {
  const { dialect, db, table, then, now, base, live } = narrowed
  const out: Misfit[] = []
  for (const text of then.constraints.filter(c => BOND.test(c) && !now.constraints.includes(c))) {
    if (isRestated(text, now.constraints, narrowed)) continue
    const again = checkAgain(table, text, base, live) ?? referenceAgain(dialect, table, text, live)
    const ask = `SELECT count(*) AS n FROM ${dialect.table(table)} AS x WHERE ${again?.broken}`
    const count = again === null ? null : await askedNumber(db, ask)
    const { what, why } = again ?? { what: text, why: `${text} binds ${table} again` }
    if (count !== 0) out.push({ what: `${table} (${what})`, count, unit: 'rows', why })
  }
  return out
}

/** The condition as the database tells it. A function of the schema's own must be what it was: else it says another thing. */
function checkAgain(table: string, text: string, base: SchemaShape, live: SchemaShape): Again | null {
  const condition = /^check (\(.*\))(?: no inherit| not valid)*$/i.exec(text)?.[1]
  if (condition === undefined || !isSayable(condition, base, live)) return null
  return { what: `breaks ${text}`, why: `${text} binds ${table} again`, broken: `NOT ${condition}` }
}

function isSayable(condition: string, base: SchemaShape, live: SchemaShape): boolean {
  const words = new Set(condition.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_$]*/gu))
  return Object.entries(base.others).every(([name, text]) => {
    const own = /^function (?:[^(]*\.)?"?([^(".]+)/.exec(name)?.[1]?.toLowerCase()
    return own === undefined || !words.has(own) || live.others[name] === text
  })
}

function referenceAgain(dialect: Dialect, table: string, text: string, live: SchemaShape): Again | null {
  const found = foreignKeyIn(text, live.tables[table], live)
  if (found === null) return null
  const { columns: from, table: to, to: into } = found
  const at = (alias: string, name: string) => `${alias}.${dialect.quote(name)}`
  const filled = from.map(name => `${at('x', name)} IS NOT NULL`)
  const same = from.map((name, i) => `${at('y', into[i] ?? '')} = ${at('x', name)}`)
  return {
    what: `${from.join(', ')} of no ${to}`,
    why: `${from.join(', ')} of ${table} refers to ${to} again`,
    broken: `${filled.join(' AND ')} AND NOT EXISTS (SELECT 1 FROM ${dialect.table(to)} AS y WHERE ${same.join(' AND ')})`,
  }
}
