import type { Destroys } from '../down-script.ts'
import { isNamed, isTable, partsOf } from '../recognise.ts'
import type { SchemaDifference } from '../schema.ts'
import type { Live } from './level.ts'
import type { Undo } from './undoing.ts'

/** Scripts that keep the tool's books themselves take their own migration out of them: those in which it stands, and no others. */
export function isOfTheBooks({ does, name }: Destroys, { book }: Undo, { home, own, books, schema }: Live): boolean {
  if (does !== 'deletes from' || book === null) return false
  const others = new Set(books.map(b => b.table).filter(table => table !== book.table))
  const mine = [...own].filter(table => !others.has(table))
  if (mine.some(table => isTable(table, name, home))) return true
  // Without a schema it is where the tool looks first, unless the application has such a table where the connection does.
  const bare = partsOf(name).schema === null && isNamed(book.table, name)
  return bare && !Object.keys(schema.tables).some(table => isTable(table, name, home))
}

/** Whether what a script destroys is gone with something that was added since, and so is counted already. */
export function isCounted(
  destroys: Destroys,
  differences: readonly SchemaDifference[],
  undo: Undo,
  live: Live,
): boolean {
  const { does, object, name } = destroys
  if (object !== 'table' && object !== 'column') return does === 'drops' && object !== 'schema'
  const parts = name.split('.')
  const column = object === 'column' ? (parts.pop() ?? '').toLowerCase() : null
  return meantBy(parts, undo, live).every(table =>
    differences.some(d => {
      if (!isTable(d.table, table, live.home)) return false
      if (d.object === 'table') return d.is === 'added'
      if (d.object !== 'column' || column === null || d.member?.toLowerCase() !== column) return false
      return d.is === 'added' || (d.is === 'changed' && does === 'narrows')
    }),
  )
}

/** The tables that a name in a script may stand for: without a schema, one where the connection looks or where the tool does. */
function meantBy(parts: readonly string[], { book }: Undo, { home, schema }: Live): string[] {
  const [name = '', of] = parts.toReversed()
  const schemas = of === undefined ? [...new Set([home, book?.schema ?? home])] : [of]
  const all = schemas.map(part => [part, name].map(quoted).join('.'))
  const there = all.filter(table => Object.keys(schema.tables).some(t => isTable(t, table, home)))
  return there.length === 0 ? all.slice(0, 1) : there
}

function quoted(part: string): string {
  return `"${part.replaceAll('"', '""')}"`
}
