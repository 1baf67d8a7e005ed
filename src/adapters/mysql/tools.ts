import { access, constants } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { BackoutError } from '../../core/errors.ts'
import { reveal } from '../../core/secret.ts'
import { runLocal } from '../../exec/local.ts'
import type { ServerSettings } from './config.ts'
import type { Flavour } from './session.ts'

export interface Tool {
  readonly path: string
  /** "mariadb-dump 10.11.18". */
  readonly shown: string
  readonly mariadb: boolean
}

const NAMES = {
  dump: { mariadb: ['mariadb-dump', 'mysqldump'], mysql: ['mysqldump'] },
  client: { mariadb: ['mariadb', 'mysql'], mysql: ['mysql'] },
}

/** The dump tool or the client that fits the server. Throws `tool_missing`, `tool_too_old`. */
export async function findTool(
  which: 'dump' | 'client',
  server: Flavour,
  folder: string | undefined,
  baseDir: string,
  signal: AbortSignal,
): Promise<Tool> {
  const kind = server.mariadb ? 'mariadb' : 'mysql'
  const folders = folder === undefined ? (process.env['PATH'] ?? '').split(delimiter) : [resolve(baseDir, folder)]
  const names = NAMES[which][kind]
  const paths = names.flatMap(name => folders.map(f => join(f, name)))
  for (const path of paths) {
    const there = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (there) return checked(path, which, server, signal)
  }
  throw new BackoutError({
    code: 'tool_missing',
    what: `There is no ${names.join(' and no ')} in ${folder ?? 'any folder of PATH'}`,
    next: `install the client programs of ${server.mariadb ? 'MariaDB' : 'MySQL'} ${shortOf(server)}, or name their folder in \`tools:\``,
    exit: 'blocked',
  })
}

async function checked(path: string, which: 'dump' | 'client', server: Flavour, signal: AbortSignal): Promise<Tool> {
  const { stdout } = await runLocal({ argv: [path, '--version'], limitMs: 10_000 }, signal)
  const mariadb = /mariadb/i.test(stdout)
  const version = (/(?:Distrib|from) (\d+\.\d+\.\d+)/.exec(stdout) ?? /Ver (\d+\.\d+\.\d+)/.exec(stdout))?.[1] ?? ''
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const name = path.split('/').at(-1) ?? path
  if (mariadb !== server.mariadb || version === '') {
    throw new BackoutError({
      code: 'tool_missing',
      what: `${path} is of ${mariadb ? 'MariaDB' : 'MySQL'}, and the server is ${server.version}`,
      cause: 'the two have grown apart: what one dumps the other does not load without loss',
      next: `install the client programs of ${server.mariadb ? 'MariaDB' : 'MySQL'} ${shortOf(server)}, and name their folder in \`tools:\``,
      exit: 'blocked',
    })
  }
  if (which === 'dump' && major * 100 + minor < Math.floor(server.number / 100)) {
    throw new BackoutError({
      code: 'tool_too_old',
      what: `${path} is ${version}, and the server is ${server.version}`,
      cause: 'an older tool leaves out what it does not know',
      next: `install ${name} ${shortOf(server)} or newer, or name its folder in \`tools:\``,
      exit: 'blocked',
    })
  }
  return { path, shown: `${name} ${version}`, mariadb }
}

function shortOf({ number }: Flavour): string {
  return `${Math.floor(number / 10_000)}.${Math.floor(number / 100) % 100}`
}

/** How the tool reaches the server. The password goes by the environment: a command line can be read by everybody. */
export function reach(
  tool: Tool,
  server: ServerSettings,
  baseDir: string,
): { args: string[]; env: Record<string, string> } {
  const { ssl } = server
  const file = (option: string, path: string | undefined) =>
    path === undefined ? [] : [`--${option}=${resolve(baseDir, path)}`]
  const encrypted = tool.mariadb
    ? ssl === undefined
      ? ['--skip-ssl']
      : ['--ssl', ssl.verify ? '--ssl-verify-server-cert' : '--skip-ssl-verify-server-cert']
    : [
        `--ssl-mode=${ssl === undefined ? 'DISABLED' : ssl.verify ? 'VERIFY_IDENTITY' : 'REQUIRED'}`,
        '--get-server-public-key',
      ]
  return {
    args: [
      '--no-defaults',
      ...(server.socket === undefined
        ? ['--protocol=tcp', `--host=${server.host}`, `--port=${server.port}`]
        : ['--protocol=socket', `--socket=${server.socket}`]),
      `--user=${server.user}`,
      ...encrypted,
      ...file('ssl-ca', ssl?.ca),
      ...file('ssl-cert', ssl?.cert),
      ...file('ssl-key', ssl?.key),
      '--default-character-set=utf8mb4',
    ],
    env: { MYSQL_PWD: server.password === undefined ? '' : reveal(server.password) },
  }
}
