import { BackoutError } from '../../core/errors.ts'
import { codeOf } from './errors.ts'
import { blockers } from './holders.ts'
import { tableSql } from './names.ts'
import type { Extent } from './schema.ts'
import { type Access, connect, nameOf, type Session } from './session.ts'

export interface Still extends AsyncDisposable {
  /** Lets writers go on, but for those of tables that no snapshot holds. */
  release(): Promise<void>
}

/**
 * Makes writes wait until `release`, so that several sessions can begin at one instant. Tables without transactions stay
 * locked until the end: nothing else keeps what is read of them together. Throws `database_busy`, `database_denied`.
 */
export async function holdStill(
  access: Access,
  database: string,
  how: 'brief' | 'never',
  tables: ReadonlyMap<string, Extent>,
  signal: AbortSignal,
): Promise<Still> {
  const loose = [...tables].filter(([, e]) => e.loose).map(([table]) => table)
  await using made = new AsyncDisposableStack()
  if (loose.length > 0) await lockTables(made.use(await connect(access, database, signal)), access, database, loose)
  const whole = made.use(await connect(access, database, signal))
  const stopped = how === 'brief' && (await stopServer(whole))
  if (!stopped) await lockTables(whole, access, database, [...tables.keys()])
  const kept = made.move()
  return {
    release: async () => void (await whole.run('UNLOCK TABLES')),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** False where the right is missing, or a long statement is in the way. */
async function stopServer(session: Session): Promise<boolean> {
  try {
    await session.run('SET SESSION lock_wait_timeout = 1')
    await session.run('FLUSH TABLES WITH READ LOCK')
    return true
  } catch (error) {
    const known = error instanceof BackoutError && ['database_denied', 'database_busy'].includes(error.code)
    if (!known) throw error
    return false
  }
}

/** Nobody writes to these tables as long as the session lives. Throws `database_busy`, `database_denied`. */
export async function lockTables(
  session: Session,
  access: Access,
  database: string,
  tables: readonly string[],
): Promise<void> {
  if (tables.length === 0) return
  const wait = Math.max(1, Math.ceil(access.busyLimit / 1000))
  await session.run(`SET SESSION lock_wait_timeout = ${wait}`)
  try {
    await session.run(`LOCK TABLES ${tables.map(t => `${tableSql(t, database)} READ`).join(', ')}`)
  } catch (error) {
    if (codeOf(error instanceof BackoutError ? error.cause : error) !== 1205) throw error
    const who = await blockers(session, access, database)
    throw new BackoutError({
      code: 'database_busy',
      what: `The tables of ${nameOf(access.server, database)} could not be locked for the moment in which a dump begins`,
      cause: who === '' ? 'another session has a transaction open' : who,
      next: 'end that transaction, then try again',
      exit: 'failed',
      from: error,
    })
  }
}
