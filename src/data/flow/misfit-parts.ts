import type { TableShape } from '../schema.ts'
import { askedNumber } from './asked.ts'
import type { Misfit, Narrowed } from './misfits.ts'

/** Rows in partitions that came since: they go with them, where the old partitions do not take them. */
export async function partMisfits({ dialect, db, table, then, now }: Narrowed): Promise<Misfit[]> {
  const [had, has] = [partsOf(then), partsOf(now)]
  // A table that was not divided, or had a part for all else, keeps its rows without the new parts.
  if (had.size === 0 || [...had.values()].some(bounds => /\b(maxvalue|default)\b/i.test(bounds))) return []
  const out: Misfit[] = []
  for (const part of has.keys()) {
    if (had.has(part)) continue
    const from = dialect.kind === 'mysql' ? `${dialect.table(table)} PARTITION (${part})` : part
    const count = await askedNumber(db, `SELECT count(*) AS n FROM ${from}`)
    const why = `${table} has no partition ${part} again`
    if (count !== 0) out.push({ what: `${table} (partition ${part})`, count, unit: 'rows', why })
  }
  return out
}

/** Names of partitions, as SQL, with what they hold. */
function partsOf({ constraints: texts }: TableShape): ReadonlyMap<string, string> {
  // MySQL tells all in one text, PostgreSQL one in each.
  const list = texts.flatMap(
    t => /^partition by .*?\)(?: \w+(?: \w+)? \(.*\))?: (.*)$/is.exec(t)?.[1]?.split(/, (?=\w+ )/) ?? [],
  )
  const own = texts.flatMap(
    t => /^partition (.+) of .+? ((?:FOR VALUES|DEFAULT).*)$/s.exec(t)?.slice(1, 3).join(' ') ?? [],
  )
  return new Map([...list, ...own].map(t => [/^(?:"[^"]*"\.?|[^\s"])+/.exec(t)?.[0] ?? t, t]))
}
