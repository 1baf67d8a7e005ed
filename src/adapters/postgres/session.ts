import { setTimeout as sleep } from 'node:timers/promises'
import { Client, type CustomTypesConfig, types as known } from 'pg'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Row } from '../../data/engine.ts'
import { explained, heldBy, sqlState } from './errors.ts'
import { type Place, shownPlace, tlsOf } from './place.ts'

/** By this name Backout's own sessions are known in pg_stat_activity. */
export const APPLICATION = 'backout'

const { INT2, INT4, INT8, OID, BOOL, FLOAT4, FLOAT8 } = known.builtins

const PARSERS = new Map<number, (text: string) => unknown>([
  [INT2, Number],
  [INT4, Number],
  [OID, Number],
  [FLOAT4, Number],
  [FLOAT8, Number],
  [BOOL, text => text === 't'],
  [INT8, text => (Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text))],
])

/** Everything else stays the text that the server sent: a Date would lose microseconds, a number digits. */
const types = { getTypeParser: (oid: number) => PARSERS.get(oid) ?? ((text: string) => text) } as CustomTypesConfig

/** The same values have the same text on every server, whatever it or the role was set to. */
const PINNED = [
  "TimeZone = 'UTC'",
  "DateStyle = 'ISO, YMD'",
  "IntervalStyle = 'postgres'",
  'extra_float_digits = 3',
  "bytea_output = 'hex'",
  "lc_monetary = 'C'",
  "xmloption = 'content'",
  'standard_conforming_strings = on',
  'row_security = off',
  'idle_in_transaction_session_timeout = 0',
  'jit = off',
]

const CLOSE_MS = 2_000

export interface Limits {
  readonly lockMs: number
  /** 0: none. */
  readonly statementMs: number
}

export interface Session extends AsyncDisposable {
  /** For people: "shop on db1:5432". */
  readonly name: string
  readonly pid: number
  readonly client: Client
  readonly signal: AbortSignal
  /** Throws what `explained` says. */
  query(sql: string, values?: readonly unknown[]): Promise<Row[]>
  /** Rows as lists, for more columns than an object's names are worth. */
  arrays(sql: string): Promise<{ rows: unknown[][] }>
  /** The number of rows that were touched. */
  run(sql: string, values?: readonly unknown[]): Promise<number>
}

/**
 * Connects. When the signal aborts, what the server is doing for this session is cancelled and the session ends.
 * Throws `database_unreachable`, `database_denied`, `database_missing`, `database_busy`.
 */
export async function openSession(
  place: Place,
  database: string,
  limits: Limits,
  signal: AbortSignal,
): Promise<Session> {
  signal.throwIfAborted()
  const name = shownPlace(place, database)
  const client = await connect(place, database).catch((error: unknown) => {
    throw explained(name, error)
  })
  const pid = (client as unknown as { processID: number }).processID
  const onAbort = () => void cancel(place, client, pid)
  signal.addEventListener('abort', onAbort, { once: true })
  let last: Promise<unknown> = Promise.resolve()
  // One statement after the other: who asks for several at a time need not know that they share a session.
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work)
    last = done.catch(() => {})
    return done
  }
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted()
    try {
      return await inTurn(work)
    } catch (error) {
      signal.throwIfAborted()
      throw sqlState(error) === '55P03'
        ? heldBy(name, error, await lockHolders(place, database))
        : explained(name, error)
    }
  }
  const ask = (sql: string, values?: readonly unknown[]) =>
    guarded(() => client.query(sql, values as unknown[] | undefined))
  const session: Session = {
    name,
    pid,
    client,
    signal,
    query: async (sql, values) => (await ask(sql, values)).rows as Row[],
    arrays: text => guarded(() => client.query<unknown[]>({ text, rowMode: 'array' })),
    run: async (sql, values) => (await ask(sql, values)).rowCount ?? 0,
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', onAbort)
      // What is in the middle of a copy may never answer.
      await Promise.race([client.end().catch(() => {}), sleep(CLOSE_MS, null, { ref: false })])
      socketOf(client).destroy()
    },
  }
  try {
    await session.query([...PINNED, ...limitsOf(limits)].map(setting => `SET ${setting}`).join('; '))
    return session
  } catch (error) {
    await session[Symbol.asyncDispose]()
    throw error
  }
}

