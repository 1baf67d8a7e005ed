import type { Dialect, Reader } from '../engine.ts'
import type { SchemaShape, TableShape } from '../schema.ts'
import { askedNumber } from './asked.ts'
import type { Misfit } from './misfits.ts'

/** Rows in partitions that came since: they go with them, where the old partitions do not take them. */
export async function partMisfits(
  dialect: Dialect,
  db: Reader,
  table: string,
  base: SchemaShape,
  live: SchemaShape,
): Promise<Misfit[]> {
  const [then, now] = [partsOf(base.tables[table]), partsOf(live.tables[table])]
  // A table that was not divided, or had a part for all else, keeps its rows without the new parts.
  if (then.size === 0 || [...then.values()].some(bounds => /\b(maxvalue|default)\b/i.test(bounds))) return []
  const out: Misfit[] = []
  for (const part of now.keys()) {
    if (then.has(part)) continue
    const from = dialect.kind === 'mysql' ? `${dialect.table(table)} PARTITION (${part})` : part
    const count = await askedNumber(db, `SELECT count(*) AS n FROM ${from}`)
    const why = `${table} has no partition ${part} again`
    if (count !== 0) out.push({ what: `${table} (partition ${part})`, count, unit: 'rows', why })
  }
  return out
}

/** Names of partitions, as SQL, with what they hold. */
function partsOf(table: TableShape | undefined): ReadonlyMap<string, string> {
  const texts = table?.constraints ?? []
  // MySQL tells all in one text, PostgreSQL one in each.
  const list = texts.flatMap(
    t => /^partition by .*?\)(?: \w+(?: \w+)? \(.*\))?: (.*)$/is.exec(t)?.[1]?.split(/, (?=\w+ )/) ?? [],
  )
  const own = texts.flatMap(
    t => /^partition (.+) of .+? ((?:FOR VALUES|DEFAULT).*)$/s.exec(t)?.slice(1, 3).join(' ') ?? [],
  )
  return new Map([...list, ...own].map(t => [/^(?:"[^"]*"\.?|[^\s"])+/.exec(t)?.[0] ?? t, t]))
}
