import type { Reader } from '../../data/engine.ts'
import { recased } from '../../data/renames.ts'
import type { Fingerprint } from '../../data/fingerprint.ts'
import { fingerprint, type Lanes } from './fingerprint.ts'
import { extents, readSchema, rowCounts } from './schema.ts'
import { type Access, connect, type Session } from './session.ts'

export const BEGIN = 'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY'
/** From so much on, a second session pays for itself. Bytes. */
export const LARGE = 32 * 1024 * 1024
export const LANES = 2
const TRIES = 3

/** How several sessions come to see one instant. */
export type Sharing =
  /** Nobody writes. */
  | 'frozen'
  /** The server stands still for a moment, where it can at once. */
  | 'brief'
  /** One session only. */
  | 'never'

/** Runs `work` on as many sessions of one instant as the size of the database is worth. */
export async function inSnapshot<T>(
  access: Access,
  database: string,
  sharing: Sharing,
  signal: AbortSignal,
  work: (db: Reader) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack()
  const first = stack.use(await connect(access, database, signal))
  const known = await extents(first, database)
  const bytes = [...known.values()].reduce((sum, e) => sum + e.bytes, 0)
  const sessions: [Session, ...Session[]] = [first]
  if (bytes >= LARGE && sharing !== 'never') {
    for (let i = 1; i < LANES; i++) sessions.push(stack.use(await connect(access, database, signal)))
  }
  const shared = await begin(access, sessions, sharing, signal)
  return await work(readerOn({ sessions: shared ? sessions : [first], database, extents: known }))
}

/** Opens the snapshots. False where only the first session has one, because the instant could not be shared. */
async function begin(
  access: Access,
  sessions: [Session, ...Session[]],
  sharing: Sharing,
  signal: AbortSignal,
): Promise<boolean> {
  const all = () => Promise.all(sessions.map(s => s.run(BEGIN)))
  if (sessions.length === 1 || sharing === 'frozen') {
    await all()
    return true
  }
  await using lock = await connect(access, null, signal)
  for (let tries = 0; tries < TRIES; tries++) {
    if (!(await standStill(lock))) continue
    await all()
    await lock.run('UNLOCK TABLES')
    return true
  }
  await sessions[0].run(BEGIN)
  return false
}

/** Only where it can be had at once: a lock that waits holds up everybody behind it. */
async function standStill(session: Session): Promise<boolean> {
  try {
    await session.run(`SET SESSION lock_wait_timeout = ${session.flavour.mariadb ? 0 : 1}`)
    await session.run('FLUSH TABLES WITH READ LOCK')
    return true
  } catch {
    return false
  }
}

/** What a database says, to whoever reads it in a snapshot. */
export function readerOn(lanes: Lanes): Reader {
  const [first] = lanes.sessions
  const { database } = lanes
  return {
    query: (sql, values) => first.query(sql, values),
    each: (sql, values, row) => first.each(sql, values, row),
    schema: () => readSchema(first, database),
    fingerprint: (schema, part, method): Promise<Fingerprint> => fingerprint(lanes, schema, part, method),
    rowCounts: schema => rowCounts(first, schema, database),
    bytes: async () => {
      const sql = `SELECT SUM(DATA_LENGTH + INDEX_LENGTH) AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?`
      const [row] = await first.query(sql, [database])
      return Number(row?.['n'] ?? 0)
    },
    // The server has no ids that survive a rename.
    // Tables are files, whose names the server tells apart where the machine does.
    renames: async (base, _data, now) => recased(base, now, false),
  }
}
