import type { Reader } from '../../../data/engine.ts'
import type { Fingerprint } from '../../../data/fingerprint.ts'
import type { SchemaShape } from '../../../data/schema.ts'
import type { PostgresServer } from '../../../../test/support/postgres.ts'
import { postgresConnectionShape } from '../config.ts'
import { postgresEngine, type PostgresEngine } from '../engine.ts'

export const never = new AbortController().signal

export function engineOf(server: PostgresServer, database: string, more: object = {}): PostgresEngine {
  return postgresEngine(postgresConnectionShape.parse(server.settings(database, more)), '/')
}

export interface Seen {
  readonly schema: SchemaShape
  readonly data: Fingerprint
}

/** Schema and data of one snapshot. */
export async function seen(db: Reader): Promise<Seen> {
  const schema = await db.schema()
  return { schema, data: await db.fingerprint(schema) }
}

export function look(engine: PostgresEngine): Promise<Seen> {
  return engine.reading(never, seen)
}
