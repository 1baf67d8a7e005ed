import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { userInfo } from 'node:os'
import { createConnection } from 'mysql2/promise'
import { freePorts } from '../../lib/ports.ts'
import type { Paths } from '../paths.ts'
import type { Store } from '../store.ts'
import { newPassword, startServer } from './server.ts'

const NEEDED = ['mariadbd', 'mariadb-install-db', 'mariadb', 'mariadb-dump'] as const
const DATABASE = 'shop'
const USER = 'shop'

/** Columns, indexes and foreign keys. */
const BUILT = `
  SELECT concat_ws(' ', 'column', table_name, column_name, column_type, is_nullable, column_default, extra) AS line
  FROM information_schema.columns WHERE table_schema = database()
  UNION ALL SELECT concat_ws(' ', 'index', table_name, index_name, non_unique, seq_in_index, column_name)
  FROM information_schema.statistics WHERE table_schema = database()
  UNION ALL SELECT concat_ws(' ', 'key', table_name, constraint_name, referenced_table_name, update_rule, delete_rule)
  FROM information_schema.referential_constraints WHERE constraint_schema = database()`

export function missingMariadb(): string | null {
  const missing = NEEDED.filter(tool => find(tool) === null)
  if (missing.length === 0) return null
  const what = 'MariaDB is not installed, or not all of it'
  return `${what} (${missing.join(', ')}). Install its server and its client: apt install mariadb-server-core mariadb-client`
}

function find(tool: (typeof NEEDED)[number]): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin', '/usr/local/sbin']
  return folders.map(folder => join(folder, tool)).find(path => existsSync(path)) ?? null
}

/** A MariaDB on loopback with files of its own, which asks for a password. */
export async function startMariadb(paths: Paths): Promise<Store> {
  const why = missingMariadb()
  if (why !== null) throw new Error(why)
  const [port = 0] = await freePorts(1)
  const password = newPassword()
  const dir = join(paths.root, 'mariadb')
  await mkdir(dir, { mode: 0o700 })
  const files = ['--no-defaults', `--user=${userInfo().username}`, `--datadir=${join(dir, 'data')}`, `--tmpdir=${dir}`]
  const make = [...files, '--auth-root-authentication-method=normal', '--skip-test-db']
  execFileSync(find('mariadb-install-db') ?? '', make, { stdio: ['ignore', 'ignore', 'pipe'] })
  const socket = join(dir, 's')
  // Nobody but the shop's user: the server's own come without a password.
  const users = join(dir, 'users.sql')
  await writeFile(users, onlyUser(password), { mode: 0o600 })
  const login = { host: '127.0.0.1', port, user: USER, password }
  const sql = async (...statements: readonly string[]) => {
    const link = await createConnection(login)
    try {
      for (const statement of statements) await link.query(statement)
    } finally {
      await link.end()
    }
  }
  const pidFile = join(dir, 'pid')
  const place = [`--socket=${socket}`, `--port=${port}`, '--bind-address=127.0.0.1', `--pid-file=${pidFile}`]
  const server = await startServer({
    name: 'mariadb',
    argv: [find('mariadbd') ?? '', ...files, ...place, `--init-file=${users}`, '--innodb-buffer-pool-size=64M'],
    owner: null,
    log: join(paths.root, 'log', 'mariadb.log'),
    pidFile,
    end: 'SIGTERM',
    answers: () => sql('SELECT 1'),
  })
  await sql(`CREATE DATABASE ${DATABASE}`)
  await writeFile(paths.password, password, { mode: 0o600 })
  const tools = [`--host=127.0.0.1`, `--port=${port}`, `--user=${USER}`]
  const filled = async (from: string, to: string) => {
    const dump = join(paths.root, 'data', 'copy.sql')
    await sql(`CREATE DATABASE ${to}`)
    await piped([find('mariadb-dump') ?? '', '--no-defaults', ...tools, '--single-transaction', from], password, dump)
    await piped([find('mariadb') ?? '', '--no-defaults', ...tools, to], password, dump, 'in')
    await rm(dump)
  }
  return {
    ...server,
    url: (copy = DATABASE) => `mysql://${USER}:${password}@127.0.0.1:${port}/${copy}`,
    adapter: 'mysql',
    settings: { ...login, password: `\${file:${paths.password}}`, database: DATABASE },
    version: 'SELECT version() AS version',
    dbmate: [],
    numbered: 'INTEGER AUTO_INCREMENT PRIMARY KEY',
    built: BUILT,
    copy: name => filled(DATABASE, name),
    async put(copy, aside) {
      await filled(DATABASE, aside)
      await sql(`DROP DATABASE ${DATABASE}`)
      await filled(copy, DATABASE)
    },
  }
}

function onlyUser(password: string): string {
  return [
    `CREATE USER ${USER}@'127.0.0.1' IDENTIFIED BY '${password}'`,
    `GRANT ALL ON *.* TO ${USER}@'127.0.0.1' WITH GRANT OPTION`,
    `DELETE FROM mysql.global_priv WHERE User NOT IN ('${USER}', 'mariadb.sys')`,
    'FLUSH PRIVILEGES',
    '',
  ].join(';\n')
}

/** The password goes by the environment: others see a command line. */
async function piped(argv: readonly string[], password: string, file: string, way: 'in' | 'out' = 'out') {
  const [program = '', ...args] = argv
  const handle = openSync(file, way === 'in' ? 'r' : 'w', 0o600)
  const stdio = way === 'in' ? [handle, 'ignore' as const] : ['ignore' as const, handle]
  const child = spawn(program, args, { stdio: [...stdio, 'pipe'], env: { ...process.env, MYSQL_PWD: password } })
  closeSync(handle)
  let complaint = ''
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${program} failed: ${complaint}`)
}
