import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { ExecResult } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { type Piped, runLocal } from '../../exec/local.ts'
import { libpqEnv, type Place } from './place.ts'
import { APPLICATION } from './session.ts'

export interface Tool {
  readonly path: string
  /** "pg_dump (PostgreSQL) 15.8". */
  readonly said: string
  readonly major: number
}

type ToolName = 'pg_dump' | 'pg_dumpall' | 'pg_restore'

const HERE = ['/usr/lib/postgresql', '/usr/local/opt', '/opt/homebrew/opt', '/usr']

/**
 * The tool that can work with the server and is nearest to its version, for a newer one writes what an older server does
 * not know: from the folder of the settings, else the one of PATH, or those that packages put elsewhere. `major`: the
 * server's version. Throws `tool_missing`, `tool_too_old`.
 */
export async function findTool(name: ToolName, folder: string | undefined, major: number): Promise<Tool> {
  const candidates = folder === undefined ? [name, ...(await installed(name))] : [join(folder, name)]
  const tools: Tool[] = []
  for (const path of candidates) {
    const tool = await asked(path)
    if (tool?.major === major) return tool
    if (tool !== null) tools.push(tool)
  }
  const byVersion = tools.toSorted((a, b) => a.major - b.major)
  const nearest = byVersion.find(tool => tool.major > major)
  if (nearest !== undefined) return nearest
  const newest = byVersion.at(-1)
  throw newest === undefined ? missing(name, folder) : tooOld(newest, major)
}

async function asked(path: string): Promise<Tool | null> {
  const { code, stdout } = await runLocal({ argv: [path, '--version'], limitMs: 30_000 })
  const major = Number(/\b(\d+)(?:\.\d+|beta|rc|devel)/.exec(stdout)?.[1])
  return code === 0 && major > 0 ? { path, said: stdout.trim(), major } : null
}

/** Newest first. */
async function installed(name: string): Promise<string[]> {
  const found = await Promise.all(
    HERE.map(async base => {
      const folders = await readdir(base).catch(() => [])
      return folders.filter(f => /^(\d+|postgresql@\d+|pgsql-\d+)$/.test(f)).map(f => join(base, f, 'bin', name))
    }),
  )
  const version = (path: string) => Number(/(\d+)\/bin/.exec(path)?.[1])
  return found
    .flat()
    .filter(existsSync)
    .sort((a, b) => version(b) - version(a))
}

function missing(name: string, folder: string | undefined): BackoutError {
  return new BackoutError({
    code: 'tool_missing',
    what: folder === undefined ? `There is no ${name} on this machine` : `There is no ${name} in ${folder}`,
    next: "install PostgreSQL's client tools of the server's version or a newer one, or name their folder in `tools:`",
    exit: 'usage',
  })
}

function tooOld(tool: Tool, major: number): BackoutError {
  return new BackoutError({
    code: 'tool_too_old',
    what: `${tool.path} is of PostgreSQL ${tool.major}, and the server is ${major}: it would refuse`,
    next: `install PostgreSQL's client tools ${major} or newer, or name their folder in \`tools:\``,
    exit: 'usage',
  })
}

/** Of the user's own environment, these would lead the tools elsewhere. */
const UNSET = ['PGSERVICE', 'PGSERVICEFILE', 'PGHOSTADDR', 'PGCLIENTENCODING', 'PGSSLNEGOTIATION']

/** The step's own limit ends a tool, by its signal. */
const NO_LIMIT_MS = 2 ** 31 - 1

interface Run {
  readonly args: readonly string[]
  readonly place: Place
  readonly database: string
  readonly stdin?: Readable
  readonly stdout?: Writable
  /** Settings of its sessions. */
  readonly settings?: readonly string[]
}

/** Runs a tool on a database. The password goes by the environment, which only this user and root can read. */
export function runTool(tool: Tool, run: Run, signal: AbortSignal): Promise<ExecResult> {
  const argv = ['env', ...UNSET.flatMap(name => ['-u', name]), tool.path, ...run.args]
  const command: Piped = {
    argv,
    env: {
      ...libpqEnv(run.place, run.database),
      PGAPPNAME: APPLICATION,
      PGOPTIONS: (run.settings ?? []).map(setting => `-c ${setting}`).join(' '),
      PGCONNECT_TIMEOUT: String(Math.ceil(run.place.connectMs / 1000)),
      LC_ALL: 'C',
    },
    limitMs: NO_LIMIT_MS,
    ...(run.stdin === undefined ? {} : { stdin: run.stdin }),
    ...(run.stdout === undefined ? {} : { stdout: run.stdout }),
  }
  return runLocal(command, signal)
}
