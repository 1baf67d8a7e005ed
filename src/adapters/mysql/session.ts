import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { addAbortSignal, type Readable } from 'node:stream'
import type { Connection, ConnectionOptions, ResultSetHeader } from 'mysql2/promise'
import { reveal } from '../../core/secret.ts'
import type { Row } from '../../data/engine.ts'
import type { ServerSettings } from './config.ts'
import { explained } from './errors.ts'
import { text } from './names.ts'

/** Standard SQL as far as the server can; values that it would not take today (zero dates) are read as they are. */
const READ_MODE = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'

/** Refuses what does not fit, and changes nothing that it is given: 0 stays 0 in a column that counts by itself. */
export const WRITE_MODE = `${READ_MODE},STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION`

export interface Flavour {
  readonly mariadb: boolean
  /** "10.11.18-MariaDB". */
  readonly version: string
  /** 101118 for 10.11.18. */
  readonly number: number
}

export interface Access {
  readonly server: ServerSettings
  /** Relative paths are resolved against this folder. */
  readonly baseDir: string
  /** Milliseconds. */
  readonly connectLimit: number
  readonly busyLimit: number
  /** Ids of the sessions that are open now. */
  readonly own: Set<number>
  /** Told of every statement before it is sent. */
  readonly before?: (sql: string) => void
}

/** One connection, with everything pinned that would change how values read. */
export interface Session extends AsyncDisposable {
  readonly id: number
  readonly flavour: Flavour
  /** For messages. */
  readonly name: string
  /** Its sql_mode. */
  readonly mode: string
  /** Values go apart from the statement, as bound parameters. */
  query(sql: string, values?: readonly unknown[]): Promise<Row[]>
  /** Rows one by one: for more than memory should hold. Nothing else may be asked meanwhile. */
  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void>
  /** Returns how many rows were touched. */
  run(sql: string, values?: readonly unknown[]): Promise<number>
}

/** Connects. When `signal` aborts, whatever the session does is stopped on the server as well. */
export async function connect(
  access: Access,
  database: string | null,
  signal: AbortSignal,
  mode = READ_MODE,
): Promise<Session> {
  signal.throwIfAborted()
  const name = nameOf(access.server, database)
  const { createConnection } = await import('mysql2/promise')
  let link: Connection | null = null
  try {
    link = await createConnection(await optionsOf(access, database))
    const flavour = await pin(link, access, mode)
    access.own.add(link.threadId ?? 0)
    return sessionOn(link, access, { flavour, name, mode }, signal)
  } catch (error) {
    link?.destroy()
    throw explained(name, error)
  }
}

export function nameOf(server: ServerSettings, database: string | null): string {
  const where = server.socket ?? `${server.host}:${server.port}`
  return database === null ? where : `${database} on ${where}`
}

async function optionsOf(access: Access, database: string | null): Promise<ConnectionOptions> {
  const { server, baseDir } = access
  const { ssl } = server
  const file = async (path: string | undefined) =>
    path === undefined ? undefined : await readFile(resolve(baseDir, path), 'utf8')
  const [ca, cert, key] = await Promise.all([ssl?.ca, ssl?.cert, ssl?.key].map(file))
  return {
    ...(server.socket === undefined ? { host: server.host, port: server.port } : { socketPath: server.socket }),
    user: server.user,
    ...(server.password === undefined ? {} : { password: reveal(server.password) }),
    ...(database === null ? {} : { database }),
    ...(ssl === undefined
      ? {}
      : {
          ssl: {
            ...(ca === undefined ? {} : { ca }),
            ...(cert === undefined ? {} : { cert }),
            ...(key === undefined ? {} : { key }),
            rejectUnauthorized: ssl.verify,
            verifyIdentity: ssl.verify,
          },
        }),
    charset: 'utf8mb4_bin',
    connectTimeout: access.connectLimit,
    supportBigNumbers: true,
    dateStrings: true,
    jsonStrings: true,
    flags: ['-LOCAL_FILES'],
    connectAttributes: { program_name: 'backout' },
  }
}

