import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { Model } from './model.ts'

/** The server that is installed, wherever its package puts what. */
export const INSTALLED: readonly string[] = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin']
const NEEDED = ['mariadbd', 'mariadb-install-db', 'mariadb', 'mariadb-dump']

/** Folder `bin` of another one that all tests are to run on, from BACKOUT_TEST_MARIADB; null: the installed one. */
export const OTHER = process.env['BACKOUT_TEST_MARIADB'] || null
// Backout finds the client programs there, as it does in production.
if (OTHER !== null) process.env['PATH'] = [OTHER, process.env['PATH']].join(delimiter)

const FOLDERS = OTHER === null ? INSTALLED : [OTHER]

function find(tool: string, folders = FOLDERS): string | undefined {
  return folders.map(folder => join(folder, tool)).find(path => existsSync(path))
}

/**
 * Why tests with MariaDB cannot run on this machine, or null. Give it to `describe.skipIf`, and the reason into the name.
 * Throws where CI is set: there a skipped test would hide a hole.
 */
export function noMariadb(): string | null {
  const missing = NEEDED.filter(tool => find(tool) === undefined)
  if (missing.length === 0) return null
  const why = `${missing.join(', ')} not installed`
  if (process.env['CI'] === 'true') throw new Error(`${why}, and CI must not skip the tests with MariaDB`)
  return why
}

/** Why tests of what came with a version cannot run, or null. Those servers are given by BACKOUT_TEST_MARIADB: CI has none. */
export function olderThan(major: number, minor: number): string | null {
  const missing = noMariadb()
  if (missing !== null) return missing
  const told = execFileSync(find('mariadbd') ?? '', ['--no-defaults', '--version'], { encoding: 'utf8' })
  const [, a, b] = /Ver (\d+)\.(\d+)/.exec(told) ?? []
  return Number(a) * 100 + Number(b) < major * 100 + minor ? `MariaDB ${a}.${b} is older than ${major}.${minor}` : null
}

export interface Mariadb {
  readonly port: number
  readonly socket: string
  /** The server's own files. */
  readonly data: string
  /** Runs statements as root, one after the other. */
  sql(...statements: readonly string[]): Promise<Record<string, unknown>[]>
  /** SIGKILL, as when the machine loses power. */
  kill(): Promise<void>
  start(): Promise<void>
  dispose(): Promise<void>
}

/**
 * A real MariaDB on loopback, with files of its own; root has no password. `options`: more for its command line.
 * `folders`: where its programs are.
 */
export async function mariadb(options: readonly string[] = [], folders = FOLDERS): Promise<Mariadb> {
  const program = (name: string) => find(name, folders) ?? name
  // Where it is not installed it finds its messages and plugins beside its programs.
  const base = folders === INSTALLED ? [] : [`--basedir=${dirname(folders[0] ?? '/')}`]
  const dir = await mkdtemp(join(tmpdir(), 'backout-mariadb-'))
  const [data, socket] = [join(dir, 'data'), join(dir, 's')]
  const user = `--user=${userInfo().username}`
  // A server that starts removes what it takes for its own leftovers there: another server's temporary tables, too.
  const scratch = `--tmpdir=${dir}`
  const own = [`--datadir=${data}`, '--innodb-log-file-size=16M', user, scratch]
  const install = ['--auth-root-authentication-method=normal', '--skip-test-db']
  const model = folders === FOLDERS ? new Model('mariadb') : null
  if (model?.copyTo(data) !== true) {
    const make = ['--no-defaults', ...base, ...own, ...install]
    execFileSync(program('mariadb-install-db'), make, { stdio: ['ignore', 'ignore', 'pipe'] })
    model?.keep(data)
  }
  const port = await freePort()
  const args = [
    '--no-defaults',
    ...base,
    ...own,
    `--socket=${socket}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--pid-file=${join(dir, 'pid')}`,
    `--log-error=${join(dir, 'log')}`,
    '--innodb-flush-log-at-trx-commit=0',
    '--debug-no-sync',
    '--innodb-buffer-pool-size=128M',
    ...options,
  ]
  let daemon: ChildProcess | null = null
  const stop = async (signal: NodeJS.Signals) => {
    const dying = daemon
    if (dying === null || dying.exitCode !== null || dying.signalCode !== null) return
    const gone = once(dying, 'exit')
    dying.kill(signal)
    await gone
  }
  const server: Mariadb = {
    port,
    socket,
    data,
    async sql(...statements) {
      const link = await createConnection({ socketPath: socket, user: 'root', dateStrings: true, charset: 'utf8mb4' })
      try {
        let rows: unknown = []
        for (const statement of statements) [rows] = await link.query(statement)
        return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : []
      } finally {
        await link.end()
      }
    },
    kill: () => stop('SIGKILL'),
    async start() {
      if (daemon !== null && daemon.exitCode === null && daemon.signalCode === null) await once(daemon, 'exit')
      daemon = spawn(program('mariadbd'), args, { stdio: 'ignore' })
      await answers(server, daemon, join(dir, 'log'))
    },
    async dispose() {
      await stop('SIGTERM')
      await rm(dir, { recursive: true, force: true })
    },
  }
  try {
    await server.start()
  } catch (error) {
    await server.dispose()
    throw error
  }
  return server
}

async function answers(server: Mariadb, daemon: ChildProcess, log: string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (daemon.exitCode !== null) break
    const there = await server.sql('SELECT 1').catch(() => null)
    if (there !== null) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`mariadbd did not start: ${await readFile(log, 'utf8').catch(() => 'no log')}`)
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}
