import type { Untold } from '../flow/untold.ts'
import { writtenIn } from '../touched.ts'
import { plain } from '../touched-targets.ts'
import type { MappedColumn, MappedTable } from './mapping.ts'

/** Marks what the migrations may have written where nobody told when they had ended: it is ambiguous who wrote it. */
export function withUntold(untold: Untold | null, table: MappedTable): MappedTable {
  if (untold === null) return table
  const wrote = untold.touched === null ? null : writtenIn([table.theirs, table.ours], untold.touched)
  const isUnsure = (c: MappedColumn) => wrote === null || [c.ours, c.theirs].some(name => wrote.includes(plain(name)))
  const columns = table.columns.map(c => (isUnsure(c) ? { ...c, unsure: true } : c))
  if (wrote !== null) return { ...table, columns }
  return { ...table, columns, unsure: untold.touched === null ? 'gone' : 'rows' }
}
