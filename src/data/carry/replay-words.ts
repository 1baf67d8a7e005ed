import { BackoutError } from '../../core/errors.ts'
import type { ArchivedPart } from './archive.ts'

/** Whether what the archive has of a column goes over what its cells hold by now. */
export type Over = (table: string, column: string) => boolean

/** What persons said of what was archived. */
export interface Said {
  readonly over: Over
  /** Whether what was listed as a conflict of this kind is put back. */
  readonly listed: (word: string) => boolean
  /** Rows of the table under the keys that were archived are the same ones, though nothing of them is as it was. */
  readonly same: (table: string) => boolean
}

/**
 * By the words of a person: `theirs`, `TABLE=theirs`, `TABLE.COLUMN=theirs`; of conflicts, as `known` has them,
 * `TABLE:KIND=theirs` and `KIND=theirs`; of rows that may be others, `TABLE:another=theirs`. Throws `words_unknown`.
 */
export function saidIn(words: readonly string[], parts: readonly ArchivedPart[], known: ReadonlySet<string>): Said {
  const kinds = [...known].map(word => word.slice(word.lastIndexOf(':') + 1))
  const ofConflicts = words.flatMap(word => {
    const name = word.endsWith('=theirs') ? word.slice(0, -'=theirs'.length) : ''
    return known.has(name) || kinds.includes(name) ? [name] : []
  })
  const others = words.filter(word => !ofConflicts.includes(word.slice(0, -'=theirs'.length)))
  return {
    over: overIn(others, parts, known),
    same: table => words.includes(`${anotherOf(table)}=theirs`),
    listed: word => ofConflicts.some(name => name === word || name === word.slice(word.lastIndexOf(':') + 1)),
  }
}

function overIn(words: readonly string[], parts: readonly ArchivedPart[], known: ReadonlySet<string>): Over {
  const cells = parts.flatMap(({ what, table, columns }) =>
    what === 'cells' && table !== null ? [{ table, columns }] : [],
  )
  const doubted = parts.flatMap(({ what, table }) => (what === 'whose' && table !== null ? [anotherOf(table)] : []))
  const own = cells.flatMap(({ table, columns }) => [table, ...Object.keys(columns).map(c => `${table}.${c}`)])
  const names = [...own, ...doubted]
  const all = [...names, ...known]
  const said = words.map(word => {
    const name = /^(?:(.+)=)?theirs$/.exec(word)
    if (name === null) throw unknown(`"${word}" says nothing of what was archived`, all)
    if (name[1] !== undefined && !names.includes(name[1])) throw unknown(`Nothing of ${name[1]} was archived`, all)
    return name[1]
  })
  return (table, column) => said.some(name => name === undefined || name === table || name === `${table}.${column}`)
}

function anotherOf(table: string): string {
  return `${table}:another`
}

function unknown(what: string, names: readonly string[]): BackoutError {
  const list = names.slice(0, 20).map(name => `${name}=theirs`)
  const next = `say theirs, or one of: ${list.join(', ')}`
  return new BackoutError({ code: 'words_unknown', what, next, exit: 'usage' })
}
