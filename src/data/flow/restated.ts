import type { SchemaShape } from '../schema.ts'

/** Whether something that is gone is there still, in the words of what was renamed since: UNIQUE (mail) as UNIQUE (email). */
export function isRestated(
  text: string,
  now: readonly string[],
  table: string,
  base: SchemaShape,
  live: SchemaShape,
): boolean {
  const [then, here] = [base.tables[table]?.columns ?? {}, live.tables[table]?.columns ?? {}]
  return [...swaps(then, here), ...swaps(base.tables, live.tables)].some(([was, is]) => {
    const word = new RegExp(
      `(?<![\\p{L}\\p{N}_$])${was.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\p{L}\\p{N}_$])`,
      'gu',
    )
    const said = text.replaceAll(word, () => is)
    return said !== text && now.includes(said)
  })
}

function swaps(then: object, now: object): [was: string, is: string][] {
  const gone = Object.keys(then).filter(name => !(name in now))
  const added = Object.keys(now).filter(name => !(name in then))
  return gone.flatMap(was => added.map((is): [string, string] => [was, is]))
}