async function pin(link: Connection, access: Access, mode: string): Promise<Flavour> {
  const [rows] = await link.query('SELECT VERSION() AS version')
  const version = String((rows as Row[])[0]?.['version'])
  const mariadb = /mariadb/i.test(version)
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number)
  const number = major * 10_000 + minor * 100 + (Number.isNaN(patch) ? 0 : patch)
  const wait = Math.max(1, Math.ceil(access.busyLimit / 1000))
  const settings = [
    `sql_mode = '${mode}'`,
    `time_zone = '+00:00'`,
    `lock_wait_timeout = ${wait}`,
    `innodb_lock_wait_timeout = ${wait}`,
    `net_write_timeout = 3600`,
    `net_read_timeout = 3600`,
    `wait_timeout = 86400`,
    `group_concat_max_len = 4294967295`,
    `sql_safe_updates = 0`,
    `sql_quote_show_create = 1`,
    ...(mariadb
      ? ['max_statement_time = 0', 'idle_transaction_timeout = 0']
      : ['max_execution_time = 0', 'information_schema_stats_expiry = 0']),
  ]
  await link.query(`SET NAMES utf8mb4 COLLATE utf8mb4_bin`)
  await link.query(`SET ${settings.map(s => `SESSION ${s}`).join(', ')}`)
  // Tables that Backout works in have no key. Whoever lacks the right to say so is told by the server where it matters.
  if (!mariadb) await link.query('SET SESSION sql_require_primary_key = OFF').catch(() => {})
  return { mariadb, version, number }
}

/** What the driver can beyond its promises: rows as they come, no faster than they are taken. */
interface Core {
  query(sql: string): { stream(): Readable }
  execute(sql: string, values: readonly unknown[]): { stream(): Readable }
}

function sessionOn(
  link: Connection,
  access: Access,
  about: Pick<Session, 'flavour' | 'name' | 'mode'>,
  signal: AbortSignal,
): Session {
  const { name } = about
  const id = link.threadId ?? 0
  let stopping: Promise<void> | null = null
  const stop = () => {
    link.destroy()
    stopping = endOnServer(access, id)
  }
  signal.addEventListener('abort', stop, { once: true })
  // A connection that breaks says so to whoever waits for an answer; without a listener it would end the process.
  link.on('error', () => {})
  const send = async (sql: string, values?: readonly unknown[]): Promise<unknown> => {
    signal.throwIfAborted()
    access.before?.(sql)
    try {
      const plain = values === undefined || values.length === 0
      const [answer] = await orAborted(plain ? link.query(sql) : link.execute(sql, values.map(bound)), signal)
      return answer
    } catch (error) {
      signal.throwIfAborted()
      throw explained(name, error)
    }
  }
  return {
    ...about,
    id,
    query: async (sql, values) => {
      const rows = await send(sql, values)
      return Array.isArray(rows) ? (rows as Row[]) : []
    },
    async each(sql, values, row) {
      signal.throwIfAborted()
      try {
        await eachOf(link, sql, values, signal, row)
      } catch (error) {
        signal.throwIfAborted()
        throw explained(name, error)
      }
    },
    run: async (sql, values) => ((await send(sql, values)) as ResultSetHeader).affectedRows ?? 0,
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', stop)
      if (stopping === null) await link.end().catch(() => link.destroy())
      await stopping
      access.own.delete(id)
    },
  }
}

/** The driver tells a stream nothing of a connection that broke, only the connection itself: rows would be waited for, for ever. */
async function eachOf(
  link: Connection,
  sql: string,
  values: readonly unknown[],
  signal: AbortSignal,
  row: (row: Row) => void | Promise<void>,
): Promise<void> {
  const { connection } = link as unknown as { connection: Core }
  let lost: Error | null = null
  let rows: Readable | null = null
  const lose = (error: Error) => {
    lost ??= error
    rows?.destroy(lost)
  }
  link.on('error', lose)
  try {
    const sent = values.length === 0 ? connection.query(sql) : connection.execute(sql, values.map(bound))
    rows = addAbortSignal(signal, sent.stream())
    // One that was lost before has said so by now.
    if (lost !== null) rows.destroy(lost)
    for await (const one of rows) await row(one as Row)
  } finally {
    link.off('error', lose)
  }
}

/** The driver never answers a statement whose connection was destroyed while it ran. */
async function orAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const stop = () => reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  answer.catch(() => {})
  try {
    return await Promise.race([answer, promise])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** A statement goes on after its client has gone: it is told to stop. Where that fails, it ends by itself some time. */
async function endOnServer(access: Access, id: number): Promise<void> {
  try {
    const { createConnection } = await import('mysql2/promise')
    const link = await createConnection(await optionsOf(access, null))
    await link.query(`KILL ${id}`).catch(() => {})
    await link.end()
  } catch {
    // The server is gone, and with it the statement.
  }
}

/** Whole numbers beyond 2^53 go as text: the driver would round them. */
function bound(value: unknown): string | number | null | Buffer {
  if (value === null || value === undefined) return null
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'boolean') return value ? 1 : 0
  if (value instanceof Uint8Array) return Buffer.from(value)
  return typeof value === 'number' ? value : text(value)
}
