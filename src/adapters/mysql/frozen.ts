import type { MysqlImage } from './image.ts'
import { extents } from './schema.ts'
import { connect, type Session } from './session.ts'
import { lockTables } from './still.ts'

/** Images that nobody can write to. The locks go with their sessions, however these end. */
export interface Frozen extends AsyncDisposable {
  /** The locks are still held, as they were all the time. */
  holds(): Promise<boolean>
}

/** Other nodes of a Galera cluster write however this one is locked. */
async function inCluster(session: Session): Promise<boolean> {
  const [row] = await session.query("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
  return row?.['Value'] === 'ON'
}

/** null: they cannot be had now. The right to lock is missing, or somebody has one of the tables open for writing. */
export async function freeze(images: readonly MysqlImage[], signal: AbortSignal): Promise<Frozen | null> {
  await using stack = new AsyncDisposableStack()
  const sessions: Session[] = []
  try {
    for (const { access, database } of images) {
      const session = stack.use(await connect(access, database, signal))
      if (await inCluster(session)) return null
      await lockTables(session, access, database, [...(await extents(session, database)).keys()])
      sessions.push(session)
    }
  } catch {
    signal.throwIfAborted()
    return null
  }
  const kept = stack.move()
  return {
    async holds() {
      try {
        for (const session of sessions) await session.query('DO 0')
        return true
      } catch {
        signal.throwIfAborted()
        return false
      }
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
