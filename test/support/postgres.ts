import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Writable } from 'node:stream'
import { Client, type QueryResult } from 'pg'
import { SUPERVISOR } from '../../src/exec/supervisor.ts'
import { Model } from './model.ts'

const DEBIAN = '/usr/lib/postgresql'

/** Folder of the newest PostgreSQL that Debian's packages brought; null: there is none. */
export const INSTALLED = existsSync(DEBIAN)
  ? (readdirSync(DEBIAN)
      .sort((a, b) => Number(b) - Number(a))
      .map(version => join(DEBIAN, version, 'bin'))
      .find(bin => existsSync(join(bin, 'initdb'))) ?? null)
  : null

/** Folder of another one that all tests are to run on, from BACKOUT_TEST_POSTGRES; null: the installed one. */
export const OTHER = process.env['BACKOUT_TEST_POSTGRES'] || null
// Backout finds the client programs there where no setting names them, as it does in production.
if (OTHER !== null) process.env['PATH'] = [OTHER, process.env['PATH']].join(delimiter)

const BIN = OTHER ?? INSTALLED

/**
 * Why tests on PostgreSQL cannot run on this machine, or null. Give it to `describe.skipIf`, and the reason into the name.
 * Throws where CI is set: there a skipped test would hide a hole.
 */
export function noPostgres(): string | null {
  if (BIN !== null) return null
  if (process.env['CI'] === 'true') throw new Error('PostgreSQL is not installed, and CI must not skip its tests')
  return 'PostgreSQL is not installed'
}

/** Why tests of what came with a version cannot run, or null. Those servers are given by BACKOUT_TEST_POSTGRES: CI has none. */
export function olderThan(major: number): string | null {
  if (BIN === null) return noPostgres()
  const [, has] = /(\d+)/.exec(execFileSync(join(BIN, 'postgres'), ['--version'], { encoding: 'utf8' })) ?? []
  return Number(has) < major ? `PostgreSQL ${has} is older than ${major}` : null
}

export const PASSWORD = 'not-a-secret-of-anybody'

export interface PostgresServer {
  readonly host: string
  readonly port: number
  readonly socketDir: string
  readonly dir: string
  /** Runs statements as the superuser, those of one text in one transaction; gives the rows of the last one. */
  sql(text: string | readonly string[], database?: string): Promise<Record<string, unknown>[]>
  /** A connection of the superuser's, or of somebody else, that the test ends itself. */
  connect(database?: string, user?: string): Promise<Client>
  /** Settings of the adapter for one of its databases. */
  settings(database: string, more?: object): Record<string, unknown>
  /** Ends it at once, as a crash does. */
  crash(): Promise<void>
  start(): Promise<void>
  dispose(): Promise<void>
}

/**
 * A PostgreSQL of its own on loopback, as user postgres where this runs as root. Passwords are asked for over TCP.
 * `primary`: follows that server, as a replica. `bin`: folder of its programs.
 */
export async function postgresServer(
  settings: readonly string[] = [],
  primary: PostgresServer | null = null,
  bin = BIN,
): Promise<PostgresServer> {
  if (bin === null) throw new Error('PostgreSQL is not installed')
  const dir = await mkdtemp(join(tmpdir(), 'pg-'))
  const owner = unprivileged()
  if (owner !== null) {
    const { mode } = await stat(tmpdir())
    await chmod(tmpdir(), (mode & 0o7777) | 0o011)
    await chown(dir, owner.uid, owner.gid)
  }
  const data = join(dir, 'data')
  const port = await freePort()
  await writeFile(join(dir, 'password'), PASSWORD)
  const make = (tool: string, ...args: string[]) =>
    execFileSync(join(bin, tool), [...args, '--no-sync', '-D', data], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, PGPASSWORD: PASSWORD },
      ...owner,
    })
  const model = primary === null && bin === BIN ? new Model('postgres') : null
  if (model === null || !copied(model, data)) {
    make(...(primary === null ? initdb(dir) : basebackup(primary)))
    model?.keep(data)
  }
  const common = ['fsync=off', 'listen_addresses=127.0.0.1', 'max_prepared_transactions=5', 'wal_level=logical']
  const argv = [join(bin, 'postgres'), '-D', data, '-p', String(port), '-k', dir]
  for (const setting of [...common, ...settings]) argv.push('-c', setting)
  let daemon: ChildProcess | null = null

  const connect = async (database = 'postgres', user = 'postgres'): Promise<Client> => {
    const client = new Client({ host: '127.0.0.1', port, user, password: PASSWORD, database })
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const start = async (): Promise<void> => {
    // Ended with everything below it when this process dies, however it dies.
    const started = spawn('/bin/sh', ['-c', SUPERVISOR, 'postgres-of-a-test', ...argv], {
      cwd: dir,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      ...owner,
    })
    daemon = started
    let log = ''
    started.stderr?.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-4000)
    })
    const lifeline = started.stdio[3] as Writable
    lifeline.on('error', () => {})
    lifeline.write('go\n')
    for (let i = 0; i < 400; i++) {
      if (started.exitCode !== null) throw new Error(`PostgreSQL ended: ${log}`)
      const client = await connect().catch(() => null)
      if (client !== null) return client.end()
      await new Promise(resolve => setTimeout(resolve, 25))
    }
    throw new Error(`PostgreSQL does not answer: ${log}`)
  }
  const crash = async (): Promise<void> => {
    if (daemon === null) return
    const exited = once(daemon, 'exit')
    daemon = null
    const [pid] = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')
    process.kill(Number(pid), 'SIGQUIT')
    await exited
  }
  await start()
  return {
    host: '127.0.0.1',
    port,
    socketDir: dir,
    dir,
    connect,
    start,
    crash,
    async sql(text, database) {
      const client = await connect(database)
      try {
        let rows: Record<string, unknown>[] = []
        for (const each of [text].flat()) {
          const result = await client.query(each)
          rows = (Array.isArray(result) ? (result.at(-1) as QueryResult) : result).rows as typeof rows
        }
        return rows
      } finally {
        await client.end()
      }
    },
    settings: (database, more = {}) => ({
      host: '127.0.0.1',
      port,
      user: 'postgres',
      password: PASSWORD,
      database,
      tools: bin,
      ...more,
    }),
    async dispose() {
      await crash()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function initdb(dir: string): [string, ...string[]] {
  const login = ['-A', 'scram-sha-256', '--pwfile', join(dir, 'password'), '-U', 'postgres']
  return ['initdb', ...login, '-E', 'UTF8', '--locale=C.UTF-8']
}

function basebackup({ host, port }: PostgresServer): [string, ...string[]] {
  const login = ['-h', host, '-p', String(port), '-U', 'postgres']
  return ['pg_basebackup', ...login, '--write-recovery-conf', '--checkpoint=fast']
}

/** Whether a copy of the model is in use here: a second one would have the same identity, and servers of one test are told apart. */
let modelTaken = false

function copied(model: Model, data: string): boolean {
  if (modelTaken) return false
  modelTaken = true
  return model.copyTo(data)
}

/** PostgreSQL refuses to run as root. */
function unprivileged(): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