function limitsOf(limits: Limits): string[] {
  return [`lock_timeout = ${limits.lockMs}`, `statement_timeout = ${limits.statementMs}`]
}

async function connect(place: Place, database: string): Promise<Client> {
  const ssl = await tlsOf(place)
  try {
    return await connectOnce(place, database, ssl)
  } catch (error) {
    const plain = place.ssl.mode === 'prefer' && messageOf(error).includes('does not support SSL')
    if (!plain) throw error
    return connectOnce(place, database, false)
  }
}

async function connectOnce(place: Place, database: string, ssl: Awaited<ReturnType<typeof tlsOf>>): Promise<Client> {
  const { host, port, user, password, connectMs } = place
  const client = new Client({
    host,
    port,
    user,
    ...(password === null ? {} : { password: password.reveal() }),
    database,
    ssl,
    types,
    application_name: APPLICATION,
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
  })
  // A connection that is lost while nobody waits for an answer is told by the next query.
  client.on('error', () => {})
  try {
    await client.connect()
    return client
  } catch (error) {
    await client.end().catch(() => {})
    throw error
  }
}

/** Ends the statement in the server too: it would go on reading for nobody. */
async function cancel(place: Place, client: Client, pid: number): Promise<void> {
  const other = await connect(place, client.database ?? 'postgres').catch(() => null)
  await other?.query('SELECT pg_terminate_backend($1)', [pid]).catch(() => {})
  await other?.end().catch(() => {})
  socketOf(client).destroy()
}

function socketOf(client: Client): { destroy(): void } {
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream
}

const LOCKS = `
  SELECT DISTINCT format('%s (%s, process %s)', usename, coalesce(nullif(application_name, ''), 'no name'), a.pid)
    || coalesce(format(' which holds a lock on %s', min(l.relation::regclass::text)), '')
    || coalesce(' since ' || to_char(min(a.xact_start) AT TIME ZONE 'UTC', 'HH24:MI:SS') || ' UTC', '') AS who
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND l.mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock') AND l.locktype = 'relation'
  GROUP BY a.pid, usename, application_name`

/** Who holds strong locks right now; '' where nobody is seen. */
export async function lockHolders(place: Place, database: string): Promise<string> {
  const client = await connect(place, database).catch(() => null)
  if (client === null) return ''
  try {
    const { rows } = await client.query<{ who: string }>(LOCKS)
    return rows.map(row => row.who).join(', ')
  } catch {
    return ''
  } finally {
    await client.end()
  }
}

/** The first column of the first row as text. Throws where there is no row. */
export async function one(session: Pick<Session, 'query' | 'name'>, sql: string, values?: unknown[]): Promise<string> {
  const [row] = await session.query(sql, values)
  if (row === undefined)
    throw new BackoutError({ code: 'database_failed', what: `${session.name} gave no row: ${sql}` })
  return String(Object.values(row)[0])
}

/** A field as the text that it is; null for NULL. */
export function textOf(row: Row | undefined, name: string): string | null {
  const value = row?.[name] as string | number | bigint | boolean | null | undefined
  return value === null || value === undefined ? null : String(value)
}

const ROWS_AT_ONCE = 2_000

/** Gives the rows one by one, so that memory stays flat. `alone`: outside of a transaction. */
export async function eachRow(
  session: Session,
  sql: string,
  values: readonly unknown[],
  give: (row: Row) => void | Promise<void>,
  alone = false,
): Promise<void> {
  await session.query(`DECLARE backout_rows NO SCROLL CURSOR ${alone ? 'WITH HOLD' : ''} FOR ${sql}`, values)
  try {
    for (;;) {
      const rows = await session.query(`FETCH ${ROWS_AT_ONCE} FROM backout_rows`)
      for (const row of rows) await give(row)
      if (rows.length < ROWS_AT_ONCE) return
    }
  } finally {
    // Where the transaction failed, the cursor went with it, and the error to tell is another one.
    await session.query('CLOSE backout_rows').catch(() => {})
  }
}
