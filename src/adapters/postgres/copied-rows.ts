import { pipeline } from 'node:stream/promises'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { sweeping } from '../../data/sweeping.ts'
import { explained } from './errors.ts'
import type { Session } from './session.ts'
import type { Column } from './values.ts'

/** Types that are sent in the same bytes by every server, and name no object of a database in them. */
const PLAIN = [
  'int2',
  'int4',
  'int8',
  'bool',
  'float4',
  'float8',
  'numeric',
  'text',
  'varchar',
  'bytea',
  'uuid',
  'date',
]

export function isPlain({ builtin, type }: Column): boolean {
  return builtin && (PLAIN.includes(type) || type === 'timestamp' || type === 'timestamptz')
}

/** From one session into another. Returns how many rows that were. */
export async function copyRows(from: Session, out: string, to: Session, in_: string): Promise<number> {
  const rows = from.client.query(copyTo(out)).on('data', sweeping())
  const into = to.client.query(copyFrom(in_))
  try {
    await pipeline(rows, into)
    return into.rowCount ?? 0
  } catch (error) {
    from.signal.throwIfAborted()
    throw explained(from.name, error)
  }
}
