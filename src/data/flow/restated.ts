import type { Narrowed } from './misfits.ts'

/** Whether something that is gone is there still, in the words of what was renamed since: UNIQUE (mail) as UNIQUE (email). */
export function isRestated(text: string, texts: readonly string[], { then, now, base, live }: Narrowed): boolean {
  return [...swaps(then.columns, now.columns), ...swaps(base.tables, live.tables)].some(([was, is]) => {
    const word = new RegExp(
      `(?<![\\p{L}\\p{N}_$])${was.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\p{L}\\p{N}_$])`,
      'gu',
    )
    const said = text.replaceAll(word, () => is)
    return said !== text && texts.includes(said)
  })
}

function swaps(then: object, now: object): [was: string, is: string][] {
  const gone = Object.keys(then).filter(name => !(name in now))
  const added = Object.keys(now).filter(name => !(name in then))
  return gone.flatMap(was => added.map((is): [string, string] => [was, is]))
}
