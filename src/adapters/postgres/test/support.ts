import { memoryBackups } from '../../../../test/conformance/stores.ts'
import type { PostgresServer } from '../../../../test/support/postgres.ts'
import type { Backup } from '../../../core/contract.ts'
import { toJson } from '../../../core/json.ts'
import type { Dumped, Engine, Image, Job, Reader } from '../../../data/engine.ts'
import type { Fingerprint } from '../../../data/fingerprint.ts'
import type { SchemaShape } from '../../../data/schema.ts'
import { postgresConnectionShape } from '../config.ts'
import { postgresEngine } from '../engine.ts'
import { imageOf } from '../image.ts'
import { placesOf } from '../place.ts'
import { openSession, type Session } from '../session.ts'

export const never = new AbortController().signal

export const job: Job = { signal: never, guard: () => {}, progress: () => {} }

/** All that is needed to reach a server. */
export type Reached = Pick<PostgresServer, 'settings'>

export function engineOf(server: Reached, database: string, more: object = {}): Engine {
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

export function look(engine: Engine): Promise<Seen> {
  return engine.reading(never, seen)
}

const backups = memoryBackups()

/** A backup as the rungs make it: dumped, what was read meanwhile, and sealed. */
export async function backUp<T = Seen>(
  engine: Engine,
  work: (db: Reader) => Promise<T> = seen as (db: Reader) => Promise<T>,
  during: Job = job,
): Promise<{ backup: Backup; dumped: Dumped; read: T }> {
  const draft = await backups.begin({ component: 'db', reason: 'capture', release: 'good' })
  const { dumped, read } = await engine.dump(draft.dir, during, work)
  return { backup: await draft.seal(toJson({ dump: dumped })), dumped, read }
}

/** Runs `work` in a session of Backout's on the database that is always there. */
export async function openOn<T>(server: PostgresServer, work: (session: Session) => Promise<T>): Promise<T> {
  const { live } = placesOf(postgresConnectionShape.parse(server.settings('postgres')), '/')
  await using session = await openSession(live, 'postgres', { lockMs: 5_000, statementMs: 0 }, never)
  return await work(session)
}

/** A database of the server, as it lies beside the live one. */
export function imageAt(server: Reached, database: string): Image {
  const { live } = placesOf(postgresConnectionShape.parse(server.settings(database)), '/')
  return imageOf({ place: live, database, limits: { lockMs: 5_000, statementMs: 0 }, parallel: 1, home: null })
}
