import { messageOf } from '../core/errors.ts'
import { readStatements } from './down-script-words.ts'
import type { Dialect } from './engine.ts'

/** One thing in a script that destroys something, or makes it narrower. */
export interface Destroys {
  readonly does: 'drops' | 'narrows' | 'deletes from' | 'changes' | 'empties'
  readonly object: 'table' | 'column' | 'type' | 'schema' | 'view' | 'constraint'
  /** As the script names it: "orders", "orders.discount", "sales.orders". */
  readonly name: string
}

export interface ReadScript {
  readonly destroys: readonly Destroys[]
  /** Statements that nobody can read ahead, and why; empty: all was read. For people. */
  readonly unread: readonly string[]
}

/** What SQL that undoes a migration would destroy. PostgreSQL's own parser reads it for PostgreSQL, a tokenizer otherwise. */
export async function readScript(sql: string, kind: Dialect['kind']): Promise<ReadScript> {
  if (kind !== 'postgres') return readStatements(sql, kind)
  try {
    const { readPostgres } = await import('./down-script-postgres.ts')
    return await readPostgres(sql)
  } catch (error) {
    return { destroys: [], unread: [messageOf(error)] }
  }
}

/** For people: "drops the column orders.discount". */
export function said({ does, object, name }: Destroys): string {
  return `${does} ${object === 'table' && does !== 'drops' ? '' : `the ${object} `}${name}`
}
