import { BackoutError } from '../../core/errors.ts'
import type { ArchivedPart } from './archive.ts'

/** Whether what the archive has of a column goes over what its cells hold by now. */
export type Over = (table: string, column: string) => boolean

/** By the words of a person: `theirs`, `TABLE=theirs`, `TABLE.COLUMN=theirs`. Throws `words_unknown`. */
export function overIn(words: readonly string[], parts: readonly ArchivedPart[]): Over {
  const cells = parts.flatMap(({ what, table, columns }) =>
    what === 'cells' && table !== null ? [{ table, columns }] : [],
  )
  const names = cells.flatMap(({ table, columns }) => [table, ...Object.keys(columns).map(c => `${table}.${c}`)])
  const said = words.map(word => {
    const name = /^(?:(.+)=)?theirs$/.exec(word)
    if (name === null) throw unknown(`"${word}" says nothing of what was archived`, names)
    if (name[1] !== undefined && !names.includes(name[1])) throw unknown(`Nothing of ${name[1]} was archived`, names)
    return name[1]
  })
  return (table, column) => said.some(name => name === undefined || name === table || name === `${table}.${column}`)
}

function unknown(what: string, names: readonly string[]): BackoutError {
  const list = names.slice(0, 20).map(name => `${name}=theirs`)
  const next = `say theirs, or one of: ${list.join(', ')}`
  return new BackoutError({ code: 'words_unknown', what, next, exit: 'usage' })
}
